"""Arrays out of the summary tables, against pandas' own pivots and medians."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from chinchilla_jax.intervals.quantiles import nan_median
from chinchilla_jax.plots.tables import as_array

# Not so large that pandas lets the sum of two overflow.
ANY = st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, 2.5, np.inf, -np.inf, np.nan])


@given(st.data(), st.integers(1, 5), st.integers(1, 4))
def test_an_array_has_every_row_in_its_place(data, conditions, budgets):
    names, flops = [f"c{i}" for i in range(conditions)], [10.0**i for i in range(budgets)]
    keys = [(name, budget) for name in names for budget in flops]
    kept = data.draw(st.lists(st.sampled_from(keys), unique=True))  # in any order, some missing
    table = pd.DataFrame(kept, columns=["condition", "flops"])
    table["low"] = np.arange(len(kept)) + 0.5
    table["high"] = -table["low"]
    wanted = data.draw(st.permutations(names))[: data.draw(st.integers(1, conditions))]
    array = as_array(table, {"condition": [*wanted, "of no row"], "flops": flops}, ["low", "high"])
    assert array.shape == (len(wanted) + 1, budgets, 2)
    for i, name in enumerate([*wanted, "of no row"]):
        for j, budget in enumerate(flops):
            row = table[(table["condition"] == name) & (table["flops"] == budget)]
            expected = row[["low", "high"]].to_numpy()[0] if len(row) else [np.nan, np.nan]
            np.testing.assert_array_equal(array[i, j], expected)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=ANY))
def test_medians_are_those_of_pandas(values):
    expected = pd.DataFrame(values).groupby(np.zeros(len(values))).median().to_numpy()[0]
    np.testing.assert_array_equal(nan_median(values), expected)
    assert nan_median(np.full((2, 1), 1.5e308)) == 1.5e308
