"""Counts that a law needs beside params and tokens: their columns have units too."""

from __future__ import annotations

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.datasets.columns import match_columns

SIZES = np.repeat([5e7, 1e8, 2e8, 4e8], 3)
TOKENS = np.tile([2e9, 8e9, 4e10], 4)
LOSS = 1.7 + 400 / SIZES**0.34 + 1500 / TOKENS**0.36
UNIQUE = np.minimum(TOKENS, 4e9)


def table(name: str, values: object) -> dict[str, object]:
    return {"params": SIZES, "tokens": TOKENS, "loss": LOSS, name: values}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unique_tokens", UNIQUE),
        ("unique tokens (billions)", UNIQUE / 1e9),
        ("unique_tokens_B", UNIQUE / 1e9),
        ("Unique Tokens [M]", UNIQUE / 1e6),
        ("unique_tokens", [f"{each / 1e9:g}B" for each in UNIQUE]),
        ("unique_tokens_B", [f"{each / 1e9:g}B" for each in UNIQUE]),
    ],
)
def test_unique_tokens_are_read_in_the_unit_of_their_name_or_cells(name, values):
    runs = cj.load_runs(table(name, values), variables=["unique_tokens"])
    np.testing.assert_allclose(runs.variables["unique_tokens"], UNIQUE, rtol=1e-12)
    assert runs.source.columns["unique_tokens"] == name


def test_the_unit_of_a_named_column_is_read_or_stated():
    held = table("fresh (B)", UNIQUE / 1e9)
    runs = cj.load_runs(held, variables={"unique_tokens": "fresh (B)"})
    np.testing.assert_allclose(runs.variables["unique_tokens"], UNIQUE, rtol=1e-12)
    assert "unique_tokens from 'fresh (B)' in billions" in runs.source.lines[0]
    held = table("fresh", UNIQUE / 1e9)
    asked = {"variables": {"unique_tokens": "fresh"}}
    with pytest.raises(cj.DataError, match=r"median of 4, which looks like billions; pass --unit unique_tok"):
        cj.load_runs(held, **asked)
    runs = cj.load_runs(held, **asked, units={"unique_tokens": "billions"})
    np.testing.assert_allclose(runs.variables["unique_tokens"], UNIQUE, rtol=1e-12)
    runs = cj.load_runs(held, **asked, units={"unique_tokens": "count"})  # stated, and not questioned
    np.testing.assert_array_equal(runs.variables["unique_tokens"], UNIQUE / 1e9)


def test_active_parameters_have_the_units_of_parameters():
    runs = cj.load_runs(
        table("params_active (M)", SIZES / 4e6),
        columns={"params": "params"},
        variables=["params_active"],
    )
    np.testing.assert_allclose(runs.variables["params_active"], SIZES / 4, rtol=1e-12)


def test_a_unit_without_a_column_of_unique_tokens_is_refused():
    held = table("epochs", TOKENS / UNIQUE)
    runs = cj.load_runs(held, variables=["unique_tokens"])
    np.testing.assert_allclose(runs.variables["unique_tokens"], UNIQUE, rtol=1e-12)
    with pytest.raises(cj.UsageError, match="no column holds unique_tokens, which are tokens / epochs"):
        cj.load_runs(held, variables=["unique_tokens"], units={"unique_tokens": "billions"})


@pytest.mark.parametrize("scale", [1e9, 1.0])
def test_the_condition_that_leaves_out_repeated_rows_can_be_followed(scale):
    name = "tokens" if scale == 1 else "tokens (billions)"
    held = {"params": SIZES, name: TOKENS / scale, "loss": LOSS, "unique_tokens_B": UNIQUE / 1e9}
    (note,) = [line for line in cj.load_runs(held).source.lines if "repeat the data" in line]
    assert note.startswith("4 rows repeat")
    condition = note.split("--where ")[1].split(" leaves such")[0][1:-1]
    assert len(cj.load_runs(held, where=condition)) == int(np.sum(TOKENS / UNIQUE <= 4))


def test_unique_tokens_that_no_run_has_are_questioned_before_their_epochs_are_counted():
    lines = cj.load_runs(table("unique_tokens", UNIQUE / 1e9)).source.lines
    assert any("median of 4, which looks like billions" in line for line in lines)
    assert not any("repeat the data" in line for line in lines)


def test_one_column_of_counts_lacks_another_and_needs_no_commas():
    with pytest.raises(cj.DataError, match=r"found no column for tokens or flops.*the table has 'params'"):
        match_columns(["params"], "places", quantities=("params", "tokens", "flops"))
