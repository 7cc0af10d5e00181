"""Embedded tables, tables from users, and every way a table can be bad."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax.datasets import (
    Runs,
    chinchilla_architectures,
    dataset_info,
    dataset_names,
    figure_names,
    load_runs,
)
from chinchilla_jax.datasets.counting import COUNTING_RULES, round_to_millions
from chinchilla_jax.datasets.reading import read_bytes
from chinchilla_jax.datasets.units import PLAIN
from chinchilla_jax.datasets.validation import runs_from_table

HEADER = ["params", "tokens", "loss"]
ROWS = [[f"{n:.0f}", f"{d:.0f}", f"{1.8 + 480 * n**-0.35 + 2000 * d**-0.37:.5f}"]
        for n in (1e8, 3e8, 1e9, 3e9) for d in (1e10, 3e10, 1e11)]  # fmt: skip


def table(rows=ROWS, header=HEADER, sep=",", end="\n"):
    return end.join(sep.join(row) for row in [header, *rows]) + end


def with_cell(row, column, text):
    """The good table with one cell replaced; `row` is the line of the file, the header being 1."""
    rows = [list(cells) for cells in ROWS]
    rows[row - 2][column] = text
    return table(rows)


def parse(content):
    """What `load_runs` does with a file's content, without the file."""
    content = content.encode() if isinstance(content, str) else content
    return runs_from_table(read_bytes(content, "t.csv"), name="t.csv", counting="as_given")


