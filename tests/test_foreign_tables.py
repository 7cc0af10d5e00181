"""Tables as other tools write them, values in other units, and the ten mistakes of a new user."""

import json
import re
import shlex
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chinchilla_jax import DataWarning, fit, load_runs
from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax.cli import main
from chinchilla_jax.datasets.readers.json_text import flattened

N = np.repeat([1e8, 3e8, 1e9], 4)
D = np.tile([2e9, 5e9, 2e10, 6e10], 3)
LOSS = 1.8 + 480 / N**0.35 + 2100 / D**0.37
RUNS = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS})


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def same(runs):
    np.testing.assert_array_equal(runs.params, N)
    np.testing.assert_array_equal(runs.tokens, D)
    np.testing.assert_array_equal(runs.loss, LOSS)


def message(kind, *arguments, **options):
    with pytest.raises(kind) as caught:
        load_runs(*arguments, **options)
    assert str(caught.value).isprintable(), "one line"
    return str(caught.value)


def test_the_toolkit_s_database(tmp_path):
    frame = pd.DataFrame({"C": 6 * N * D, "N": N, "D": D, "loss": LOSS, "epochs": 1.0})
    frame.to_csv(tmp_path / "df.csv", index=False, float_format="%f")
    runs = load_runs(tmp_path / "df.csv")
    np.testing.assert_array_equal(runs.params, N)
    np.testing.assert_array_equal(runs.flops, 6 * N * D)
    np.testing.assert_allclose(runs.loss, LOSS, atol=1e-6)


def isoflop_table():
    one = RUNS.assign(experiment="lab__text__a", budget=6 * N * D, source="lab", dataset="text", condition="")
    other = one.assign(experiment="lab__text__b", loss=LOSS + 1)
    columns = ["source", "dataset", "condition", "experiment", "tokens", "params", "budget", "loss"]
    return pd.concat([one, other])[columns]


def test_open_athena_s_isoflop_tables(tmp_path):
    path = tmp_path / "isoflops.csv"
    isoflop_table().to_csv(path, index=False)
    assert "names 2 experiments ('lab__text__a', 'lab__text__b')" in message(DataError, path)
    same(load_runs(path, experiment="lab__text__a"))
    np.testing.assert_array_equal(load_runs(path, experiment="lab__text__b").loss, LOSS + 1)
    assert "did you mean 'lab__text__b'?" in message(UsageError, path, experiment="lab_text_b")
    same(load_runs(isoflop_table().query("experiment == 'lab__text__a'")))
    assert "no column 'experiment'" in message(UsageError, RUNS, experiment="lab")
    assert "your own tables" in message(UsageError, "chinchilla", experiment="lab")


def wandb_table():
    """The columns of the table of runs in the web page, where a run that crashed has no loss."""
    frame = pd.DataFrame(
        {
            "Name": [f"run-{i}" for i in range(12)],
            "State": "finished",
            "User": "me",
            "Runtime": 3600,
            "lr": 3e-4,
            "n_params": N,
            "train_tokens": D,
            "train/loss": LOSS - 0.1,
            "val/loss": LOSS,
        }
    )
    crashed = pd.DataFrame({"Name": ["late"], "State": ["crashed"], "n_params": [1e9]})
    return pd.concat([frame, crashed])


def test_weights_and_biases_table_of_runs(tmp_path):
    path = tmp_path / "wandb.csv"
    wandb_table().to_csv(path, index=False)
    with pytest.warns(DataWarning, match=r"left out 1 of 13 runs that did not finish \(row 14"):
        assert "choose with --column loss=train/loss or --column loss=val/loss" in message(DataError, path)
    with pytest.warns(DataWarning, match="left out 1"):
        same(load_runs(path, columns={"loss": "val/loss"}))
    with pytest.warns(DataWarning, match="left out 1"):
        assert "did you mean 'val/loss'?" in message(UsageError, path, columns={"loss": "vla/loss"})
    assert "did you mean 'loss'?" in message(UsageError, path, columns={"los": "val/loss"})
    nothing = wandb_table().assign(State="running")
    assert "no run has finished" in message(DataError, nothing)


