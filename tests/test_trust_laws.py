"""Coverage and breakdown under a law other than that of five parameters."""

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.analysis import CoverageSpec, breakdown, coverage

TRUTH = {"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095}
POWER = TRUTH["alpha_N"] / TRUTH["alpha_D"]


@pytest.fixture(scope="module")
def planted():
    """Runs of the law of Kaplan et al., with 0.5% of noise."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(17, 23, 60)), np.exp(rng.uniform(20, 26, 60))
    loss = ((TRUTH["N_c"] / n) ** POWER + TRUTH["D_c"] / d) ** TRUTH["alpha_D"]
    return cj.Runs(n, d, loss=loss * np.exp(0.005 * rng.standard_normal(60)), name="planted")


@pytest.mark.slow
def test_intervals_of_another_law_are_judged_by_its_own_parameters(planted, tmp_path):
    spec = CoverageSpec(datasets=2, resamples=40, scheme="pairs", groups="none", methods=("percentile",))
    table = coverage(planted, spec, law="kaplan", out=tmp_path)
    assert set(table["quantity"]) == {*TRUTH, "exponent_a", "tokens_per_param"}
    assert table["coverage"].mean() > 0.4 and (table["n"] == 2).all()
    again = coverage(planted, spec, law="kaplan", out=tmp_path)  # from the directory
    assert again.equals(table)
    with pytest.raises(cj.UsageError, match="model is"):
        coverage(planted, spec, law="chinchilla", out=tmp_path)


@pytest.mark.slow
def test_a_breakdown_of_another_law_is_where_its_exact_identity_says(planted):
    found = breakdown(
        planted, law="kaplan", families=["multiplicative"], resamples=40, scheme="pairs", flops=1e22,
        tolerance=0.02, objective=cj.Huber(1e-2),
    )  # fmt: skip
    row = found[(found["criterion"] == "ratio_leaves_interval") & (found["direction"] == "up")].iloc[0]
    # c N for N makes N_c that of c N_c, and D/N at the optimum c^(-2 p / (1 + p)) times what it was.
    boot = cj.bootstrap(planted, "kaplan", resamples=40, scheme="pairs", objective=cj.Huber(1e-2))
    ratios = np.log(boot.laws.tokens_per_param(1e22))
    power = boot.laws.as_dict()["alpha_N"] / boot.laws.as_dict()["alpha_D"]
    for size, left in ((row["size"] * 0.97, False), (row["size"] * 1.03, True)):
        moved = np.median(ratios - 2 * power / (1 + power) * np.log(size))
        low, high = np.quantile(ratios, [0.1, 0.9])
        assert (not low <= moved <= high) == left


def test_a_law_that_prescribes_nothing_has_no_breakdown(planted):
    with pytest.raises(cj.UsageError, match="law compute_only prescribes no tokens per parameter"):
        breakdown(planted, law="compute_only")
