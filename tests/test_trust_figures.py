"""Tables of the figures about trust, against what they are made from."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import chinchilla_jax as cj
from chinchilla_jax import plots
from chinchilla_jax.analysis import wald_test

RATIOS = pd.DataFrame(
    {
        "objective": ["huber", "huber", "squared", "huber"],
        "delta": [0.01, 0.01, np.nan, 0.01],
        "quantity": ["tokens_per_param"] * 3 + ["alpha"],
        "flops": [1e21, 1e22, 1e21, np.nan],
        "estimate": [20.0, 21.0, np.inf, 0.3],
        "low": [18.0, 19.0, 15.0, 0.2],
        "high": [22.0, 23.0, np.inf, 0.4],
        "level": 0.8,
    }
)


def test_objectives_are_named_with_their_delta_and_keep_their_budgets():
    table = plots.objectives_table(RATIOS)
    assert table["name"].tolist() == ["huber, delta 0.01", "huber, delta 0.01", "squared"]
    assert table["estimate"].tolist()[:2] == [20.0, 21.0] and np.isnan(table["estimate"][2])
    assert plots.objectives_table(RATIOS, flops=1e22)["estimate"].tolist() == [21.0]
    with pytest.raises(cj.UsageError, match="flops=1e23: the table has 1e21 and 1e22"):
        plots.objectives_table(RATIOS, flops=1e23)
    axes = plots.objectives(RATIOS)
    assert "no compute-optimal point" in [text.get_text() for text in axes.texts]


def test_objectives_that_are_given_twice_share_a_row():
    """A budget that was asked for twice, or two deltas alike to three digits, ended in a ValueError."""
    near = RATIOS.assign(delta=[0.01, 0.01, np.nan, np.nan])
    near = pd.concat([near, near.assign(delta=near["delta"] * 1.0001)])
    axes = plots.objectives(near)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["huber, delta 0.01", "squared"]


def test_objectives_without_an_optimum_have_no_picture():
    """It was an empty one, with an axis around 0."""
    none = RATIOS.assign(estimate=np.nan, low=np.nan, high=np.nan)
    for found in (none, RATIOS[RATIOS["quantity"] == "alpha"]):
        with pytest.raises(cj.UsageError, match="no objective has a compute-optimal point"):
            plots.objectives(found)


def test_coverage_is_of_one_quantity_at_one_budget():
    found = pd.DataFrame(
        {
            "quantity": ["alpha", "tokens_per_param", "tokens_per_param"],
            "flops": [np.nan, 1e21, 1e22],
            "level": 0.8,
            "method": "percentile",
            "coverage": [0.7, 0.75, 0.8],
            "coverage_error": 0.1,
            "n": 16,
        }
    )
    assert plots.coverage_table(found)["coverage"].tolist() == [0.75]
    assert plots.coverage_table(found, flops=1e22)["coverage"].tolist() == [0.8]
    assert plots.coverage_table(found, "alpha")["coverage"].tolist() == [0.7]
    with pytest.raises(cj.UsageError, match="has 1e21 and 1e22"):
        plots.coverage_table(found, flops=1e23)
    with pytest.raises(cj.UsageError, match="alpha"):
        plots.coverage_table(found, "alhpa")


def test_tails_of_a_wald_test_are_those_of_its_p_values():
    runs = cj.load_runs("chinchilla")
    test = wald_test(cj.bootstrap(runs, resamples=60, delta=0.001), cj.laws.BESIROGLU_2024, runs)
    table = plots.wald_table(test)
    np.testing.assert_allclose(table["chi_squared"], chi2.sf(table["distance"], test.degrees), rtol=1e-9)
    at = table["distance"].searchsorted(test.statistic)
    assert table["resamples"][at] <= (test.distances >= test.statistic).mean() <= table["resamples"][at - 1]
    assert plots.wald(test).get_ylim()[0] < 1 / 60


def test_breakdown_sizes_are_in_documented_miscounts():
    found = pd.DataFrame(
        {
            "family": "multiplicative",
            "direction": "up",
            "criterion": ["ratio_leaves_interval", "ratio_leaves_interval", "slope_excludes_zero"],
            "flops": [1e21, 1e22, np.nan],
            "times_documented": [0.5, 2.0, np.nan],
            "times_low": [0.4, 1.0, 3.0],
            "times_high": [0.6, 3.0, np.inf],
        }
    )
    table = plots.breakdown_table(found)
    assert table["label"].tolist()[:2] == [
        "median at 1e21 FLOP leaves its own interval", "median at 1e22 FLOP leaves its own interval",
    ]  # fmt: skip
    assert table["times"].tolist()[:2] == [0.5, 2.0]
    axes = plots.breakdown(found)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[-1] == "changed by no size that was searched" and len(texts) == 4
    already = plots.breakdown(found.assign(times_documented=[0.5, 2.0, 0.0])).get_legend().get_texts()
    assert already[-1].get_text() == "at the left edge: so without any miscount" and len(already) == 4
