"""What was read of a table is said by `Runs.source`, its repr and every command."""

import numpy as np
import pandas as pd
import pytest
from test_cli import run

import chinchilla_jax as cj
from chinchilla_jax.cli import output


def table_of_runs():
    law = cj.ScalingLaw(E=1.7, A=400.0, B=400.0, alpha=0.34, beta=0.28)
    places = [(n, d) for n in (1e8, 3e8, 1e9) for d in (2e9, 8e9, 3e10)]
    rows = [
        {"N": n, "Training Tokens": d, "val_loss": float(law.loss(n, d)) + 0.01 * (i % 3), "seed": i}
        for i, (n, d) in enumerate(places)
    ]
    return pd.DataFrame(rows)


def test_runs_say_which_columns_they_were_read_from():
    runs = cj.load_runs(table_of_runs())
    assert dict(runs.source.columns) == {"params": "N", "tokens": "Training Tokens", "loss": "val_loss"}
    assert runs.source.n_rows == 9
    assert "params from 'N'" in repr(runs)
    assert "flops = 6 params tokens" in repr(runs)


def test_rows_left_out_are_counted_with_the_reason():
    runs = cj.load_runs(table_of_runs(), drop_highest_loss=2)
    (left,) = runs.source.left_out
    assert (left.n, left.why, runs.source.n_rows, len(runs)) == (2, "highest loss", 9, 7)
    assert "7 of 9 rows" in runs.source.lines[0]


@pytest.mark.filterwarnings("ignore:.*did not finish")
def test_commands_say_what_was_read(tmp_path):
    path = str(tmp_path / "own.csv")
    table_of_runs().assign(State=["finished"] * 8 + ["crashed"]).to_csv(path, index=False)
    code, out, _ = run("fit", path, "--starts", "4")
    assert code == 0
    text = " ".join(out.split())
    assert "loss from 'val_loss'" in text
    assert "8 of 9 rows left out 1 row: did not finish (column 'State'); row 10" in text
    data = output.runs_fields(cj.load_runs(path))["read"]
    assert data["columns"] == {"params": "N", "tokens": "Training Tokens", "loss": "val_loss"}
    assert data["n_rows"] == 9
    assert data["left_out"] == [{"n": 1, "why": "did not finish (column 'State')", "rows": "row 10"}]


def test_embedded_tables_are_described_elsewhere():
    runs = cj.load_runs("chinchilla")
    assert runs.read_lines == ()
    assert runs.source.as_dict()["n_rows"] == 245
    assert sum(left.n for left in runs.source.left_out) == 5


def test_results_say_what_was_read():
    fit = cj.fit(table_of_runs(), objective="squared", starts=2)
    assert fit.read == cj.load_runs(table_of_runs()).read_lines
    assert "loss from 'val_loss'" in repr(fit)
    assert cj.fit(cj.load_runs("llama3"), objective="squared", starts=2).read == ()


@pytest.mark.parametrize(
    ("column", "condition"),
    [
        ({"epochs": [1, 2, 3, 4, 5, 6, 7, 8, 9]}, "epochs <= 4"),
        ({"unique_tokens": [1e9] * 9}, "tokens / unique_tokens"),
    ],
)
def test_rows_that_repeat_their_data_are_said(column, condition):
    table = table_of_runs().rename(columns={"Training Tokens": "tokens"}).assign(**column)
    (note,) = (note for note in cj.load_runs(table).source.notes if "repeat" in note)
    assert note.startswith("5 rows repeat" if "epochs" in column else "6 rows repeat") and condition in note
    assert "--law repeated_data" in note and ("unique_tokens is then tokens / epochs" in note) == (
        "epochs" in column
    )


@pytest.mark.parametrize("given", [{"variables": ["unique_tokens"]}, {"known_variables": True}])
def test_unique_tokens_follow_from_epochs(given):
    table = table_of_runs().rename(columns={"Training Tokens": "tokens"})
    table["num_epochs"] = [0.5, 1, 2, 3, 4, 5, 6, 7, 8]
    runs = cj.load_runs(table, **given)
    rows = np.isin(np.arange(9), [int(each) for each in runs.rows])
    unique = runs.tokens / np.maximum(table["num_epochs"].to_numpy()[rows], 1.0)
    np.testing.assert_allclose(runs.variables["unique_tokens"], unique, rtol=1e-12)
    assert "unique_tokens from 'tokens / num_epochs'" in runs.read_lines[0]
    few = cj.load_runs(table, where="num_epochs <= 6", **given)
    assert len(few) == len(few.variables["unique_tokens"]) < len(runs)
    # A column of its own comes first, and an empty cell is said.
    both = table.assign(unique_tokens=1e9)
    assert (cj.load_runs(both, **given).variables["unique_tokens"] == 1e9).all()


def test_epochs_that_are_no_number_are_said_where_unique_tokens_are_needed():
    table = table_of_runs().assign(epochs=[1, 2, None, 3, 4, 5, 6, 7, 8])
    with pytest.raises(cj.DataError, match="column 'tokens / epochs': an empty cell"):
        cj.load_runs(table, variables=["unique_tokens"])
    assert "unique_tokens" not in cj.load_runs(table, known_variables=True).variables


def test_columns_of_further_variables_are_said():
    table = table_of_runs().assign(**{"Unique Tokens": 1e9})
    runs = cj.load_runs(table, variables=["unique_tokens"])
    assert runs.source.columns["unique_tokens"] == "Unique Tokens"
    assert "unique_tokens from 'Unique Tokens'" in runs.read_lines[0]
    assert not [note for note in runs.source.notes if "repeat" in note]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"Experts": [1] * 4 + [8] * 5, "Active Params": 1e7},
            "--law joint_experts --column n_experts=Experts",
        ),
        ({"n_experts": [1] * 8 + [8]}, "add a column params_active and use --law joint_experts"),
        ({"sparsity": [0.0] * 4 + [0.9] * 5}, "--law sparse_experts"),
        ({"n_experts": [1] * 9}, None),
    ],
)
def test_mixtures_of_experts_are_said(columns, said):
    table = table_of_runs().assign(**columns)
    notes = cj.load_runs(table, columns={"params": "N"}).source.notes
    found = [note for note in notes if "of experts" in note]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
