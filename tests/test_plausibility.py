"""Prescriptions that cannot be believed, and laws without an optimum: commands say so where they print."""

import math

import numpy as np
import pandas as pd
import pytest
from test_cli import done, refused, run, strict_json

import chinchilla_jax as cj
from chinchilla_jax import planning
from chinchilla_jax._util.errors import DataError
from chinchilla_jax.planning import plausibility as pl

RUNS = cj.load_runs("chinchilla")
LARGEST = float((6 * RUNS.params * RUNS.tokens).max())
LAW = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


@pytest.fixture(scope="module")
def billions(tmp_path_factory):
    """Parameters in thousands and tokens a thousand times too many: ratios are a million times too large."""
    path = tmp_path_factory.mktemp("tables") / "thousand.csv"
    pd.DataFrame({"params": RUNS.params / 1e3, "tokens": RUNS.tokens * 1e3, "loss": RUNS.loss}).to_csv(
        path, index=False
    )
    return str(path)


@pytest.fixture(scope="module")
def rising(tmp_path_factory):
    """Loss that rises with tokens."""
    generator = np.random.default_rng(0)
    params = np.repeat(np.geomspace(1e7, 1e10, 6), 5)
    tokens = np.tile(np.geomspace(1e9, 1e11, 5), 6)
    loss = 1.7 + 80 * params**-0.25 + 0.05 * (tokens / 1e9) ** 0.15
    loss *= np.exp(0.002 * generator.standard_normal(30))
    path = tmp_path_factory.mktemp("tables") / "rising.csv"
    pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}).to_csv(path, index=False)
    return str(path)


def test_what_is_doubted():
    assert pl.largest_compute(RUNS) == pytest.approx(LARGEST, rel=1e-12)
    assert pl.compute_doubt(10 * LARGEST, LARGEST) == ""
    assert pl.compute_doubt(10.1 * LARGEST, LARGEST) == "10.1x the compute of the largest run"
    assert pl.compute_doubt(12345 * LARGEST, LARGEST).startswith("12,345x")
    assert pl.compute_doubt(1e30, None) == "" == pl.compute_doubt(math.inf, LARGEST)
    assert [bool(pl.ratio_doubt(r)) for r in (0.099, 0.1, 20, 1e4, 1.01e4)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert pl.ratio_doubt(20, 0.05, 100).startswith("interval beyond")
    assert pl.ratio_doubt(math.nan) == ""
    assert pl.prescription_doubt(1e30, 1e5, largest=1e20).count(";") == 1


def test_the_largest_run_travels_with_the_laws():
    boot = cj.bootstrap(RUNS, resamples=20)
    sample = planning.LawSample.from_bootstrap(boot)
    assert sample.largest_flops == pytest.approx(LARGEST, rel=1e-12)
    assert planning.plan(sample, flops=9 * LARGEST).doubts == {}
    assert planning.plan(sample, flops=1e26).doubts == {
        "flops": f"{1e26 / LARGEST:,.0f}x the compute of the largest run"
    }
    given = planning.LawSample.from_law(LAW)
    assert given.largest_flops is None and planning.plan(given, flops=1e30).doubts == {}
    odd = planning.LawSample.from_law(cj.ScalingLaw(E=1.8, A=1.0, B=1e6, alpha=0.35, beta=0.37))
    assert set(planning.plan(odd, flops=1e24).doubts) == {"params", "tokens", "tokens_per_param"}


def test_plan_and_inference_say_it_in_the_line(billions):
    at = f"{LARGEST * 1000:g}"
    text = done("plan", billions, "--resamples", "20", "--flops", at)
    for line in text.splitlines():
        if line.startswith(("parameters N", "training tokens D", "tokens per parameter")):
            assert line.endswith("[1]")
        if line.startswith("training compute"):
            assert line.endswith("1,000x the compute of the largest run")
    assert "\n[1] implausible: outside 0.1 to 10,000 tokens per parameter\n" in text
    found = strict_json(done("plan", billions, "--resamples", "20", "--flops", at, "--json"))
    assert found["largest_run_flops"] == pytest.approx(LARGEST, rel=1e-9)
    assert (
        found["plan"]["params"]["doubt"].startswith("implausible") and found["plan"]["loss"]["doubt"] is None
    )
    served = done(
        "inference", billions, "--resamples", "20", "--like-params", "1e8", "--input-tokens", "1e12"
    )
    assert "implausible" in served


def test_fit_bootstrap_and_isoflop_say_it_in_the_line(billions):
    assert "at the compute of the largest run (implausible" in " ".join(
        done("fit", billions, "--starts", "16").split()
    )
    rows = strict_json(done("bootstrap", billions, "--resamples", "20", "--json"))["tokens_per_param"]
    assert all("implausible" in row["doubt"] for row in rows)
    assert rows[-1]["doubt"].startswith(f"{1e26 / LARGEST:,.0f}x the compute of the largest run; ")


def test_ordinary_prescriptions_are_not_doubted():
    text = done("plan", "--law", "hoffmann2022", "--flops", "1e22")
    assert "doubt" not in text
    assert (
        strict_json(done("plan", "--law", "hoffmann2022", "--flops", "1e22", "--json"))["plan"]["flops"][
            "doubt"
        ]
        is None
    )


# --- laws without an optimum -------------------------------------------------------------------------------


def test_why_a_law_has_no_optimum():
    def of(**changed):
        return pl.no_optimum(cj.ScalingLaw(**(LAW.as_dict() | changed)))

    assert of() == ""
    assert of(beta=-0.1) == "beta is -0.1, so that more tokens do not lower the loss"
    assert of(alpha=0.0).startswith("alpha is 0, so that more parameters")
    assert of(A=0.0).startswith("A is 0") and "not finite" in of(B=math.inf)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["kaplan", "equal_exponents"])