def message(action, *arguments, **options):
    with pytest.raises(ChinchillaError) as caught:
        action(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    assert len(text) < 600
    return text


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="runs.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


# --- embedded tables -------------------------------------------------------------------------------------


def test_embedded_names_and_what_is_known_about_them():
    assert dataset_names()[:2] == figure_names() == ("chinchilla", "llama3")
    for name in (*figure_names(), "chinchilla_architectures"):
        info = dataset_info(name)
        path = Path(sys.modules["chinchilla_jax.datasets"].__file__).parent / "tables" / f"{name}.csv"
        frame = pd.read_csv(path)
        assert len(frame) == info.n_rows
        assert list(frame.columns) == list(info.columns)
        assert info.arxiv
        assert all(paper in path.with_name("README.md").read_text() for paper in info.arxiv)
    assert "did you mean 'llama3'?" in message(dataset_info, "lama3")


@pytest.mark.parametrize(
    ("options", "n", "data_hash"),
    [
        ({}, 240, "85eaaa557448"),
        ({"params": "reported"}, 240, "aaa1e7a40694"),
        ({"params": "standard"}, 240, "855c334555d6"),
        ({"params": "best_fit"}, 240, "e957196f4387"),
    ],
)
def test_chinchilla_figures_are_pinned(options, n, data_hash):
    """A changed figure changes every published number downstream: this is where it shows."""
    runs = load_runs("chinchilla", **options)
    assert (len(runs), runs.data_hash[:12]) == (n, data_hash)
    assert (runs.name, runs.counting) == ("chinchilla", options.get("params", "as_plotted"))


def test_chinchilla_leaves_out_the_five_runs_of_highest_loss_unless_told_otherwise():
    every = load_runs("chinchilla", drop_highest_loss=0)
    assert len(every) == 245
    kept = load_runs("chinchilla")
    threshold = np.sort(every.loss)[-5]
    np.testing.assert_array_equal(kept.loss, every.loss[every.loss < threshold])
    np.testing.assert_array_equal(kept.params, every.params[every.loss < threshold])


@pytest.mark.parametrize("rounded", [True, False])
@pytest.mark.parametrize("rule", ["standard", "best_fit"])
def test_recounted_parameters_come_from_the_run_s_own_architecture(rule, rounded):
    plotted = load_runs("chinchilla")
    recounted = load_runs("chinchilla", params=rule, rounded=rounded)
    models = chinchilla_architectures()
    counts = COUNTING_RULES[rule](models.architecture)
    by_millions = dict(zip((models.reported_params // 10**6).tolist(), counts.tolist(), strict=True))
    expected = np.array([by_millions[round(n / 1e6)] for n in plotted.params.tolist()])
    np.testing.assert_array_equal(recounted.params, round_to_millions(expected) if rounded else expected)
    for quantity in ("tokens", "flops", "loss"):
        np.testing.assert_array_equal(getattr(recounted, quantity), getattr(plotted, quantity))


def test_reported_parameters_are_those_of_table_a9():
    plotted, reported = load_runs("chinchilla"), load_runs("chinchilla", params="reported")
    np.testing.assert_array_equal(reported.params, np.round(plotted.params / 1e6) * 1e6)
    assert np.all(np.isin(reported.params, chinchilla_architectures().reported_params))
    np.testing.assert_array_equal(reported.tokens, plotted.flops / (6 * plotted.params))


def test_llama3_keeps_its_three_columns():
    runs = load_runs("llama3")
    assert len(runs) == 133
    assert len(np.unique(runs.flops)) == 10
    np.testing.assert_allclose(6 * runs.params * runs.tokens, runs.flops, rtol=1e-8)
    text = message(load_runs, "llama3", params="standard")
    assert "'llama3'" in text and "Table A9" in text


def test_wrong_names_say_what_was_meant(write):
    assert "did you mean 'chinchilla'?" in message(load_runs, "chinchila")
    assert "an embedded table (chinchilla-jax datasets lists them)" in message(load_runs, "nothing-like-it")
    text = message(load_runs, "chinchilla", params="bestfit")
    assert "did you mean 'best_fit'?" in text and "as_plotted, reported, standard" in text
    with pytest.raises(UsageError, match="your own table"):
        load_runs(write(table()), params="reported")
    with pytest.raises(UsageError, match="of type list; give"):
        load_runs([1, 2])


def test_datasets_import_neither_jax_nor_pandas():
    code = (
        "import sys, chinchilla_jax.datasets as d, chinchilla_jax.datasets.counting;"
        "d.load_runs('chinchilla', params='standard');"
        "print([m for m in ('jax', 'pandas', 'pandera', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- Runs ------------------------------------------------------------------------------------------------


def small_runs(**changes):
    columns = {"params": [1, 2, 3], "tokens": [4, 5, 6], "flops": [7, 8, 9], "loss": [3.0, 2.0, 3.0]}
    return Runs(**{**columns, **changes})


def test_runs_are_read_only_copies():
    params = np.array([1.0, 2.0, 3.0])
    runs = small_runs(params=params)
    params[0] = 9
    assert runs.params.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        runs.loss[0] = 1
    frame = runs.to_frame()
    frame.loc[0, "loss"] = 1
    assert runs.loss[0] == 3
    with pytest.raises(AttributeError):
        runs.name = "x"


def test_runs_compare_by_value():
    assert small_runs() == small_runs() == pickle.loads(pickle.dumps(small_runs()))
    assert len({small_runs(), small_runs(), small_runs(name="other")}) == 2
    assert small_runs() != small_runs(loss=[3.0, 2.0, 3.1])
    assert small_runs() != 3


def test_runs_carry_counts_that_a_perturbation_made_non_positive():
    runs = small_runs().with_params([-1.0, 0.0, np.inf], "shifted")
    assert runs.params.tolist() == [-1, 0, np.inf]
    assert (runs.counting, runs.tokens.tolist()) == ("shifted", [4, 5, 6])
    assert small_runs(counting="reported").with_params([1, 1, 1]).counting == "reported"


@pytest.mark.parametrize("bad", [[1, 2], [[1, 2, 3]], 5, "abc", ["a", "b", "c"], [1j, 2, 3]])
def test_runs_refuse_arrays_of_the_wrong_shape_or_kind(bad):
    assert "params" in message(small_runs, params=bad)


def test_drop_highest_loss_keeps_the_order_and_takes_the_later_of_equals():
    runs = small_runs()
    assert runs.drop_highest_loss(1).params.tolist() == [1, 2]
    assert runs.drop_highest_loss(2).params.tolist() == [2]
    assert runs.drop_highest_loss(0) == runs
    equal = Runs(np.arange(100), np.ones(100), np.ones(100), np.tile([2.0, 1.0], 50))
    assert equal.drop_highest_loss(40).params.tolist() == [i for i in range(100) if i % 2 or i < 20]
    for bad in (-1, 3, 1.5, "2"):
        with pytest.raises(UsageError, match="drop_highest_loss"):
            runs.drop_highest_loss(bad)


def test_data_hash_is_that_of_the_little_endian_bytes():
    import hashlib
    import struct

    values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 3.0, 2.0, 3.0]
    assert small_runs().data_hash == hashlib.sha256(struct.pack("<12d", *values)).hexdigest()
    assert small_runs().to_frame().columns.tolist() == ["params", "tokens", "flops", "loss"]
    assert "3 runs" in repr(small_runs())


# --- good tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        ["N", "D", "L"],
        ["Model Size", "Training Tokens", "Training Loss"],
        ["MODEL-SIZE", "n_tokens", "val_loss"],
        [" model_size ", "tokens", "final_loss"],
        ["Num Params.", "training_tokens", "Loss"],
        ["parameters", "num_tokens", "loss"],
        ["n_params", "D", "train loss"],
    ],
)
def test_the_column_names_people_have(header):
    assert parse(table(header=header)) == parse(table())


@pytest.mark.parametrize(
    "name", ["flops", "C", "Training FLOP", "training_flops", "compute", "budget", "Training FLOPs"]
)
def test_any_two_of_params_tokens_and_flops_are_enough(name):
    rows = [[n, d, repr(6 * float(n) * float(d)), loss] for n, d, loss in ROWS]
    full = parse(table(rows, ["params", "tokens", name, "loss"]))
    np.testing.assert_array_equal(full.flops, 6 * full.params * full.tokens)
    for left_out in range(3):
        header = [h for i, h in enumerate(["params", "tokens", name, "loss"]) if i != left_out]
        runs = parse(table([[c for i, c in enumerate(row) if i != left_out] for row in rows], header))
        for quantity in ("params", "tokens", "flops", "loss"):
            np.testing.assert_allclose(getattr(runs, quantity), getattr(full, quantity), rtol=1e-15)


def test_three_given_quantities_stay_as_given():
    # The counts of FLOP that people publish are rarely 6 N D to the digit.
    rows = [[*row, repr(7.5 * float(row[0]) * float(row[1]))] for row in ROWS]
    runs = parse(table(rows, [*HEADER, "flops"]))
    np.testing.assert_allclose(runs.flops, 7.5 * runs.params * runs.tokens, rtol=1e-15)
    assert runs.tokens[0] == 1e10


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("sep", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_line_ends_and_byte_order_mark(sep, end, mark):
    assert parse(mark + table(sep=sep, end=end)) == parse(table())


def test_a_byte_order_mark_before_a_quoted_header():
    assert parse("\ufeff" + table(header=['"Model, Size"', '"tokens"', '"loss"'])) == parse(table())


def test_other_columns_are_ignored_whatever_they_hold():
    rows = [["", *row, 'a "b"\n; c'] for row in ROWS]
    header = ["", *HEADER, "notes; and more"]
    buffer = io.StringIO()
    pd.DataFrame(rows, columns=header).to_csv(buffer, index=False)
    assert parse(buffer.getvalue()) == parse(table())


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.floats(1e-3, 1e30, allow_subnormal=False)] * 3),
        min_size=8,
        max_size=20,
        unique_by=(lambda r: r[0], lambda r: r[1]),
    )
)
def test_round_trip_through_csv_tsv_parquet_and_frames(tmp_path, rows):
    frame = pd.DataFrame(rows, columns=HEADER)
    frame["flops"] = 6 * frame.params * frame.tokens
    frame.to_csv(tmp_path / "r.csv", index=False)
    frame.to_csv(tmp_path / "r.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "r.parquet")
    frame.to_parquet(tmp_path / "unknown.suffix")
    expected = load_runs(frame, units=PLAIN)  # whatever the numbers
    for name in ("r.csv", "r.tsv", "r.parquet", "unknown.suffix"):
        runs = load_runs(tmp_path / name, units=PLAIN)
        assert runs.data_hash == expected.data_hash
        assert runs.name == name
    pd.testing.assert_frame_equal(expected.to_frame()[list(frame)], frame)


def test_files_leave_nothing_out_unless_told(write):
    path = write(table())
    assert len(load_runs(str(path))) == 12
    assert len(load_runs(path, drop_highest_loss=2)) == 10
    assert load_runs(path).counting == "as_given"
    text = message(load_runs, path, drop_highest_loss=8)
    assert "without its 8 runs of highest loss" in text and "at least 6" in text


def test_frames_with_integers_missing_values_and_labels():
    frame = pd.DataFrame(
        [[float(c) for c in row] for row in ROWS], columns=HEADER, index=list("abcdefghijkl")
    )
    assert load_runs(frame.astype({"params": "int64", "tokens": "Int64"})) == load_runs(frame)
    broken = frame.astype({"tokens": "Int64"})
    broken.loc["d", "tokens"] = pd.NA
    text = message(load_runs, broken)
    assert "DataFrame: index d, column 'tokens'" in text and "missing" in text
    flags = frame.assign(loss=True)
    assert "True (bool)" in message(load_runs, flags)
    assert "columns 'params' (column 1) and 'params'" in message(
        load_runs, pd.concat([frame, frame[["params"]]], axis=1)
    )


# --- bad tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found", "remedy"),
    [
        ("abc", "'abc' is not a number", "write a plain number such as 1.4e12"),
        ('"1,5"', "'1,5' is not a number", "use a decimal point: 1.5"),
        ('"0,512"', "'0,512' is not a number", "use a decimal point: 0.512"),
        ('"1,234"', "'1,234' is not a number", "write 1234 or 1.234"),
        ("1_000", "1000 beside 1e+10 to 1e+11 in the other rows: two units in one column", "--unit tokens="),
        ("70K", "7e+04 beside 1e+10 to 1e+11 in the other rows: two units in one column", "--unit tokens="),
        ("70x", "'70x' is not a number", "write a plain number such as 1.4e12"),
        ("0x10", "'0x10' is not a number", "plain number"),
        ("0", "'0' is zero", "correct it or delete the row"),
        ("-0.0", "'-0.0' is zero", "correct it or delete the row"),
        ("-3e9", "'-3e9' is negative", "correct it or delete the row"),
        ("nan", "'nan' marks a missing value", "fill it in or delete the row"),
        ("N/A", "'N/A' marks a missing value", "fill it in or delete the row"),
        ("", "the cell is empty", "fill it in or delete the row"),
        ('"  "', "the cell is empty", "fill it in or delete the row"),
        ("inf", "'inf' is infinite", "correct it or delete the row"),
        ("-Infinity", "'-Infinity' is infinite", "correct it or delete the row"),
        ("1e999", "'1e999' is too large for a float64", "correct it"),
        ("1e-999", "'1e-999' is too small for a float64", "correct it"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_named_with_its_row_column_value_and_remedy(write, text, found, remedy):
    path = write(with_cell(5, 1, text))
    said = message(load_runs, path)
    assert said.startswith(f"{path}: row 5, column 'tokens': {found};")
    assert remedy in said


def test_a_loss_is_never_advised_as_thousands():
    assert "use a decimal point: 2.345" in message(parse, with_cell(3, 2, '"2,345"'))  # beside 2.82651
    assert "not its logarithm" in message(parse, with_cell(3, 2, "-2.1"))


def test_many_bad_cells_name_five_rows_and_count_the_rest():
    rows = [[n, "many", loss] for n, _, loss in ROWS]
    rows[3][2] = "x"
    said = message(parse, table(rows))
    assert "rows 2, 3, 4, 5, 6 and 7 more, column 'tokens': 'many' (row 2) is not a number" in said
    assert "1 other cell " in said


def test_row_numbers_are_lines_of_the_file():
    blank_lines = table().replace("\n", "\n\n").replace(ROWS[2][1] + "," + ROWS[2][2], "x,2", 1)
    assert "row 7, column 'tokens': 'x'" in message(parse, blank_lines)
    rows = [[*row, '"two\nlines"'] for row in ROWS]
    rows[4][0] = "x"
    assert "row 10, column 'params': 'x'" in message(parse, table(rows, [*HEADER, "note"]))


COLUMN_CASES = [
    (["params", "loss"], "found no column for tokens or flops; the table has 'params', 'loss'"),
    (["params", "tokens"], "found no column for loss; the table has 'params', 'tokens'"),
    (
        ["a", "b", "x"],
        "no columns for params, tokens or flops (two are needed), and none for loss; the table has 'a', 'b'",
    ),
    (["parms", "tokens", "loss"], "--column params=parms"),
    (["params_active", "tokens", "loss"], "if these hold them, pass --column params=params_active"),
    (["params", "tokens", "loss", "Loss"], "two columns may hold loss: 'loss' and 'Loss'; choose"),
    (["params", "N", "tokens", "loss"], "two columns may hold params: 'params' and 'N'; choose"),
    (["params", "tokens", "loss", "loss"], "(column 3) and 'loss' (column 4): the header is duplicated"),
    (["1e9", "2e10", "2.5"], "row 1 holds numbers, not column names; add a header line"),
    (["params tokens loss"], "a single column, 'params tokens loss'; separate columns"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "expected"), COLUMN_CASES)
def test_bad_headers(header, expected):
    assert expected in message(parse, table([[f"{i + 2}e9"] * len(header) for i in range(8)], header))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("\u2003\n", "the file is empty"),
        ('""\n', "the file is empty"),
        ("params,tokens,loss\n", "no rows under the header ('params', 'tokens', 'loss')"),
        (table().encode("utf-16")[:-1], "damaged UTF-16 text (truncated data); save it as UTF-8"),
        (table().encode("utf-16-le"), "NUL bytes: UTF-16 text"),
        ((table() + "1,2,é\n").encode("latin-1"), "row 14: byte 0xe9 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a table but a PNG picture"),
        (b"PK\x03\x04rest", "a damaged Excel workbook or ZIP archive"),
        (b"\x1f\x8b\x08rest", "damaged gzip file"),
        ('[{"params": 1e9, "x": 1}]', "found no column for tokens or flops, and none for loss"),
        ("<!DOCTYPE html><p>404</p>", "not a table but HTML"),
        (table([*ROWS[:3], ["1", "2"], *ROWS]), "row 5: 2 cells where the header has 3"),
        (table([*ROWS[:3], ["1", "2", "3", "4"], *ROWS]), "row 5: 4 cells where the header has 3"),
        (table([*ROWS, HEADER, *ROWS]), "row 14: the header again; delete the repeated line"),
        (table() + '"1,2,3\n4,5,6', "row 14: cannot be split into cells"),
        (with_cell(4, 1, "1" * 200_000), "row 4: cannot be split into cells"),
        (with_cell(4, 1, "1e308"), "1e+308 beside 1e+10 to 1e+11 in the other rows: two units"),
        (table(ROWS[:5]), "5 distinct runs in 5 rows"),
        (table(ROWS[:4] * 2), "4 distinct runs in 8 rows (rows 6, 7, 8, 9 repeat the params and tokens"),
        (table([["1e9", d, loss] for _, d, loss in ROWS]), "all 12 rows have the same params (1e+09)"),
        (table([[n, "1e9", loss] for n, _, loss in ROWS]), "all 12 rows have the same tokens (1e+09)"),
        (b"PAR1 and then nothing", "damaged Parquet file"),
    ],
)  # fmt: skip
def test_bad_files(content, expected):
    assert expected in message(parse, content)


def test_files_that_cannot_be_opened(write, tmp_path, monkeypatch):
    assert "no such file" in message(load_runs, tmp_path / "missing.csv")
    assert "is a directory without tables; give the path of a CSV" in message(load_runs, tmp_path)
    assert "cannot be opened" in message(load_runs, write(table()) / "below.csv")
    assert "cannot be opened" in message(load_runs, Path("a\0b.csv"))
    assert "'a\\nb.csv': no such file" in message(load_runs, "a\nb.csv")
    assert "not Parquet despite its suffix" in message(load_runs, write(table(), "runs.parquet"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert "no permission to read it" in message(load_runs, tmp_path / "runs.csv")


def test_a_file_far_too_large_is_not_read_into_memory(write, monkeypatch):
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_TABLE_BYTES", "100")
    assert "too large for a table of runs" in message(load_runs, write(table()))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_like_a_file(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(path)!r}, 'w').write({table()!r})"])
    assert load_runs(path).data_hash == parse(table()).data_hash
    assert writer.wait(10) == 0


def parquet(columns, names):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, names=names), buffer)
    return buffer.getvalue()


