"""Runs that did not finish, by the words of trackers and schedulers."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from chinchilla_jax import DataError, DataWarning, StudySpec, UsageError, load_runs
from chinchilla_jax.cli import main

N = np.repeat([1e8, 3e8, 1e9], 4)
D = np.tile([2e9, 5e9, 2e10, 6e10], 3)
RUNS = pd.DataFrame({"params": N, "tokens": D, "loss": 1.8 + 480 / N**0.35 + 2100 / D**0.37})

# The words that each writes: docs.wandb.ai, mlflow.org (RunStatus), slurm.schedmd.com (job state codes).
WANDB = ("State", "finished", ["running", "crashed", "failed", "killed", "preempting", "pending"])
MLFLOW = ("status", "FINISHED", ["RUNNING", "FAILED", "KILLED", "SCHEDULED"])
SLURM = (
    "JobState",
    "COMPLETED",
    ["BOOT_FAIL", "CANCELLED", "CANCELLED by 1001", "CANCELLED+", "COMPLETING", "CONFIGURING", "DEADLINE",
     "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "OUT_OF_ME+", "PENDING", "PREEMPTED", "RUNNING", "REQUEUED",
     "RESIZING", "REVOKED", "SUSPENDED", "TIMEOUT", "SPECIAL_EXIT", "STOPPED"],
)  # fmt: skip
SLURM_SHORT = ("ST", "CD", ["BF", "CA", "DL", "F", "NF", "OOM", "PD", "PR", "R", "RQ", "S", "TO"])
PEOPLE = (
    "run_state",
    "done",
    ["aborted", "error", "Timed out", "in progress", "not started", "OOM", "Node fail"],
)
CASES = [
    (column, good, bad)
    for column, good, words in (WANDB, MLFLOW, SLURM, SLURM_SHORT, PEOPLE)
    for bad in words
]


def with_state(column, good, bad):
    """The runs and one more, whose loss is not final."""
    late = pd.DataFrame({"params": [1e9], "tokens": [3e9], "loss": [9.0], column: [bad]})
    return pd.concat([RUNS.assign(**{column: good}), late])


@pytest.mark.parametrize(("column", "good", "bad"), CASES)
def test_runs_that_did_not_finish_are_left_out_with_a_line(column, good, bad):
    with pytest.warns(DataWarning, match=r"left out 1 of 13 runs that did not finish \(index 0;") as caught:
        runs = load_runs(with_state(column, good, bad))
    assert len(caught) == 1
    assert caught[0].filename == __file__, "the user's line"
    np.testing.assert_array_equal(runs.loss, RUNS["loss"])
    assert runs.source.left_out[0].why == f"did not finish (column '{column}')"


@pytest.mark.parametrize(
    "column", ["info.status", "run_state", "Run State", "RUN-STATUS", "jobstate", "config/state", "Status"]
)
def test_the_column_is_found_in_any_spelling(column):
    with pytest.warns(DataWarning, match="left out 1 of 13"):
        assert len(load_runs(with_state(column, "finished", "killed"))) == 12


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("state", ["CA", "TO", "NY"] * 4),  # no word of a scheduler says that others completed
        ("status", ["ok", "converged", "", None] * 3),
        ("state", [1.0, 0.0, np.nan] * 4),
        ("estate", ["failed"] * 12),
        ("state", ["finished"] * 12),
    ],
)
def test_other_columns_and_words_leave_the_runs_alone(column, cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_runs(RUNS.assign(**{column: cells}))) == 12


def test_all_states_overrules_and_a_message_says_so():
    failed = with_state("status", "FINISHED", "FAILED")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_runs(failed, all_states=True)) == 13
    with pytest.raises(DataError, match="if they have, pass --all-states"):
        load_runs(RUNS.assign(State="failed"))


def test_all_states_and_drop_missing_on_the_command_line_and_in_specs(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    with_state("State", "finished", "crashed").assign(loss=[*RUNS["loss"], np.nan]).to_csv(path, index=False)
    options = ["--objective", "squared", "--starts", "4", "--json"]
    assert main(["fit", str(path), "--all-states", *options]) == 2
    assert (
        "row 14, column 'loss': the cell is empty; fill it in or delete the row, or pass --drop-missing"
        in (capsys.readouterr().err)
    )
    assert main(["fit", str(path), "--all-states", "--drop-missing", *options]) == 0
    read = json.loads(capsys.readouterr().out)["data"]["read"]
    assert read["left_out"] == [{"n": 1, "why": "nothing in column 'loss'", "rows": "row 14"}]
    spec = StudySpec(data=str(path), all_states=True, drop_missing=True)
    assert StudySpec.from_dict(spec.to_dict()) == spec
    assert len(load_runs(path, **spec.reading)) == 12


def test_a_quantity_that_is_not_to_be_read(tmp_path, capsys):
    """FLOP of another unit are refused, unless the column is dropped."""
    path = tmp_path / "runs.csv"
    RUNS.assign(flops=RUNS["params"] * RUNS["tokens"] / 1e15).to_csv(path, index=False)
    assert main(["fit", str(path), "--starts", "4"]) == 2
    assert "which looks like PFLOP" in capsys.readouterr().err
    assert (
        main(["fit", str(path), "--starts", "4", "--objective", "squared", "--column", "flops=", "--json"])
        == 0
    )
    assert "flops" not in json.loads(capsys.readouterr().out)["data"]["read"]["columns"]
    assert load_runs(path, columns={"flops": ""}) == load_runs(path, columns={"flops": "", "loss": "loss"})
    with pytest.raises(DataError, match="found no column for params or tokens"):
        load_runs(path, columns={"tokens": "", "params": ""})
    with pytest.raises(DataError, match="found no column for tokens or flops"):
        load_runs(RUNS, columns={"tokens": ""})
    with pytest.raises(UsageError, match="the loss cannot be left out"):
        load_runs(path, columns={"loss": ""})