def test_fits_of_other_laws_have_an_optimum(law):
    assert pl.no_optimum(cj.fit(RUNS, law, starts=8).law) == ""


def test_limits_of_laws_at_an_edge_are_left_out_and_counted():
    laws = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=np.array([0.3, 0.3, -0.1, 0.3]))
    band = {"flops": [1e20], "low": [0.0], "median": [20.0], "high": [30.0], "method": ["percentile"]}
    cleared, said = pl.clear_edges(band, laws, np.array([True, True, True, False]))
    assert math.isnan(cleared["low"][0]) and cleared["high"] == [30.0]
    assert said.startswith("1 of 3 laws have no compute-optimal point")
    assert pl.clear_edges(band | {"low": [10.0]}, laws, np.ones(4, bool))[1] == ""


def test_rising_losses_give_no_prescription_anywhere(rising):
    text = run("fit", rising, "--starts", "64")[1]
    assert "nan" not in text and "optimum      none at any budget: beta is -0." in text
    found = strict_json(run("fit", rising, "--starts", "64", "--json")[1])
    assert found["optimal_exponents"] is None and found["no_optimum"].startswith("beta is -0.")
    text = run("bootstrap", rising, "--resamples", "20")[1]
    assert "compute-optimal tokens per parameter: none at any budget, beta is -0." in " ".join(text.split())
    found = strict_json(run("bootstrap", rising, "--resamples", "20", "--json")[1])
    assert {row[name] for row in found["tokens_per_param"] for name in ("low", "median", "high")} == {None}


def test_a_given_law_gets_no_advice_about_runs():
    line = refused("plan", "--law", "1.7,400,400,0.3,-0.1", "--flops", "1e24")
    assert "beta is -0.1, so that more tokens do not lower the loss; give a law" in line
    assert "runs" not in line
    with pytest.raises(DataError, match="give a law"):
        planning.LawSample.from_law(cj.ScalingLaw(E=1.7, A=400.0, B=400.0, alpha=-0.3, beta=0.3))
