"""Dependence of runs: columns of groups, what is measured within them, and the scheme chosen for it."""

import pickle

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax import UsageError


def write_grid(tmp_path, header="run", n_sizes=6, n_tokens=4):
    """A table of n_sizes x n_tokens runs with a column of names; its path."""
    lines = [f"params,tokens,loss,{header},lab"]
    for i, params in enumerate(np.geomspace(1e8, 1e10, n_sizes)):
        for tokens in np.geomspace(1e9, 1e11, n_tokens):
            loss = 1.7 + 400 / params**0.34 + 400 / tokens**0.28
            lines.append(f"{params:.0f},{tokens:.0f},{loss:.6f},run {i},{'a' if i % 2 else ''}")
    path = tmp_path / "grid.csv"
    path.write_text("\n".join(lines))
    return path


def test_columns_of_groups_travel_with_the_runs(tmp_path):
    runs = cj.load_runs(write_grid(tmp_path), groups=("lab",))
    assert set(runs.groups) == {"run", "lab"}  # a column named after runs is found unasked
    assert runs.groups["run"][:5].tolist() == ["run 0"] * 4 + ["run 1"]
    kept = runs.drop_highest_loss(3)
    assert kept.groups["run"].tolist() == runs.groups["run"][np.isin(runs.loss, kept.loss)].tolist()
    assert cj.Multiplicative(2.0).apply(runs).groups["lab"].tolist() == runs.groups["lab"].tolist()
    assert runs.with_params(runs.params * 2).groups.keys() == runs.groups.keys()
    assert pickle.loads(pickle.dumps(runs)).groups["run"].tolist() == runs.groups["run"].tolist()
    with pytest.raises(ValueError, match="read-only"):
        runs.groups["run"][0] = "other"


def test_groups_change_neither_hash_nor_equality(tmp_path):
    path = write_grid(tmp_path)
    plain, carried = cj.load_runs(path), cj.load_runs(path, groups=("lab",))
    assert plain == carried and hash(plain) == hash(carried)


def test_groups_that_cannot_be_read_are_refused_in_one_line(tmp_path):
    path = write_grid(tmp_path)
    with pytest.raises(UsageError, match="no column is named 'labs'; did you mean 'lab'"):
        cj.load_runs(path, groups=("labs",))
    with pytest.raises(UsageError, match="give a list of column names"):
        cj.load_runs(path, groups="lab")
    with pytest.raises(UsageError, match="embedded 'llama3' has none"):
        cj.load_runs("llama3", groups=("lab",))
    with pytest.raises(
        cj.DataError, match=r"group 'lab' has shape \(2,\); give one label for each of 1 runs"
    ):
        cj.Runs([1.0], [1.0], [1.0], [1.0], groups={"lab": ["a", "b"]})
