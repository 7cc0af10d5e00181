"""Which rows of a table are read: conditions, the last row of a run, the best of a configuration, flags."""

import json
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.datasets.where import rows_where

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)


def table(seed=0):
    """Two corpora of four sizes, three lengths and three learning rates, and a checkpoint of each run."""
    places = [(n, d) for n in (1e8, 3e8, 1e9, 3e9) for d in (2e9, 8e9, 4e10)]
    frame = pd.DataFrame(
        [
            {
                "corpus": corpus,
                "n_params": n,
                "lr": lr,
                "name": f"{corpus}-{n:g}-{d:g}-{lr}",
                "tokens": part * d,
            }
            for corpus in ("c4", "pile")
            for n, d in places
            for lr in (1e-4, 1e-3, 1e-2)
            for part in (0.5, 1.0)
        ]
    )
    noise = np.random.default_rng(seed).normal(0, 0.003, len(frame))
    worse = 0.1 * (np.log10(frame["lr"]) + 3) ** 2 + 0.3 * (frame["corpus"] == "pile")
    frame["eval/loss"] = (LAW.loss(frame["n_params"], frame["tokens"]) + worse) * np.exp(noise)
    frame["outlier"] = [i % 36 == 5 for i in range(len(frame))]
    return frame


FRAME = table()
COLUMNS = {"loss": "eval/loss"}
CELLS = ["", "a", "b", "1", "2.5", "-3", "1e3", "true", "no", "nan", "x y"]


# --- Conditions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("corpus == 'c4'", lambda f: f.corpus == "c4"),
        ("corpus != 'c4' and n_params >= 1e9", lambda f: (f.corpus != "c4") & (f.n_params >= 1e9)),
        ("tokens / n_params > 20 or lr == 1e-2", lambda f: (f.tokens / f.n_params > 20) | (f.lr == 1e-2)),
        ("not (corpus in ['pile', 'web'])", lambda f: f.corpus != "pile"),
        ("corpus not in ('pile',)", lambda f: f.corpus != "pile"),
        ("1e8 < n_params <= 1e9", lambda f: (f.n_params > 1e8) & (f.n_params <= 1e9)),
        ("`eval/loss` < 2.5", lambda f: f["eval/loss"] < 2.5),
        ("outlier", lambda f: f.outlier),
        ("not outlier and lr * 1000 == 1", lambda f: ~f.outlier & (f.lr == 1e-3)),
        ("params > 5e8", lambda f: f.n_params > 5e8),  # the name of the quantity
        ("CORPUS == 'pile'", lambda f: f.corpus == "pile"),
        ("-n_params < -5e8\n and +lr > 0", lambda f: f.n_params > 5e8),
    ],
)
def test_a_condition_keeps_what_pandas_would(condition, wanted):
    kept = rows_where(read_table(FRAME), condition, {"params": list(FRAME).index("n_params")})
    assert kept == np.flatnonzero(wanted(FRAME)).tolist()


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("corpus = 'c4'", "for equal write =="),
        ("corpus == 'c4' && lr > 0", "write and, or, not"),
        ("corpus == 'C4'", "no row of 144 is kept; column 'corpus' has 'c4', 'pile'"),
        ("korpus == 'c4'", "did you mean 'corpus'? the table has 'corpus', 'n_params', 'lr'"),
        ("corpus == c4", "no column is named 'c4'"),
        ("eval/loss > 2", "for the column write `eval/loss`"),
        ("corpus", "row 0"),
        ("corpus in 'c4'", "after in comes a list"),
        ("lr is 1", "write == and !="),
        ("__import__('os').system('true')", "not allowed"),
        ("().__class__.__bases__", "a dot follows something that is no name"),
        ("corpus.__class__", "no column is named 'corpus.__class__'"),
        ("[c for c in (1,)]", "not allowed"),
        ("lr ** 9 > 1", "not allowed"),
        ("@lr > 1", "not a condition"),
        ("lr > 1) or (lr < 1", "not a condition"),
        ("(" * 300 + "1" + ")" * 300, "not a condition"),
        ("not " * 60 + "lr", "too many brackets"),
        ("lr > " + "1" * 3000, "longer than"),
        ("", "give a condition"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(condition, said):
    with pytest.raises(UsageError) as caught:
        rows_where(read_table(FRAME), condition, {})
    text = str(caught.value).replace("index 0", "row 0")
    assert said in text and text.isprintable()


@given(st.text(st.sampled_from("ab1.'\"`()[],<>=!+-*/ \n\\{}:@&|~^%notandriselfmd_"), max_size=30))
def test_any_text_is_a_condition_or_one_line(text):
    frame = pd.DataFrame({"a": CELLS, "b": range(len(CELLS))})
    try:
        kept = rows_where(read_table(frame), text, {})
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert set(kept) <= set(range(len(CELLS)))


@given(st.sampled_from(CELLS), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.floats(-4, 2000))
def test_a_cell_is_compared_with_a_number_as_the_number_that_it_is(cell, sign, number):
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
               "!=": operator.ne}[sign]  # fmt: skip
    try:
        wanted = compare(float(cell), number)
    except ValueError:
        wanted = sign == "!="
    frame = pd.DataFrame({"a": [cell, "0"], "all": [1, 1]})
    assert (0 in rows_where(read_table(frame), f"a {sign} {number!r} or a == '0'", {})) == (wanted or False)


