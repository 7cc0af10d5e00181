"""What a user writes himself: an objective from a function, and code that is named on the command line."""

import functools
import math
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

import chinchilla_jax as cj
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.cli import main
from chinchilla_jax.cli.fit_options import read_laws
from chinchilla_jax.cli.own_code import load_own
from chinchilla_jax.fitting.no_number import no_number
from chinchilla_jax.laws import Law, OwnObjective, from_function
from chinchilla_jax.laws.best_allocation import Found, searched_allocation
from chinchilla_jax.laws.fingerprint import Fingerprint
from chinchilla_jax.laws.own_objective import loss_derivatives
from chinchilla_jax.solvers import Problem
from chinchilla_jax.solvers.jax_newton.law_program import LawProgram

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


# --- laws --------------------------------------------------------------------------------------------------


KINDS = {"E": cj.positive(1.7), "K": cj.positive(300.0), "g": cj.positive(0.15)}
DEVICE = jnp.float32  # a global that a function reads


def frontier(p, x):
    return p["E"] + p["K"] * (x["params"] * x["tokens"]) ** -p["g"]


@jax.custom_vjp
def square(z):
    return z * z


square.defvjp(lambda z: (z * z, z), lambda z, g: (2 * z * g,))


def asks(p, x):
    if x["tokens"] > 1e10:
        return frontier(p, x)
    return p["E"]


def kinked(p, x):
    """A condition on the run and one on the parameters, a whole number, and single precision of NumPy's."""
    more = jnp.where(x["tokens"] > 1e10, p["K"] ** 2 * 1e-6, jnp.float32(0.5) * p["g"])
    steps = jnp.floor(jnp.log10(x["params"])).astype(int)
    return frontier(p, x) + more + jnp.where(p["g"] > 0.1, np.float32(0.25) * p["g"], 0.0) + steps * 1e-3


def repeated(p, x):
    loss = jax.lax.while_loop(lambda loss: loss < 3, lambda loss: loss + p["E"], jax.jit(frontier)(p, x))
    return jax.lax.fori_loop(0, 3, lambda _, loss: 1.1 * loss, loss)


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda p, x: p["E"] + np.exp(-p["g"] * jnp.log(p["K"])), "NumPy and math take numbers only"),
        (lambda p, x: p["K"] * p["E"] + math.exp(-p["g"]), "float() and math take numbers only"),
        (lambda p, x: jnp.float32(frontier(p, x)), "computes in float32, and fits are certified in float64"),
        (lambda p, x: DEVICE(p["E"]) + frontier(p, x), "computes in float32"),
        (asks, "`if`, `and` and `while` cannot ask about a value; use jnp.where"),
        (lambda p, x: frontier(p, x) + jnp.arange(3)[p["g"]], "Indexer must have integer"),
        (lambda p, x: frontier(p, x) + square(p["E"]), "can't apply forward-mode autodiff"),
        (lambda p, x: (frontier(p, x), 1.0), "returned float64 of shape (2,), not one number"),
        (lambda p, x: (frontier(p, x),), "returned float64 of shape (1,), not one number"),
        (lambda p, x: frontier(p, x) + 1j, "returned complex128 of shape ()"),
        (lambda p, x: 2, "returned int64 of shape ()"),
        (lambda p, x: None, "None is not a valid value"),
        (lambda p, x: "E", "the function raised"),
        (lambda p, x: p["E"] + p["K"] * p["g"], "the loss depends on nothing in x"),
        (lambda p, x: 2.0, "the loss does not depend on E, K and g"),
        (lambda p, x: p["E"] + p["K"] / x["params"], "the loss does not depend on g; leave it out"),
        (lambda p: p["E"], "takes 1 positional argument but 2 were given"),
        (lambda p, x: p.E, "has no attribute 'E'"),
        (lambda p, x: p["Z"], "reads 'Z', which is not given; p has E, K and g, x has params and tokens"),
        (lambda p, x: 1 // 0, "ZeroDivisionError"),
        (jax.tree_util.Partial(frontier, {}), "takes 2 positional arguments but 3 were given"),
    ],
)
def test_a_function_that_is_no_law_is_refused_with_its_line(function, said):
    with pytest.raises(cj.UsageError) as error:
        from_function(function, KINDS, name="mine")
    text = str(error.value)
    assert said in text and text.startswith("law mine: ") and "\n" not in text
    if "raised" in text and "argument" not in text and "valid" not in text:
        assert "test_own_code.py, line " in text


@pytest.mark.parametrize("function", [kinked, repeated])
def test_a_function_with_conditions_and_loops_is_differentiated_as_it_is(function):
    law, design = from_function(function, KINDS), cj.laws.Design.from_runs(RUNS)
    theta, constants = law.starts(design, 1)[0], law.constants(design)
    with float64_scope():
        program = LawProgram(type(law), 4, np.float64)
        features, shared = jax.vmap(program.prepare, in_axes=(0, None), out_axes=(0, None))(
            design.places, jnp.asarray(constants)
        )
        assert all(each.dtype == np.float64 for each in features)

        def inner(q, features):
            return jnp.log(program.inner(list(q), features, shared))

        def exact(q, place):
            return law.log_loss(q, place, constants)

        for derivative in (jax.jacfwd, lambda f: jax.jacfwd(jax.jacfwd(f))):
            found, wanted = (
                np.asarray(jax.jit(jax.vmap(derivative(each), in_axes=(None, 0)))(theta, of))
                for each, of in ((inner, features), (exact, design.places))
            )
            np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-12)