def test_bad_parquet_tables(write):
    numbers = [1e9, 2e9, 3e9]
    said = message(load_runs, write(parquet([numbers, ["a", "b", "1"], numbers], HEADER), "p.parquet"))
    assert "p.parquet: rows 1, 2, column 'tokens': 'a' (row 1) is not a number" in said
    said = message(parse, parquet([numbers, [1.0, None, 2.0], numbers], HEADER))
    assert "row 2, column 'tokens': None marks a missing value" in said
    assert "[1] (list) is not a number" in message(
        parse, parquet([numbers, [[1], [2], [3]], numbers], HEADER)
    ).replace(" (row 1)", "")
    assert "header is duplicated" in message(parse, parquet([numbers] * 3, ["params", "params", "loss"]))
    assert "no rows" in message(parse, parquet([pa.array([], pa.float64())] * 3, HEADER))
    assert "distinct runs" in message(parse, parquet([numbers, numbers, [3.0, 2.5, 2.2]], HEADER))


# --- properties ------------------------------------------------------------------------------------------


def outcome(content):
    """Runs, or the text of a one-line error; anything else fails the test by itself."""
    try:
        return parse(content)
    except DataError as error:
        assert str(error).isprintable()
        assert str(error).startswith("t.csv: ")
        return str(error)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200),
        st.text(alphabet='params,tokensloss;\t"\n\r019.eE-', max_size=200),
    )
)
def test_any_content_gives_runs_or_one_line(content):
    result = outcome(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    assert isinstance(result, Runs | str)


@pytest.mark.parametrize("header", [b"\x01arams,tokens,loss", b"params,\x01okens,loss"])
def test_a_name_with_control_characters_is_not_proposed(header):
    with pytest.raises(DataError) as caught:
        parse(header + b"\n1e9,2e10,2.5\n")
    assert str(caught.value).isprintable()


def test_a_separator_of_ascii_before_a_number_is_read_or_one_line():
    outcome(table().replace("\n1", "\n\x1c1", 1).encode())


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_runs_or_one_line(data):
    """Bytes of a good file overwritten, removed or inserted; half the files are Parquet."""
    good = GOOD_PARQUET if data.draw(st.booleans()) else table().encode()
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 20)))
    outcome(good[:start] + data.draw(st.binary(max_size=20)) + good[stop:])