@pytest.mark.parametrize("dump", [json.dumps, repr])
def test_weights_and_biases_public_api(tmp_path, dump):
    records = [
        {
            "name": f"run-{i}",
            "config": dump({"n_params": n, "lr": 3e-4, "opt": {"name": "adam"}}),
            "summary": dump({"tokens_seen": d, "loss": loss, "_wandb": {"runtime": 3}}),
        }
        for i, (n, d, loss) in enumerate(zip(N.tolist(), D.tolist(), LOSS.tolist(), strict=True))
    ]
    path = tmp_path / "project.csv"
    pd.DataFrame(records).to_csv(path)
    same(load_runs(path))
    records[3]["config"] = "none"
    pd.DataFrame(records).to_csv(path)
    assert "row 5, column 'config': 'none' is not a dictionary" in message(DataError, path)
    records[3]["config"] = "{'n_params': nan, 'lr': -inf}"
    pd.DataFrame(records).to_csv(path)
    assert "row 5, column 'config.n_params'" in message(DataError, path)


def test_json_lines(tmp_path):
    lines = [
        json.dumps({"config": {"params": n}, "tokens": d, "loss": loss, "_step": 3})
        for n, d, loss in zip(N.tolist(), D.tolist(), LOSS.tolist(), strict=True)
    ]
    path = write(tmp_path / "runs.jsonl", "\n".join([*lines[:6], "", *lines[6:]]) + "\n")
    same(load_runs(path))
    assert "row 2: not a JSON object" in message(DataError, write(path, lines[0] + "\n{'loss': 1}\n"))
    assert "row 2: [1] is not a JSON object" in message(DataError, write(path, lines[0] + "\n[1]\n"))
    gap = [*lines[:2], '{"tokens": 2e9, "loss": 3}', *lines[2:]]
    assert "row 3, column 'config.params': the cell is empty" in message(
        DataError, write(path, "\n".join(gap))
    )


FIELDS = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=4), FIELDS, max_size=4))
def test_flattening_keeps_every_leaf(value):
    def leaves(each):
        if not isinstance(each, dict):
            return 1
        return sum(leaves(inner) for name, inner in each.items() if not name.startswith("_"))

    flat = flattened(value)
    assert not any(isinstance(each, dict) for each in flat.values())
    # Names with dots of their own can meet; none gets lost otherwise.
    if "." not in json.dumps(value):
        assert len(flat) == leaves(value)


