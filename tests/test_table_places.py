"""Tables behind URLs, on standard input, in folders, archives and workbooks; damaged and too large ones."""

import bz2
import contextlib
import functools
import gzip
import http.server
import io
import json
import lzma
import re
import sys
import threading
import types
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax import DataWarning, StudySpec, UsageError, load_runs
from chinchilla_jax._util.errors import ChinchillaError, DataError
from chinchilla_jax.cli import main
from chinchilla_jax.datasets.reading import read_bytes
from chinchilla_jax.datasets.validation import runs_from_table
from chinchilla_jax.study.spec.data import load_study_data

N = np.repeat([1e8, 3e8, 1e9], 4)
D = np.tile([2e9, 5e9, 2e10, 6e10], 3)
RUNS = pd.DataFrame({"params": N, "tokens": D, "loss": np.round(1.8 + 480 / N**0.35 + 2100 / D**0.37, 9)})
CSV = RUNS.to_csv(index=False).encode()
HASH = load_runs(RUNS).data_hash
REMOTE_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def message(action, *arguments, kind=ChinchillaError, **options):
    with pytest.raises(kind) as caught:
        action(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    assert len(text) < 600
    return text


# --- URLs ------------------------------------------------------------------------------------------------


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A folder on a web server of this machine, and its address."""
    folder = tmp_path_factory.mktemp("web")
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@REMOTE_WARNINGS
def test_tables_on_a_web_server(web, capsys):
    folder, address = web
    (folder / "runs.csv").write_bytes(CSV)
    (folder / "runs.jsonl.gz").write_bytes(
        gzip.compress(RUNS.to_json(orient="records", lines=True, double_precision=15).encode())
    )
    (folder / "page.csv").write_text("<!DOCTYPE html><html></html>")
    runs = load_runs(f"{address}/runs.csv?token=secret")
    assert (runs.data_hash, runs.name) == (HASH, "runs.csv")
    assert load_runs(f"{address}/runs.jsonl.gz").data_hash == HASH
    assert "/missing.csv: no such file; check the address" in message(load_runs, f"{address}/missing.csv")
    said = message(load_runs, f"{address}/page.csv?token=secret")
    assert "not a table but HTML or XML" in said
    assert "a page about a file has another address than the raw file" in said
    assert "secret" not in said + message(load_runs, f"{address}/missing.csv?token=secret")
    assert "cannot be read" in message(load_runs, "http://user:secret@127.0.0.1:9/runs.csv")
    assert "secret" not in message(load_runs, "http://user:secret@127.0.0.1:9/runs.csv")
    assert main(["fit", f"{address}/runs.csv", "--starts", "4", "--objective", "squared"]) == 0
    assert "runs.csv, params as_given: 12 runs" in capsys.readouterr().out


def test_tables_wherever_fsspec_reaches():
    with fsspec.open("memory://tables-c/runs.parquet", "wb") as stream:
        RUNS.to_parquet(stream)
    assert load_runs("memory://tables-c/runs.parquet").data_hash == HASH
    assert "no such file; check the address" in message(load_runs, "memory://tables-c/none.csv")
    assert "cannot be read" in message(load_runs, "nonsense://x/runs.csv")


def test_a_url_without_what_it_needs_says_what_to_do(monkeypatch):
    def refuse(*_):
        raise RuntimeError("Unable to locate credentials")

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.core, "url_to_fs", refuse)
        said = message(load_runs, "s3://bucket/runs.csv")
    assert "(Unable to locate credentials); set or check the credentials, or give the https://" in said
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert "run pip install 'chinchilla-jax[remote]'" in message(load_runs, "memory://tables-c/runs.parquet")


@pytest.mark.slow
@REMOTE_WARNINGS
def test_tables_in_an_object_store(s3):
    with fsspec.open(f"{s3}/tables/runs.csv.gz", "wb") as stream:
        stream.write(gzip.compress(CSV))
    assert load_runs(f"{s3}/tables/runs.csv.gz").data_hash == HASH
    assert "no such file; check the address" in message(load_runs, f"{s3}/tables/none.csv")
    assert message(load_runs, "s3://no-such-bucket-here/none.csv")


class _Hub(_Handler):
    """As much of the Hugging Face Hub as a data set with one file needs."""

    def do_GET(self):
        file = {"type": "file", "path": "runs.csv", "size": len(CSV), "oid": "a" * 40}
        answers = {
            "/api/datasets/lab/runs": json.dumps({"id": "lab/runs", "sha": "b" * 40}).encode(),
            "/api/datasets/lab/runs/tree/main": json.dumps([file]).encode(),
            "/datasets/lab/runs/resolve/main/runs.csv": CSV,
        }
        content = answers.get(self.path.partition("?")[0])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", '"a"')
        self.end_headers()
        self.wfile.write(content or b"")

    do_HEAD = do_GET


@pytest.mark.slow
@REMOTE_WARNINGS
def test_tables_of_the_hugging_face_hub(monkeypatch):
    pytest.importorskip("huggingface_hub")
    import fsspec.config

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setitem(
            fsspec.config.conf, "hf", {"endpoint": f"http://127.0.0.1:{server.server_port}", "token": False}
        )
        assert load_runs("hf://datasets/lab/runs/runs.csv").data_hash == HASH
        assert "no such file; check the address" in message(load_runs, "hf://datasets/lab/none/runs.csv")
        server.shutdown()
        thread.join()


# --- standard input --------------------------------------------------------------------------------------


@contextlib.contextmanager
def piped(monkeypatch, content):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
        yield


@pytest.mark.slow
def test_standard_input_is_read_once_for_all_that_a_command_asks(monkeypatch, capsys):
    with piped(monkeypatch, RUNS.assign(weight=1.0).to_csv(index=False).encode()):
        arguments = ["fit", "-", "--starts", "4", "--objective", "squared", "--weights", "weight", "--json"]
        assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["data"]["hash"] == HASH
    with piped(monkeypatch, b""):
        assert main(["fit", "-"]) == 2
    assert "standard input: the file is empty" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input: there is none" in message(load_runs, "-")
    assert "./-: no such file" in message(load_runs, Path("-"))


# --- folders ---------------------------------------------------------------------------------------------


def test_a_folder_with_a_file_for_each_run(tmp_path):
    for place, run in enumerate(RUNS.to_dict("records")):
        name = tmp_path / f"run-{place}"
        if place % 2:
            name.with_suffix(".json").write_text(
                json.dumps({"config": {"N": run["params"]}, **run}, indent=1)
            )
        else:
            name.with_suffix(".csv.gz").write_bytes(
                gzip.compress(pd.DataFrame([run]).to_csv(index=False).encode())
            )
    (tmp_path / "notes.txt").write_text("ours")
    (tmp_path / ".hidden.csv").write_text("no")
    runs = load_runs(tmp_path, columns={"params": "params"})
    assert (runs.data_hash, runs.name) == (HASH, tmp_path.name)
    assert runs.source.notes == ("left out 1 other file ('notes.txt')",)
    (tmp_path / "run-3.json").write_text('{"params": 1e9, "tokens": 2e9}')
    assert "file run-3.json, column 'loss': the cell is empty" in message(
        load_runs, tmp_path, columns={"params": "params"}
    )
    (tmp_path / "run-3.json").write_text('{"params": 1e9, "tok')
    assert "run-3.json: row 1: not " in message(load_runs, tmp_path)


def test_a_folder_with_the_checkpoints_of_each_run(tmp_path):
    for place, run in enumerate(RUNS.to_dict("records")):
        steps = pd.DataFrame([{**run, "tokens": run["tokens"] / 2, "loss": run["loss"] + 1}, run])
        steps.to_csv(tmp_path / f"run-{place}.csv", index=False)
    runs = load_runs(tmp_path, final=True)
    assert runs.data_hash == HASH
    assert runs.groups["run"].tolist() == [f"run-{place}" for place in range(12)]


def test_a_folder_for_each_run(tmp_path):
    for place, run in enumerate(RUNS.to_dict("records")):
        folder = tmp_path / f"run-{place}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"params": run["params"], "lr": 1e-3}))
        (folder / "metrics.json").write_text(
            json.dumps({"tokens": run["tokens"], "loss": run["loss"], "lr": 1e-3})
        )
        (folder / "log.txt").write_text("...")
    (tmp_path / "empty").mkdir()
    assert load_runs(tmp_path).data_hash == HASH
    (tmp_path / "run-7" / "metrics.json").write_text('{"lr": 2}')
    said = message(load_runs, tmp_path)
    assert "run-7: its files disagree about 'lr' (0.001 and 2); leave one table in the folder" in said
    (tmp_path / "run-7" / "metrics.json").write_text('[{"lr": 2}, {"lr": 1}]')
    assert "run-7: 2 tables, of which metrics.json has 2 rows; leave one" in message(load_runs, tmp_path)


def test_folders_that_hold_no_runs(tmp_path):
    assert "is a directory without tables" in message(load_runs, tmp_path)
    (tmp_path / "study.json").write_text("{}")
    said = message(load_runs, tmp_path)
    assert "the directory of a study, not a table; chinchilla-jax report" in said


# --- archives and workbooks ------------------------------------------------------------------------------


def workbook(**sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


ROWS = [list(RUNS), *RUNS.to_numpy().tolist()]


def parsed(content):
    return runs_from_table(read_bytes(content, "t"), name="t", counting="as_given")


def test_the_sheet_that_holds_runs_is_read(tmp_path):
    book = workbook(notes=[["of", "the lab"], [1, 2]], runs=[[], ["", ""], *ROWS[:3], [None] * 3, *ROWS[3:]])
    runs = parsed(book)
    assert runs.data_hash == HASH
    assert runs.source.notes == ("left out the sheet 'notes'",)
    assert "2 sheets may hold the runs ('a', 'b'); save the one" in message(parsed, workbook(a=ROWS, b=ROWS))
    assert "row 5, column 'loss': 'n/a'" in message(
        parsed, workbook(a=[*ROWS[:4], [1e9, 2e9, "n/a"], *ROWS[4:]])
    )
    assert "the workbook is empty" in message(parsed, workbook(a=[]))


def test_excel_without_its_package_says_what_to_install(monkeypatch):
    book = workbook(a=ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "run pip install 'chinchilla-jax[excel]', or save the sheet as CSV UTF-8" in message(parsed, book)


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


BOMB = b"1,2,3\n" * 400_000


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(BOMB),
        bz2.compress(BOMB),
        lzma.compress(BOMB),
        pa.compress(BOMB, codec="zstd", asbytes=True),
        zipped(**{"xl/workbook.xml": BOMB}),
    ],
)
def test_what_expands_beyond_the_limit_is_refused(content, monkeypatch):
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_TABLE_BYTES", str(2**20))
    assert len(content) < 2**15
    assert re.search(
        "(expands to|holds) more than 1 MiB, too large for a table of runs", message(read_bytes, content, "t")
    )


def test_columnar_files_that_expand_are_refused(monkeypatch):
    table = pa.table({name: np.ones(300_000) for name in RUNS})
    files = [io.BytesIO(), io.BytesIO()]
    pq.write_table(table, files[0])
    pyarrow.feather.write_feather(table, files[1], compression="zstd")
    for limit in ("TABLE_BYTES", "TABLE_MEMORY"):
        with monkeypatch.context() as patch:
            patch.setenv(f"CHINCHILLA_JAX_MAX_{limit}", str(2**20))
            assert all(limit in message(read_bytes, file.getvalue(), "t") for file in files)


def test_a_sheet_with_a_cell_far_away_is_refused(monkeypatch):
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_TABLE_MEMORY", "600_000")
    book = openpyxl.Workbook()
    book.active["ZZ400"] = 1
    buffer = io.BytesIO()
    book.save(buffer)
    assert "CHINCHILLA_JAX_MAX_TABLE_MEMORY" in message(parsed, buffer.getvalue())


@pytest.mark.parametrize("cell", ["1" * 130_000 + "x", "1." * 60_000, "1,234" * 20_000, "1e" * 60_000])
def test_a_cell_of_any_length_is_read_in_one_pass(cell):
    """Patterns that try every split of the digits would take hours."""
    content = CSV + f'"{cell}",1e9,2.5\n'.encode()
    assert "row 14, column 'params'" in message(parsed, content)


def kinds():
    parquet, feather = io.BytesIO(), io.BytesIO()
    RUNS.to_parquet(parquet)
    pyarrow.feather.write_feather(RUNS, feather)
    lines = RUNS.to_json(orient="records", lines=True).encode()
    return {
        "csv": CSV,
        "utf-16": CSV.decode().encode("utf-16"),
        "lines": lines,
        "array": RUNS.to_json(orient="records").encode(),
        "columns": RUNS.to_json().encode(),
        "split": RUNS.to_json(orient="split").encode(),
        "gzip": gzip.compress(CSV),
        "bzip2": bz2.compress(CSV),
        "xz": lzma.compress(lines),
        "zstd": pa.compress(CSV, codec="zstd", asbytes=True),
        "parquet": parquet.getvalue(),
        "feather": feather.getvalue(),
        "excel": workbook(runs=ROWS),
    }


KINDS = kinds()


def outcome(content):
    """Runs, or the text of a one-line error; anything else fails the test by itself."""
    try:
        return parsed(content)
    except DataError as error:
        assert str(error).isprintable()
        assert str(error).startswith("t: ")
        return str(error)


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@settings(max_examples=150)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_a_truncated_or_damaged_file_of_any_kind_gives_runs_or_one_line(kind, data):
    good = KINDS[kind]
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.one_of(st.just(len(good)), st.integers(start, min(len(good), start + 20))))
    outcome(good[:start] + data.draw(st.binary(max_size=20)) + good[stop:])


@settings(max_examples=150)
@given(
    st.sampled_from([b"", *(content[:8] for content in KINDS.values()), b"sep=;", b"# "]),
    st.binary(max_size=200),
)
def test_random_bytes_after_any_signature_give_one_line(signature, content):
    assert isinstance(outcome(signature + content), str)


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["params", "tokens", "loss", "runs", "data", "columns", "a"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from([1, 6]),
)
def test_any_json_document_gives_one_line(document, copies):
    outcome(json.dumps([document] * copies if copies > 1 else document).encode())


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-32", "cp037", "shift_jis"])
def test_wrong_encodings_are_named(encoding):
    said = outcome(("remark," + CSV.decode().replace("\n", "\n\u00a7,")).encode(encoding, "replace"))
    assert isinstance(said, str)


def test_runs_of_mlflow_s_api():
    """The answer to runs/search, as mlflow.org documents it."""
    answer = {
        "runs": [
            {
                "info": {"run_id": f"r{place}", "status": "FINISHED" if place < 12 else "KILLED"},
                "data": {
                    "params": [
                        {"key": "n_params", "value": f"{run['params']:.0f}"},
                        {"key": "train_tokens", "value": f"{run['tokens']:.0f}"},
                    ],
                    "metrics": [{"key": "val_loss", "value": run["loss"], "timestamp": 1, "step": 3}],
                    "tags": [],
                },
            }
            for place, run in enumerate([*RUNS.to_dict("records"), RUNS.iloc[0]])
        ],
        "next_page_token": "x",
    }
    with pytest.warns(DataWarning, match="left out 1 of 13 runs that did not finish"):
        runs = load_runs(answer)
    assert runs.data_hash == HASH
    assert runs.source.columns == {
        "params": "params.n_params",
        "tokens": "params.train_tokens",
        "loss": "metrics.val_loss",
    }


def test_configurations_as_weights_and_biases_keeps_them():
    runs = [
        {
            "config": {"n_params": {"value": run["params"], "desc": None}},
            "tokens": run["tokens"],
            "loss": run["loss"],
        }
        for run in RUNS.to_dict("records")
    ]
    assert load_runs(runs).data_hash == HASH


def lines(sep, *above):
    return "\n".join([*above, *(sep.join(str(cell) for cell in row) for row in ROWS), ""]).encode()


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (lines(";", "Our runs of May;;", ";;", "in nats;per token;"), ("left out 2 lines above the header",)),
        (lines(",", "Our runs of May"), ("left out 1 line above the header",)),
        (lines(" "), ()),
        (lines("   "), ()),
        (CSV.replace(b",", b" | ").replace(b"\n", b"\n|:---|---|---:|\n", 1), ()),
        (CSV.replace(b"\n", b"\n#", 3), ("left out 3 rows that begin with '#'",)),
        (b"run," + CSV.replace(b"\n", b"\n#,")[:-3], ()),  # every run is called "#"
        (CSV.replace(b"\n", b",,\n"), ()),
        (CSV + b",,\n\n , ,\n", ()),
        (workbook(a=[["Our runs"], [], *ROWS]), ("left out 1 line above the header",)),
    ],
)  # fmt: skip
def test_what_people_put_around_a_table(content, notes):
    runs = parsed(content)
    if notes != ("left out 3 rows that begin with '#'",):
        assert runs.data_hash == HASH
    assert runs.source.notes == notes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", "t: it is empty; give one run per object"),
        (b"{}", "t: it is empty; give one run per object"),
        (b'{"a": 1, "a": 2}\n{"a": 1}\n', "row 1: not a JSON object ('a' is given twice in one object)"),
        (b'{"a": [{"x": 1}], "b": [{"y": 2}]}', "2 lists of objects ('a', 'b'); keep the one"),
        (b'{"params": [1, 2], "loss": [1]}', "columns of different lengths ('params' 2, 'loss' 1)"),
        (b'{"columns": ["a", "b"], "data": [[1, 2], [1]]}', "row 2: 1 cells where the header has 2"),
        (b"[[1, 2]]", "row 1: [1, 2] is not a JSON object"),
        (b'{\n "params": 1,\n', "row 3: not JSON (Expecting property name"),
        (b"[" * 100_000, "nested too deeply"),
        (zipped(**{"params.npy": b""}), "not a table but a NumPy archive; load it"),
        (b"x" * 257 + b"ustar", "not a table but a tar archive"),
    ],
)  # fmt: skip
def test_documents_and_archives_that_hold_no_table(content, expected):
    assert expected in message(parsed, content)


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@pytest.mark.parametrize("extreme", [1e-300, 1e300, 5e-324, 5e307])
def test_extreme_losses_are_read_or_refused_in_one_line(extreme):
    one, every = RUNS.copy(), RUNS.assign(loss=RUNS["loss"] * extreme)
    one.loc[3, "loss"] = extreme
    for frame in (one, every):
        outcome(frame.to_csv(index=False).encode())


def test_a_study_refuses_standard_input_and_takes_a_folder(tmp_path, capsys):
    said = "a study reads its table again when it resumes; give a file"
    assert main(["study", "init", str(tmp_path / "s.toml"), "--data", "-"]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match="standard input, which a study cannot read again"):
        StudySpec(data="-")
    for place, run in enumerate(RUNS.to_dict("records")):
        (tmp_path / f"{place}.json").write_text(json.dumps(run))
    spec = StudySpec(data=str(tmp_path), drop_missing=True)
    assert load_study_data(spec, "as_given").runs.data_hash == HASH
