"""Every kind of table, in files and in memory: the same runs whatever holds them, or one line."""

import bz2
import gzip
import inspect
import io
import json
import lzma

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chinchilla_jax import DataWarning, load_runs
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.cli import main
from chinchilla_jax.datasets.reading import read_bytes
from chinchilla_jax.datasets.validation import runs_from_table

N = np.repeat([1e8, 3e8, 1e9], 4)
D = np.tile([2e9, 5e9, 2e10, 6e10], 3)
LOSS = np.round(1.8 + 480 / N**0.35 + 2100 / D**0.37, 9)
COLUMNS = {
    "N": N.tolist(),
    "tokens": D.tolist(),
    "note": ["a, b", 'say "x"', "é", ""] * 3,
    "loss": LOSS.tolist(),
}


def records(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def csv(columns, sep=",", **options):
    return pd.DataFrame(columns).to_csv(index=False, sep=sep, **options).encode()


def json_lines(columns):
    return "\n".join(json.dumps(each) for each in records(columns)).encode()


def written(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def workbook(columns, sheets=("runs",)):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title in sheets:
        sheet = book.create_sheet(title)
        sheet.append(list(columns))
        for row in zip(*columns.values(), strict=True):
            sheet.append(row)
    return written(book.save)


def excel_csv(columns):
    """As Excel saves it: the separator in the first line, and rows that were once in use below."""
    text = csv(columns, ";", lineterminator="\r\n").decode()
    return f"sep=;\r\n{text}{';' * (len(columns) - 1)}\r\n;;\r\n".encode("utf-8-sig")


def commented(columns):
    lines = csv(columns).decode().splitlines()
    return "\n".join(
        ['# our runs, from "here"', lines[0], "", *lines[1:4], "# don't", *lines[4:], "#"]
    ).encode()


def comment_header(columns):
    return b"# of the lab\n# " + csv(columns)


def frame(columns):
    return pd.DataFrame(columns)


BYTES = {
    "comma": csv,
    "semicolon": lambda columns: csv(columns, ";"),
    "tab": lambda columns: csv(columns, "\t"),
    "bar": lambda columns: csv(columns, "|"),
    "excel csv": excel_csv,
    "windows": lambda columns: csv(columns, "\t").decode().encode("utf-16"),
    "comments": commented,
    "comment as header": comment_header,
    "json lines": json_lines,
    "json array": lambda columns: json.dumps(records(columns)).encode(),
    "json runs": lambda columns: json.dumps({"project": "x", "runs": records(columns)}, indent=1).encode(),
    "json columns": lambda columns: json.dumps(columns).encode(),
    "json of pandas": lambda columns: frame(columns).to_json(double_precision=15).encode(),
    "json by name": lambda columns: json.dumps(
        dict(zip("abcdefghijkl", records(columns), strict=False))
    ).encode(),
    "json nested by name": lambda columns: json.dumps(
        {"project": "x", "runs": dict(zip("abcdefghijkl", records(columns), strict=False))}
    ).encode(),
    "json columns and more": lambda columns: json.dumps({"project": "x", "version": 2, **columns}).encode(),
    "json split": lambda columns: json.dumps(
        {"columns": list(columns), "data": [list(each.values()) for each in records(columns)]}
    ).encode(),
    "gzip": lambda columns: gzip.compress(csv(columns)),
    "bzip2": lambda columns: bz2.compress(csv(columns)),
    "xz": lambda columns: lzma.compress(json_lines(columns)),
    "zstd": lambda columns: pa.compress(csv(columns), codec="zstd", asbytes=True),
    "parquet": lambda columns: written(lambda buffer: pq.write_table(pa.table(columns), buffer)),
    "feather": lambda columns: written(lambda buffer: pa.feather.write_feather(pa.table(columns), buffer)),
    "excel": workbook,
}  # fmt: skip
MEMORY = {
    "pandas": frame,
    "pandas index": lambda columns: frame(columns).set_index(["N", "tokens"]),
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "record batch": pa.RecordBatch.from_pydict,
    "records": lambda columns: frame(columns).to_records(index=False),
    "structured": lambda columns: np.array(
        list(zip(columns["N"], columns["tokens"], columns["loss"], strict=True)),
        [("N", "f8"), ("tokens", "f8"), ("loss", "f8")],
    ),
    "dict of lists": dict,
    "dict of arrays": lambda columns: {name: np.array(each) for name, each in columns.items()},
    "dict of series": lambda columns: {name: pl.Series(each) for name, each in columns.items()},
    "list of dicts": records,
    "list of scalars": lambda columns: [
        {name: np.array(each) if name == "loss" else each for name, each in record.items()}
        for record in records(columns)
    ],
    "named tuples": lambda columns: list(frame(columns).itertuples(index=False)),
    "dict of generators": lambda columns: {name: iter(each) for name, each in columns.items()},
    "record batches": lambda columns: pa.RecordBatchReader.from_batches(
        pa.table(columns).schema, pa.table(columns).to_batches()
    ),
    "struct": lambda columns: pa.table({"config": pa.array(records(columns))}),
    "open file": lambda columns: io.StringIO(csv(columns).decode()),
    "open binary file": lambda columns: io.BytesIO(gzip.compress(csv(columns))),
    "dict of runs": lambda columns: {"runs": records(columns)},
}  # fmt: skip


def message(action, *arguments, kind=ChinchillaError, **options):
    with pytest.raises(kind) as caught:
        action(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    assert len(text) < 600
    return text


def parsed(content):
    return runs_from_table(read_bytes(content, "t"), name="t", counting="as_given")


EXPECTED = load_runs(pd.DataFrame(COLUMNS)).data_hash


@pytest.mark.parametrize("kind", BYTES)
def test_every_kind_of_file_holds_the_same_runs(kind, tmp_path):
    path = tmp_path / "runs.txt"  # suffixes decide nothing
    path.write_bytes(BYTES[kind](COLUMNS))
    runs = load_runs(path)
    np.testing.assert_array_equal(runs.loss, LOSS)
    assert (runs.data_hash, runs.name) == (EXPECTED, "runs.txt")


@pytest.mark.parametrize("kind", MEMORY)
def test_every_table_in_memory_holds_the_same_runs(kind):
    assert load_runs(MEMORY[kind](COLUMNS)).data_hash == EXPECTED


NUMBERS = st.floats(1e6, 1e12).map(lambda x: float(f"{x:.12g}"))
ALIASES = {
    "params": st.sampled_from(["params", "N", "Model Size", "n_params"]),
    "tokens": st.sampled_from(["tokens", "D", "train_tokens"]),
    "loss": st.sampled_from(["loss", "L", "val_loss", "Final Loss"]),
}


@st.composite
def tables(draw):
    """Columns of 8 runs: in any order, under any alias, with others between them."""
    columns = {
        draw(ALIASES["params"]): draw(st.lists(NUMBERS, min_size=8, max_size=8, unique=True)),
        draw(ALIASES["tokens"]): draw(st.lists(NUMBERS, min_size=8, max_size=8, unique=True)),
        draw(ALIASES["loss"]): draw(
            st.lists(st.floats(1.5, 9.5).map(lambda x: round(x, 9)), min_size=8, max_size=8)
        ),
    }
    plain = list(columns.values())
    texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6).map(str.strip)
    columns["remark"] = [f"x{each}" for each in draw(st.lists(texts, min_size=8, max_size=8))]
    columns["lr"] = draw(st.lists(st.floats(1e-5, 1.0), min_size=8, max_size=8))
    names = draw(st.permutations(list(columns)))
    return {name: columns[name] for name in names}, plain


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(tables())
def test_neither_kind_nor_order_nor_alias_nor_other_columns_change_the_runs(table):
    columns, (params, tokens, loss) = table
    plain = load_runs({"params": params, "tokens": tokens, "loss": loss}).data_hash
    for kind, write in BYTES.items():
        assert parsed(write(columns)).data_hash == plain, kind
    for kind, make in MEMORY.items():
        # These have names of their own, or names that Python would accept.
        if kind not in ("structured", "pandas index", "named tuples"):
            assert load_runs(make(columns)).data_hash == plain, kind


@pytest.mark.slow
def test_fit_and_bootstrap_take_any_table():
    import chinchilla_jax as cj

    options = {"delta": 1e-3, "starts": 4}
    expected = cj.fit(cj.load_runs(COLUMNS), **options)
    assert cj.fit(pl.DataFrame(COLUMNS), **options).parameters == expected.parameters
    boot = cj.bootstrap(records(COLUMNS), resamples=2, point=expected, scheme="pairs")
    assert boot.point.parameters == expected.parameters
    assert cj.fit("llama3", **options).n_runs == 133


def test_two_of_params_tokens_and_flops_are_enough():
    from chinchilla_jax import Runs

    whole = Runs(N, D, 6 * N * D, LOSS)
    assert Runs(params=N, tokens=D, loss=LOSS) == whole
    np.testing.assert_array_equal(Runs(params=N, flops=6 * N * D, loss=LOSS).tokens, D)
    np.testing.assert_array_equal(Runs(tokens=D, flops=6 * N * D, loss=LOSS).params, N)
    assert "tokens and flops missing; give the loss and two of" in message(Runs, N, loss=LOSS)
    assert "loss missing" in message(Runs, N, D)
    assert "different lengths (params 12, tokens 3, loss 12)" in message(Runs, N, D[:3], loss=LOSS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (42, "cannot read 42, of type int; give an embedded name, a path, a URL, or a table in memory"),
        (None, "cannot read None"),
        ([1, 2, 3], "cannot read [1, 2, 3], of type list"),
        ([], "list: it is empty; give one dict per run"),
        ({}, "dict: it is empty; give columns such as params, tokens, loss"),
        ([{"params": 1}, 7], "list: index 1: 7 is not a dict; give one dict per run"),
        ({"params": 1e9, "loss": 2.5}, "column 'params' is 1000000000.0; give one value per run"),
        ({"params": [1.0, 2.0], "loss": [1.0]}, "columns of different lengths ('params' 2, 'loss' 1)"),
        ({"params": np.ones((2, 2)), "tokens": [1, 2], "loss": [1, 2]}, "is not a number"),
        (np.ones((5, 3)), "an array of shape (5, 3) has no column names; give a dict of arrays"),
        ({"params": {1.0, 2.0}}, "column 'params' is {1.0, 2.0}; give one value per run, in order"),
        (pd.DataFrame(), "DataFrame: it has no columns"),
        (load_runs("llama3"), "which are read already; give them to fit or bootstrap"),
        (pd.Series([1.0]), "cannot read 0 1.0 dtype: float64, of type Series"),
        (pl.DataFrame(COLUMNS).lazy(), "a LazyFrame has no rows yet; give what its collect() returns"),
        (pd.DataFrame, f"cannot read {pd.DataFrame}, of type type"),
    ],
)  # fmt: skip
def test_what_is_no_table_in_memory_is_one_line(source, expected):
    assert expected in message(load_runs, source)


MODELS = {"model": ["a; b", "c"], "params": [7e10, 1e9], "tokens": [1.4e12, 2e10]}


@pytest.mark.parametrize("kind", BYTES)
def test_lists_of_models_and_of_ladders_are_read_by_the_same_reader(kind, tmp_path):
    from chinchilla_jax.planning import Ladder, LadderSettings, read_models
    from chinchilla_jax.planning.ladder import import_runs

    path = tmp_path / "table.txt"
    path.write_bytes(BYTES[kind](MODELS))
    models = read_models(path)
    assert models["model"].tolist() == MODELS["model"]
    assert models["tokens"].tolist() == MODELS["tokens"]
    path.write_bytes(BYTES[kind](COLUMNS))
    store = Ladder.create(tmp_path / "ladder.db", LadderSettings(flops_range=(1e17, 1e18))).store
    assert import_runs(store, path) == 12
    assert [run.loss for run in store.runs()] == LOSS.tolist()


def test_a_loss_that_is_not_final_is_not_imported(tmp_path):
    from chinchilla_jax.planning import Ladder, LadderSettings
    from chinchilla_jax.planning.ladder import import_runs

    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss,State\n1e9,2e10,2.5,finished\n1e9,3e10,3.5,crashed\n1e9,4e10,,running\n")
    store = Ladder.create(tmp_path / "ladder.db", LadderSettings(flops_range=(1e17, 1e18))).store
    with pytest.warns(DataWarning, match=r"left out 1 of 3 runs that did not finish \(row 3;"):
        assert import_runs(store, path) == 2
    assert [(run.tokens, run.loss) for run in store.runs()] == [(2e10, 2.5), (4e10, None)]


@pytest.mark.parametrize(
    ("name", "content", "arguments", "expected"),
    [
        ("m.csv", csv(MODELS), ["fit"], "a list of models, without a loss; chinchilla-jax plan --models {}"),
        ("a.csv", b"d_model,n_layers,n_heads\n512,8,8\n", ["fit"], "architectures ('d_model', 'n_layers'"),
        ("s.toml", b'data = "runs.csv"\n', ["fit"], "the spec of a study, not a table; chinchilla-jax"),
        ("r.csv", csv(COLUMNS), ["study", "check"], "(for a table: chinchilla-jax study init --data {})"),
        ("r.csv", csv(COLUMNS), ["study", "status"], "(of a table, chinchilla-jax report writes the page)"),
        ("r.csv", csv(COLUMNS), ["progress", "show"], "progress import DB TABLE adds the runs"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_which_command_takes_it(name, content, arguments, expected, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert main([*arguments, str(path)]) == 2
    assert expected.format(path) in capsys.readouterr().err


def test_a_database_of_a_ladder_is_no_table(tmp_path, capsys):
    path = tmp_path / "ladder.db"
    assert main(["progress", "init", str(path), "--flops-range", "1e17", "1e18", "--quiet"]) == 0
    assert main(["fit", str(path)]) == 2
    assert f"chinchilla-jax progress export {path} runs.csv" in capsys.readouterr().err


class Unprintable:
    def __repr__(self):
        raise RuntimeError


WRONG = [
    42, -1, 1.5, float("nan"), 10**400, True, None, "x", "", "é\n", b"x", [], ["loss"], [1, 2], (), ("loss",),
    {}, {"a": 1}, {"loss": 1}, {1: 2}, {"loss"}, np.array([1.0]), np.array(["a"]), int, Unprintable(),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@pytest.mark.parametrize(
    "function",
    ["load_runs", "Runs", *(pytest.param(each, marks=pytest.mark.slow) for each in ("fit", "bootstrap"))],
)
def test_arguments_of_a_wrong_type_are_one_line(function):
    """Each argument gets each value: it is taken, or refused in one line."""
    import chinchilla_jax as cj

    runs = load_runs(COLUMNS)
    squared = {"objective": "squared"}
    point = cj.fit(runs, starts=1, **squared)
    usual = {
        "load_runs": {"source": COLUMNS},
        "Runs": {"params": N, "tokens": D, "loss": LOSS},
        "fit": {"data": runs, "starts": 1, **squared},
        "bootstrap": {"data": runs, "resamples": 2, "scheme": "pairs", "point": point, **squared},
    }[function]
    call = getattr(cj, function)
    for argument in inspect.signature(call).parameters:
        for value in WRONG:
            try:
                call(**usual | {argument: value})
            except ChinchillaError as error:
                assert str(error).isprintable(), argument


def test_fields_beside_a_list_are_read_where_its_objects_lack_a_quantity(tmp_path):
    path = tmp_path / "run.json"
    pairs = zip(COLUMNS["tokens"], COLUMNS["loss"], strict=True)
    evaluations = [{"tokens": d, "val_loss": x} for d, x in pairs]
    path.write_text(json.dumps({"hyperparameters": {"params": 1e8, "seed": 1}, "results": evaluations}))
    assert "rows have the same params (1e+08)" in message(load_runs, path)
    path.write_text(json.dumps({"hyperparameters": {"params": 1e8, "tokens": 2e10}, "results": evaluations}))
    assert "two columns may hold tokens: 'hyperparameters.tokens' and 'tokens'" in message(load_runs, path)