def test_cells_with_a_letter_or_separators_are_numbers_beside_numbers():
    sizes = ["70M", "1.3B", "1,300,000,000", "3T", "7b", "1,234", "x"]
    read = read_table(pd.DataFrame({"size": sizes}))
    assert rows_where(read, "size >= 1e9", {}) == [1, 2, 3, 4]
    assert rows_where(read, "size / 2 == 35e6", {}) == [0]
    assert rows_where(read, "size == '7b' or size == 'x'", {}) == [4, 6]
    assert rows_where(read, "size in ['7B', '70M']", {}) == [0]  # texts


# --- Final, best, flags ----------------------------------------------------------------------------------


def test_the_last_row_of_each_run_and_the_best_of_each_configuration():
    runs = cj.load_runs(FRAME, columns=COLUMNS, final=True, groups=("name",), ignore_flags=True)
    last = FRAME.loc[FRAME.groupby("name", sort=False)["tokens"].idxmax()]
    np.testing.assert_array_equal(runs.loss, last["eval/loss"])
    best = cj.load_runs(
        FRAME, columns=COLUMNS, final=True, groups=("name",), best_of=("params", "tokens", "corpus"),
        ignore_flags=True,
    )  # fmt: skip
    lowest = last.loc[last.groupby(["corpus", "n_params", "tokens"], sort=False)["eval/loss"].idxmin()]
    np.testing.assert_array_equal(np.sort(best.loss), np.sort(lowest["eval/loss"]))
    assert len(best) == 24 and best.rows.tolist() == [str(i) for i in lowest.index]
    assert [(each.n, each.why) for each in best.source.left_out] == [
        (72, "not the last of their run (72 runs by column 'name')"),
        (48, "not the best of their params and tokens and corpus (24 configurations)"),
    ]


def test_tokens_within_rounding_are_one_configuration():
    frame = FRAME.assign(tokens=FRAME["tokens"] * (1 + 0.001 * (np.arange(len(FRAME)) % 3)))
    runs = cj.load_runs(frame, columns=COLUMNS, best_of=("params", "tokens"), ignore_flags=True)
    assert len(runs) == 24


def test_flags_of_the_table_are_honoured_and_said_or_ignored():
    runs = cj.load_runs(FRAME, columns=COLUMNS)
    assert len(runs) == (~FRAME["outlier"]).sum()
    assert [each.sentence for each in runs.source.left_out] == [
        "left out 4 rows: ruled out by column 'outlier' (--ignore-flags keeps them); indices 5, 41, 77, 113"
    ]
    both = FRAME.assign(exclude=[i in (5, 6, 100) for i in range(144)])
    assert [each.rows for each in cj.load_runs(both, columns=COLUMNS).source.left_out] == [
        "indices 5, 41, 77, 113", "indices 6, 100",
    ]  # fmt: skip
    final = cj.load_runs(FRAME, columns=COLUMNS, final=True, groups=("name",))
    assert len(final) == 68 and set(np.unique(final.tokens)) == {
        2e9,
        8e9,
        4e10,
    }  # no checkpoint in their place
    keep = FRAME.drop(columns="outlier").assign(Keep=np.where(FRAME["outlier"], "no", "yes"))
    assert cj.load_runs(keep, columns=COLUMNS) == runs
    assert len(cj.load_runs(keep, columns=COLUMNS, ignore_flags=True)) == 144
    assert len(cj.load_runs(FRAME.assign(outlier=0.3), columns=COLUMNS)) == 144  # a score, no flag
    with pytest.raises(DataError, match="rules out all rows"):
        cj.load_runs(FRAME.assign(outlier=1), columns=COLUMNS)