def test_what_is_no_number_is_said_with_the_run():
    design = cj.laws.Design.from_runs(RUNS)

    def said(function):
        law = from_function(function, KINDS, name="mine")
        theta = law.starts(design, 1)[0]
        with np.errstate(invalid="ignore"):
            return no_number(
                Problem(law=law, design=design, objective=cj.Huber()), theta, law.residuals(theta, design)
            )

    rooted = said(lambda p, x: frontier(p, x) + jnp.sqrt(x["params"] - 1e9))
    lacking = RUNS.params < 1e9
    assert (
        f"no positive finite loss at {lacking.sum()} runs of 240 (first: run {np.argmax(lacking) + 1},"
        in rooted
    )
    root = said(lambda p, x: frontier(p, x) + jnp.sqrt(p["g"] * jnp.maximum(x["params"] - 1e9, 0.0)))
    assert f"by E, K and g is not finite at {lacking.sum()} runs of 240" in root and "a root of 0" in root
    # The branch of jnp.where that is not taken may be NaN.
    assert said(lambda p, x: frontier(p, x) + jnp.where(p["g"] < 1, 0, jnp.sqrt(p["g"] - 1))) is None
    assert said(frontier) is None


def test_a_law_of_compute_alone_leaves_the_division_open():
    """Its loss is the same wherever a budget goes, up to rounding, which must not look like an optimum."""
    law, design = from_function(frontier, KINDS), cj.laws.Design.from_runs(RUNS)
    theta = law.starts(design, 256)
    assert set(searched_allocation(law, design, theta, np.array([1e21, 1e24])).found.ravel()) == {Found.FLAT}


@pytest.mark.parametrize("tilt", [5e-16, -5e-16])
def test_rounding_that_leans_to_one_side_makes_no_edge(tilt):
    law = from_function(lambda p, x: frontier(p, x) * (1 + tilt * jnp.log(x["params"])), KINDS)
    design = cj.laws.Design.from_runs(RUNS)
    theta = law.starts(design, 16)
    assert set(searched_allocation(law, design, theta, np.array([1e21, 1e24])).found.ravel()) == {Found.FLAT}


# --- the fingerprint of a function -------------------------------------------------------------------------


def made(constant, default=2.0, again=False):
    """Functions that differ in what they close over, in a default or in nothing that runs."""
    if again:

        def predict(p, x, power=default):
            """The same."""
            # With other lines.
            return p["E"] * power + constant
    else:

        def predict(p, x, power=default):
            """A law."""
            return p["E"] * power + constant

    return predict


def digits(*values):
    return Fingerprint("law mine", *values).digits


def test_the_fingerprint_is_of_what_runs(monkeypatch):
    assert digits(made(1.0)) == digits(made(1.0)) == digits(made(1.0, again=True))
    assert len({digits(made(c, d)) for c in (1, 1.0, np.float64(1)) for d in (2.0, 3.0)}) == 6
    assert digits(made(np.arange(3.0))) != digits(made(np.arange(3)))
    assert digits(functools.partial(made(1.0), power=3.0)) != digits(functools.partial(made(1.0), power=4.0))
    before = digits(frontier), digits(kinked)
    # Another function of the same name, which `kinked` calls.
    monkeypatch.setitem(globals(), "frontier", made(1.0))
    assert digits(kinked) != before[1] and digits(asks) != before[0]
    assert digits(jax.jit(square)) != digits(square)
    first = from_function(kinked, KINDS)
    assert first.fingerprint != from_function(kinked, KINDS | {"E": cj.positive(1.8)}).fingerprint
    with pytest.raises(cj.UsageError, match="depends on a generator, of which nothing tells"):
        digits(made(each for each in "ab"))


@pytest.mark.slow
def test_a_law_comes_along_to_another_process(here):
    """As to a worker: the file is not there, and neither are modules beside it."""
    pytest.importorskip("cloudpickle")
    (here / "beside.py").write_text("def power(c, g):\n    return c**-g")
    (here / "mine.py").write_text(MINE.replace('** -p["gamma"]', '** -1.0 * beside.power(2.0, p["gamma"])'))
    law = load_own("--law", "mine.py:law", Law, "")
    sent = pickle.dumps(law)
    assert pickle.loads(sent) is law
    code = (
        "import pickle, sys; law = pickle.loads(sys.stdin.buffer.read())\n"
        "loss = law.predict({'E': 1.5, 'K': 8.0, 'gamma': 1.0}, {'params': 2.0, 'tokens': 2.0})\n"
        "print(law.fingerprint, pickle.loads(pickle.dumps(law)) is law, float(loss))"
    )
    found = subprocess.run([sys.executable, "-c", code], input=sent, cwd="/", capture_output=True)
    assert found.stdout.decode().split() == [law.fingerprint, "True", "2.5"], found.stderr.decode()


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
