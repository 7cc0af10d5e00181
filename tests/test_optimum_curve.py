"""The curves of the best run of each budget, over laws."""

import numpy as np
import pandas as pd
from planning_laws import spread_sample

from chinchilla_jax.planning.optimum_curve import CURVES, optimum_curve, optimum_curves

BUDGETS = [1e19, 3e21, 1e24]


def test_curves_are_percentiles_of_the_laws_at_each_budget():
    sample = spread_sample()
    table = optimum_curve(sample, BUDGETS, level=0.9)
    assert list(dict.fromkeys(table["quantity"])) == list(CURVES)
    for flops in BUDGETS:
        ratio = sample.laws.tokens_per_param(flops)
        row = table[(table["quantity"] == "tokens_per_param") & (table["flops"] == flops)].iloc[0]
        low, median, high = np.quantile(ratio, [0.05, 0.5, 0.95])
        np.testing.assert_allclose(
            row[["estimate", "low", "median", "high"]].astype(float),
            [sample.point.tokens_per_param(flops), low, median, high],
            rtol=1e-12,
        )


def test_levels_together_are_the_same_bits_as_one_by_one():
    sample = spread_sample()
    levels = [0.8, 0.5, 0.95]
    together = optimum_curves(sample, BUDGETS, levels=levels, quantities=["params", "loss"])
    for level, table in zip(levels, together, strict=True):
        alone = optimum_curve(sample, BUDGETS, quantities=["params", "loss"], level=level)
        pd.testing.assert_frame_equal(table, alone, check_exact=True)