def test_rows_that_were_not_chosen_need_no_numbers():
    frame = FRAME.assign(**{"eval/loss": FRAME["eval/loss"].where(FRAME["corpus"] == "c4", None)})
    assert len(cj.load_runs(frame, columns=COLUMNS, where="corpus == 'c4' and not outlier")) == 70


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"final": True}, "final needs a column of run names"),
        ({"best_of": "korpus"}, "did you mean 'corpus'"),
        ({"best_of": 3}, "best_of is 3"),
        ({"where": 3}, "where is 3"),
        ({"final": "yes"}, "final is 'yes'"),
    ],
)
def test_choices_without_meaning(options, said):
    with pytest.raises(UsageError, match=said):
        cj.load_runs(FRAME, columns=COLUMNS, **options)


def test_embedded_tables_have_no_rows_to_choose():
    with pytest.raises(ChinchillaError, match="where and final are for your own tables"):
        cj.load_runs("chinchilla", where="params > 1e9", final=True)


# --- On the command line and in studies ------------------------------------------------------------------

CHOICE = ("--column", "loss=eval/loss", "--where", "corpus == 'c4'", "--where", "tokens > 1e9", "--final",
          "--group", "name", "--best-of", "params,tokens")  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("rows") / "runs.csv"
    FRAME.assign(weight=np.arange(len(FRAME)) + 1).to_csv(found, index=False)
    return str(found)


def test_commands_read_the_rows_that_the_options_name(path):
    runs = cj.load_runs(
        path, columns=COLUMNS, where=("corpus == 'c4'", "tokens > 1e9"), final=True, groups=("name",),
        best_of=("params", "tokens"),
    )  # fmt: skip
    found = strict_json(done("fit", path, *CHOICE, "--starts", "16", "--weights", "weight", "--json"))
    assert found["data"]["hash"] == runs.data_hash and len(runs) == 12
    weights = runs.rows.astype(int) - 1  # the row of the file, less the header
    wanted = cj.fit(runs, weights=weights, starts=16)
    assert found["law_found"] == pytest.approx(wanted.parameters, rel=1e-9)


def test_two_corpora_of_one_table_are_compared(path):
    options = (
        "--column",
        "loss=eval/loss",
        "--best-of",
        "params",
        "--best-of",
        "tokens",
        "--resamples",
        "50",
    )
    found = strict_json(
        done(
            "wald", path, "--where", "corpus == 'c4'", *options, "--json",
            "--against", path, "--against-where", "corpus == 'pile'",
        )
    )  # fmt: skip
    assert found["data"]["hash"] != found["against"]["hash"]
    assert found["data"]["n_runs"] == found["against"]["n_runs"] == 24
    assert "give it too" in refused("wald", path, "--against-where", "lr > 0", *options)


def test_an_experiment_that_is_given_twice_is_an_error(path):
    text = refused("fit", path, "--experiment", "a", "--experiment", "b")
    assert "--experiment is given as 'a' and 'b'" in text


def test_a_study_of_chosen_rows(path, tmp_path):
    spec = cj.StudySpec(
        data=path, columns=COLUMNS, where="corpus == 'c4'", final=True, groups=["name"],
        best_of=["params", "tokens"], resamples=4, flops=[1e20],
    )  # fmt: skip
    assert cj.StudySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    study = cj.run_study(spec, tmp_path / "out", figures=False, progress=None)
    assert len(study.runs()) == 12
    with pytest.raises(UsageError, match="final is 'x'"):
        cj.StudySpec(data=path, final="x")
    with pytest.raises(UsageError, match="where is for tables of your own"):
        cj.StudySpec(where="params > 1")
    out = tmp_path / "study.toml"
    done("study", "init", str(out), "--data", path, *CHOICE)
    written = cj.StudySpec.from_toml(out)
    assert (
        written.where == ("corpus == 'c4'", "tokens > 1e9") and written.final and written.groups == ("name",)
    )