@given(st.text())
def test_any_text_is_a_table_or_one_line(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        from chinchilla_jax.datasets.reading import read_bytes

        try:
            read_bytes(("{" + text).encode("utf-8", "ignore"), "t")
        except ChinchillaError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize(
    ("change", "likely"),
    [
        ({"tokens": D / 1e9}, "tokens has a median of 12.5, which looks like billions of tokens"),
        ({"tokens": D / 1e12}, "trillions of tokens; pass --unit tokens=trillions if so, or --unit tokens="),
        ({"params": N / 1e6}, "params has a median of 300, which looks like millions of parameters"),
        ({"params": N / 1e9}, "looks like billions of parameters; pass --unit params=billions if so"),
        ({"params": N / 1e9, "tokens": D / 1e9}, "looks like billions of tokens"),
        ({"params": N / 1e9, "tokens": D / 1e9}, "--unit params=billions --unit tokens=billions if so"),
        ({"loss": np.exp(LOSS)}, "looks like perplexity and not loss; pass --unit loss=perplexity if so"),
    ],
)
def test_suspicious_units_are_a_question_and_both_answers_work(change, likely):
    frame = RUNS.assign(**change)
    said = message(DataError, frame)
    assert likely in said
    if_so, as_is = (dict(re.findall(r"--unit (\w+)=(\w+)", part)) for part in said.split(" if so, or "))
    runs = load_runs(frame, units=if_so)
    kept = load_runs(frame, units=as_is)
    for name in frame:
        np.testing.assert_allclose(getattr(runs, name), RUNS[name], rtol=1e-12)
        np.testing.assert_array_equal(getattr(kept, name), frame[name])


def test_a_run_listed_twice_is_named_and_kept(tmp_path):
    pd.concat([RUNS, RUNS[2:4]]).to_csv(tmp_path / "runs.csv", index=False)
    with pytest.warns(DataWarning, match="rows 14, 15: same params, tokens and loss as another row"):
        assert len(load_runs(tmp_path / "runs.csv")) == 14
    again = RUNS[2:4].assign(loss=LOSS[2:4] + 0.01)  # another seed of the same size
    assert len(load_runs(pd.concat([RUNS, again]))) == 14


@pytest.mark.parametrize("name", ["chinchilla", "llama3"])
def test_embedded_tables_raise_no_suspicion(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_runs(name)


MISTAKES = {
    "wrong column": (RUNS.rename(columns={"loss": "final_los"}), 2, "--column loss=final_los"),
    "tokens in billions": (
        RUNS.assign(tokens=D / 1e9),
        2,
        "looks like billions of tokens; pass --unit tokens=",
    ),
    "perplexity": (RUNS.assign(loss=np.exp(LOSS)), 2, "pass --unit loss=perplexity if so"),
    "no flops and no tokens": (RUNS.drop(columns="tokens"), 2, "no column for tokens or flops"),
    "duplicate rows": (pd.concat([RUNS[:5], RUNS[:5]]), 2, "repeat the params and tokens"),
    "a run twice": (pd.concat([RUNS, RUNS[:2]]), 0, "delete the copy, or the run counts twice"),
    "one model size": (RUNS.assign(params=1e9), 2, "all 12 rows have the same params (1e+09)"),
    "flops of another unit": (
        RUNS.assign(flops=N * D / 1e15),
        2,
        "which looks like PFLOP; pass --unit flops=PFLOP if so",
    ),
    "spaces in names": (
        RUNS.rename(columns={"params": "Our Model Params", "loss": "Loss at the end"}),
        2,
        "--column 'params=Our Model Params'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_a_new_user(mistake, tmp_path, capsys):
    frame, code, says = MISTAKES[mistake]
    path = tmp_path / "my runs (final).csv"  # spaces and brackets in a name are no mistake
    frame.to_csv(path, index=False)
    arguments = ["fit", str(path), "--starts", "16", "--quiet"]
    assert main(arguments) in ({0, 1} if code == 0 else {code})
    line = capsys.readouterr().err.splitlines()[0]
    assert says in line
    assert line.startswith("chinchilla-jax: warning: " if code == 0 else "chinchilla-jax: error: ")


def test_bits_per_byte_change_the_unit_and_no_prescription():
    plain = load_runs(RUNS)
    bits = load_runs(RUNS.assign(loss=LOSS / np.log(2) / 4.2).rename(columns={"loss": "val_bpb"}))
    assert "exponents and tokens per parameter are as in any" in bits.source.notes[0]
    laws = [fit(runs, starts=64).law for runs in (plain, bits)]
    ratios = [float(law.tokens_per_param(1e22)) for law in laws]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-6)
    assert float(laws[1].E) == pytest.approx(float(laws[0].E) / np.log(2) / 4.2, rel=1e-6)


def test_what_a_message_proposes_is_right(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    RUNS.rename(columns={"params": "Our Model Params", "loss": "Loss at the end"}).to_csv(path, index=False)
    assert main(["fit", str(path), "--starts", "16"]) == 2
    proposed = re.search(r"pass (.*) \(columns=", capsys.readouterr().err)[1]
    assert main(["fit", str(path), "--starts", "16", "--quiet", *shlex.split(proposed)]) == 0


def test_decimal_commas_and_excel(tmp_path, capsys):
    RUNS.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    commas = load_runs(tmp_path / "comma.csv")
    assert commas.data_hash == load_runs(RUNS).data_hash
    assert "loss: numbers with decimal commas" in commas.source.notes
    (tmp_path / "runs.xlsx").write_bytes(b"PK\x03\x04 and the rest of a workbook")
    assert main(["fit", str(tmp_path / "runs.xlsx")]) == 2
    assert "a damaged Excel workbook or ZIP archive" in capsys.readouterr().err


def test_columns_and_experiment_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "wandb.csv"
    runs = wandb_table()[:12]
    pd.concat([runs.assign(experiment="a"), runs[:3].assign(experiment="b")]).to_csv(path, index=False)
    options = ["--column", "loss=val/loss", "--experiment", "a", "--starts", "16", "--json"]
    assert main(["fit", str(path), *options]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["n_runs"] == 12
    assert main(["fit", str(path), "--column", "val/loss"]) == 2
    assert "give QUANTITY=NAME, such as loss=val/loss" in capsys.readouterr().err