GOOD_PARQUET = parquet([[float(row[i]) for row in ROWS] for i in range(3)], HEADER)


@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@given(
    row=st.integers(2, len(ROWS) + 1),
    column=st.integers(0, 2),
    text=st.one_of(
        st.sampled_from(["", "0", "-1", "nan", "inf", "x", "1e999", "NULL", "3B"]),
        st.text(
            st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='",;\t|#'),
            min_size=1,
            max_size=10,
        ),
    ),
)
def test_one_damaged_cell_is_named_by_row_and_column(row, column, text):
    try:
        usable = 0 < float(text) < float("inf") and text.strip().isascii() and "_" not in text
    except ValueError:
        usable = False
    result = outcome(with_cell(row, column, text))
    if isinstance(result, Runs):
        read = getattr(result, HEADER[column])[row - 2]
        assert (usable and read == float(text)) or text.strip()[-1:].isalpha() or set(text) & set(" '\u00a0_")
    else:
        assert f"row {row}, column '{HEADER[column]}': " in result


def test_flops_of_another_size_than_six_params_tokens_are_refused(write):
    params, tokens = np.geomspace(1e8, 1e10, 8), np.geomspace(1e10, 3e12, 8)[::-1]
    factor = np.array([1.0, 1.2, 0.9, 1.0, 10.0, 1.0, 1.0, 1.0])
    lines = [f"{n!r},{d!r},{6 * n * d * k!r},{2.0 + 0.1 * i}" for i, (n, d, k) in
             enumerate(zip(params.tolist(), tokens.tolist(), factor.tolist(), strict=True))]  # fmt: skip
    text = message(load_runs, write("\n".join(["N,D,FLOP,loss", *lines])))
    assert "row 6" in text
    assert "'FLOP'" in text
    assert "10 times 6 * params * tokens" in text
    assert "units" in text
