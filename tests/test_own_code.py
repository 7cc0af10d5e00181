"""What a user writes himself: an objective from a function, and code that is named on the command line."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.cli.fit_options import read_laws
from chinchilla_jax.cli.own_code import load_own
from chinchilla_jax.laws import Law, OwnObjective
from chinchilla_jax.laws.own_objective import loss_derivatives

RUNS = cj.load_runs("chinchilla")
MINE = """
import jax.numpy as jnp
import chinchilla_jax as cj
import beside

def cauchy(z):
    return jnp.log1p(z**2 / 2)

def frontier(p, x):
    return p["E"] + p["K"] * (x["params"] * x["tokens"]) ** -p["gamma"]

law = cj.laws.from_function(
    frontier, {"E": cj.positive(1.7), "K": cj.positive(300.0), "gamma": cj.positive(0.15)}
)
robust = cj.objective_from_function(cauchy, scale=0.005)
"""


def cauchy(z):
    return jnp.log1p(z**2 / 2)


# --- objectives --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_objective_from_a_function_has_the_minimum_that_scipy_finds():
    fit = cj.fit(RUNS, objective=cj.objective_from_function(cauchy))
    scale = fit.objective.scale
    assert fit.status.name == "CONVERGED" and fit.certificate.value < 1e-12
    huber = cj.fit(RUNS, objective=cj.Huber("auto"))
    assert scale == pytest.approx(huber.objective.delta / 1.345, rel=1e-2)
    natural = np.array(list(fit.parameters.values()))
    units = np.array([1.0, natural[1], natural[2], 1.0, 1.0])

    def residuals(x):
        return np.log(
            cj.ScalingLaw(**dict(zip(["E", "A", "B", "alpha", "beta"], x * units, strict=True))).loss(
                RUNS.params, RUNS.tokens
            )
            / RUNS.loss
        )

    found = least_squares(
        residuals, natural / units * 1.02, loss="cauchy", f_scale=2**0.5 * scale, x_scale="jac",
        ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=2000,
    )  # fmt: skip
    np.testing.assert_allclose(natural, found.x * units, rtol=1e-5)
    assert fit.objective_value == pytest.approx(found.cost / scale**2, rel=1e-9)
    boot = cj.bootstrap(RUNS, objective=fit.objective, resamples=50, point=fit)
    assert boot.counts()["CONVERGED"] == 50
    assert boot.interval()["low"].lt(boot.interval()["high"]).all()


def test_an_objective_is_a_value():
    made = cj.objective_from_function(cauchy, scale=0.01)
    assert made == cj.objective_from_function(cauchy, scale=0.01) != cj.objective_from_function(cauchy)
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.value([0.0, 0.02], [1.0, 3.0]) == pytest.approx(3 * np.log(3.0))
    value, first, second = loss_derivatives(cauchy)(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose([value, first, second], [[0, np.log(1.5)], [0, 2 / 3], [1, 2 / 9]], rtol=1e-6)


@pytest.mark.parametrize(
    "rho, settings, said",
    [
        (jnp.abs, {}, "has the second derivative 0 at z = -1e+03; none is above 0; round a kink"),
        (lambda z: jnp.abs(z) ** 1.5, {}, "has the second derivative inf at z = 0; round a kink"),
        (lambda z: z**3, {}, "less its value at 0 is -1e+09 at z = -1e+03; a loss is lowest at 0"),
        (lambda z: jnp.log(z), {}, "the function is nan at z = -1e+03"),
        (lambda z: jnp.stack([z, z]), {}, "the function returned float64 of shape (2,), not one number"),
        (lambda z: float(z), {}, "the function raised 'ConcretizationTypeError"),
        (cauchy, {"scale": 0}, "objective cauchy: scale is 0; give a positive finite number, or 'auto'"),
        ("huber", {}, "rho is 'huber'; give a function rho(z)"),
    ],
)
def test_a_function_that_is_no_objective_is_refused_in_a_line(rho, settings, said):
    with pytest.raises(cj.UsageError) as error:
        cj.objective_from_function(rho, **settings)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_an_objective_of_ones_own_cannot_do_is_said():
    made = cj.objective_from_function(cauchy)
    for given, said in (
        ({"scheme": "wild"}, "cauchy need not fit that; use 'pairs'"),
        ({"delta": 1.0}, "delta"),
    ):
        with pytest.raises(cj.UsageError, match=said):
            cj.bootstrap(RUNS, objective=made, resamples=4, **given)
    with pytest.raises(cj.UsageError, match="scale is 'auto', which only a fit of data turns into a number"):
        made.value([0.1], [1.0])


@pytest.mark.parametrize("law", ["kaplan", "mine.py:law"])
def test_a_command_about_a_law_with_its_numbers_says_so(capsys, law):
    assert main(["wald", "chinchilla", "--law", law]) == 2
    assert "is a law to fit, and this command takes one with its numbers: give" in capsys.readouterr().err


# --- code on the command line ------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with files of the user's own."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "mine.py": MINE,
        "beside.py": "",
        "numpy.py": "raise SystemExit('a file of the working directory took the place of a library')",
        "raises.py": "x = 1\n1 / 0",
        "leaves.py": "import sys\nsys.exit(3)",
        "lacks.py": "import nothing_of_this_name",
        "broken.py": "def (",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("place", ["mine.py", "./mine.py", "mine", "{}/mine.py"])
def test_code_is_found_in_files_and_modules(here, place):
    text = place.format(here)
    law = load_own("--law", f"{text}:law", Law, "")
    assert law.parameters == ("E", "K", "gamma")
    assert load_own("--objective", f"{text}:robust", OwnObjective, "").name == "cauchy"


@pytest.mark.parametrize(
    "text, said",
    [
        ("mine.py:lwa", "there is no lwa in mine.py; did you mean 'law'?"),
        ("mine.py:robust", "robust is <objective cauchy, scale 0.005>; give what"),
        ("mine.py:frontier", "frontier is a function; give what chinchilla_jax.laws.from_function"),
        ("mine.py:", "give FILE.py:NAME or MODULE:NAME"),
        ("raises.py:law", "line 2: ZeroDivisionError: division by zero"),
        ("leaves.py:law", "line 2: SystemExit: 3"),
        ("lacks.py:law", "line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("broken.py:law", "line 1: SyntaxError"),
        ("none.py:law", "no such file"),
        ("none.such:law", "no module 'none.such' is installed or in this folder"),
        ("..mine:law", "give FILE.py:NAME or MODULE:NAME"),
        ("https://example.org/law.py:law", "code is not executed from a URL"),
        ("kapla", "did you mean 'kaplan'?"),
    ],
)
def test_code_that_is_no_law_is_refused_in_a_line(here, capsys, text, said):
    assert main(["fit", "chinchilla", "--law", text]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out


@pytest.mark.slow
def test_commands_fit_by_code_of_ones_own(here, capsys):
    (law,) = read_laws(["mine.py:law"], None)
    assert law.name == "frontier"
    own = ["--objective", "mine.py:robust"]  # by a program that the test of its minimum has left
    assert main(["fit", "chinchilla", *own, "--starts", "4"]) == 0
    said = capsys.readouterr().out
    assert "(cauchy, scale 0.005)" in said and "CONVERGED" in said
    assert main(["bootstrap", "chinchilla", *own, "--resamples", "20", "--quiet", "--json"]) == 0
    assert '"scale": 0.005' in capsys.readouterr().out
