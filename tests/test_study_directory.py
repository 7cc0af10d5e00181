"""The directory of a study: its files, its owner, its heartbeat, its status and its messages."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax._util.directories import open_directory
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.part_files import checksum
from chinchilla_jax._util.system import host_name
from chinchilla_jax.cli import main
from chinchilla_jax.datasets import load_runs
from chinchilla_jax.report import run_study
from chinchilla_jax.solvers.counted import counted_rows
from chinchilla_jax.study import StudySpec, Sweep, open_study, study_status
from chinchilla_jax.study.estimate import estimate, fit_seconds
from chinchilla_jax.study.numerics import STUDIES, Numerics
from chinchilla_jax.study.spec.differences import differences
from chinchilla_jax.study.storage.heartbeat import heartbeat, is_running
from chinchilla_jax.study.storage.record import record_bytes
from chinchilla_jax.study.storage.tables import (
    COLUMNS,
    DictionaryColumn,
    fits_bytes,
    parse_table,
    to_table,
)

SPEC = StudySpec(
    sweeps=(
        Sweep(family="multiplicative", values=(-0.5, 2.0)),
        Sweep(family="log_normal_noise", values=(0.3,), repeats=2),
    ),
    resamples=12,
    flops=(1e20, 1e24),
)
QUIET = {"progress": None, "figures": False}


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*.parquet"))}


def record(path, **changes):
    file = path / "study.json"
    fields = json.loads(file.read_text()) | changes
    file.write_bytes(record_bytes(fields))
    return fields


def refused(action, *arguments, **options):
    with pytest.raises(UsageError) as caught:
        action(*arguments, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- the files ---------------------------------------------------------------------------------------------


def test_a_chunk_is_strings_and_numbers_to_any_reader(study):
    (file,) = (study.path / "fits").glob("part-00002-*")
    frame = pd.read_parquet(file)
    assert list(frame.columns) == list(COLUMNS["fits"])
    schema = pq.read_schema(file)
    for name, dtype in COLUMNS["fits"].items():
        assert schema.field(name).type == pa.type_for_alias(dtype), name
    assert set(frame["condition"]) == {"multiplicative=2.0"}
    assert frame["resample"].tolist() == list(range(12))
    assert set(frame["status"]) == {"CONVERGED"}
    found = pd.read_parquet(study.path / "fits", filters=[("condition", "==", "multiplicative=-0.5")])
    assert set(found["status"]) == {"INVALID"} and len(found) == 12


def test_chunks_in_the_older_encoding_are_opened_and_resumed(study, copy):
    """They were compressed, with plain strings. The checksum in the name is of the bytes."""
    for file in sorted((copy / "fits").iterdir())[:3]:
        table = parse_table("", file.read_bytes())
        stream = io.BytesIO()
        pq.write_table(table, stream, compression="zstd", use_dictionary=["condition", "status"])
        file.unlink()
        stem = file.name.rpartition("-")[0]
        (copy / "fits" / f"{stem}-{checksum(stream.getvalue())}.parquet").write_bytes(stream.getvalue())
    for file in (copy / "point.parquet", *sorted((copy / "fits").iterdir())[3:]):
        file.unlink()
    fields = record(copy, state="running")
    for name in ("parts", "checksums", "tables"):
        del fields[name]
    (copy / "study.json").write_bytes(record_bytes(fields))
    assert study_status(copy).chunks_done == 3
    again = run_study(SPEC, copy, **QUIET)
    pd.testing.assert_frame_equal(again.fits(), study.fits(), check_exact=True)
    for name in ("params", "tokens_per_param", "point", "conditions"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(study, name), check_exact=True)


def test_the_time_of_the_stages_is_in_the_record(study):
    timing = study.info["timing"]
    assert set(timing["cpu_seconds"]) == {"point", "bootstrap", "write", "summaries"}
    assert set(timing["thread_seconds"]) == {"point", "bootstrap", "write"}
    assert all(value > 0 for value in timing["cpu_seconds"].values())


def test_other_files_among_the_chunks_are_left_alone(copy):
    (copy / "fits" / "mine.parquet").write_bytes(b"something of the user's")
    (copy / "point.parquet").unlink()
    run_study(SPEC, copy, **QUIET)
    assert (copy / "fits" / "mine.parquet").read_bytes() == b"something of the user's"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_links_is_enough(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    directory = open_directory(tmp_path / "out")
    assert directory.create("a", b"first") and not directory.create("a", b"second")
    assert directory.read("a") == b"first"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a"]


def test_a_study_through_a_link_is_the_study(study, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "fits").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run_study(SPEC, tmp_path / "link", **QUIET)
    assert contents(tmp_path / "real") == contents(study.path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    assert "a link to nothing" in refused(run_study, SPEC, tmp_path / "nowhere", **QUIET)


def test_an_empty_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "the name is empty" in refused(run_study, SPEC, "", **QUIET)
    assert "the name is empty" in refused(open_study, "")
    assert not list(tmp_path.iterdir())


def test_from_another_folder_the_study_opens_and_the_table_is_missing(tmp_path, monkeypatch):
    """Paths are kept as written: relative ones start from where the command runs."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    table = study_runs().to_frame()[["params", "tokens", "loss"]]
    table.to_csv("mine.csv", index=False)
    spec = StudySpec(data="mine.csv", resamples=4, flops=(1e20,))
    out = tmp_path / "out"
    first = contents(run_study(spec, out, **QUIET).path)
    monkeypatch.chdir(tmp_path / "there")
    assert open_study(out).spec.data == "mine.csv"
    with pytest.raises(DataError, match=r"mine\.csv: no such file"):
        run_study(spec, out, **QUIET)
    table.assign(loss=table["loss"] * 1.001).to_csv("mine.csv", index=False)
    assert "content of the table" in refused(run_study, spec, out, **QUIET)
    assert contents(out) == first


def study_runs():
    from chinchilla_jax import load_runs

    return load_runs("chinchilla")


# --- ownership ---------------------------------------------------------------------------------------------


def test_a_study_of_a_version_with_other_digits_is_not_resumed(study, copy, monkeypatch):
    later = Numerics(STUDIES.newest + 1, {})
    monkeypatch.setattr("chinchilla_jax.study.storage.ownership.STUDIES", later)
    before = contents(copy)
    said = refused(run_study, SPEC, copy, **QUIET)
    assert "chinchilla_jax" in said and "new directory" in said
    assert contents(copy) == before
    assert study_status(copy).chunks_done == 5, "what is there can be looked at still"
    assert open_study(copy).fits().equals(study.fits())


def test_a_process_with_fewer_resamples_that_ends_meanwhile_does_no_harm(study, copy, monkeypatch):
    """It read the record before the study was extended, and writes the shorter one afterwards."""
    from chinchilla_jax.study import session

    more = StudySpec.from_dict(SPEC.to_dict() | {"resamples": 20})
    shorter = (copy / "study.json").read_bytes()
    write = session.Summariser.write

    def late(self):
        fields = write(self)
        (copy / "study.json").write_bytes(shorter)
        return fields

    monkeypatch.setattr(session.Summariser, "write", late)
    found = run_study(more, copy, **QUIET)
    assert found.info["n_fits"] == 100 and len(found.fits()) == 100
    assert open_study(copy).fits("identity").iloc[:12].equals(study.fits("identity"))


def specs_of(**changes):
    return SPEC.to_dict(), StudySpec.from_dict(SPEC.to_dict() | changes).to_dict()


def test_a_difference_is_named_by_its_first_entry():
    sweeps = SPEC.to_dict()["sweeps"]
    (said,) = differences(*specs_of(flops=[1e20, 1e22, 1e24]))
    assert said == "flops: 2 there, 3 asked for; number 2 is 1e+24 there, 1e+22 asked for"
    (said,) = differences(*specs_of(levels=[0.9]))
    assert said == "levels: number 1 is 0.8 there, 0.9 asked for"
    # Left out of a spec where it says nothing.
    old, new = SPEC.to_dict(), SPEC.to_dict() | {"columns": {"loss": "ce"}}
    assert differences(old, new) == ["columns: nothing there, {'loss': 'ce'} asked for"]
    assert differences(new, old) == ["columns: {'loss': 'ce'} there, nothing asked for"]
    assert differences(*specs_of(engine="xla")) == ["engine: 'auto' there, 'xla' asked for"]
    (said,) = differences(*specs_of(sweeps=sweeps[:1]))
    assert said == "sweep log_normal_noise: there, not asked for"
    (said,) = differences(*specs_of(sweeps=sweeps[::-1]))
    assert said.startswith("order of the sweeps: multiplicative, log_normal_noise there")
    (said,) = differences(*specs_of(sweeps=[sweeps[0], sweeps[1] | {"repeats": 3}]))
    assert said == "sweep log_normal_noise, repeats: 2 there, 3 asked for"
    longer = [sweeps[0] | {"values": [-0.5, 2.0, 3.0]}, sweeps[1]]
    (said,) = differences(*specs_of(sweeps=longer))
    assert "values: 2 there, 3 asked for; number 3 is nothing there, 3.0 asked for" in said
    product = {"product": [sweeps[0], {"family": "additive", "values": [1e6], "repeats": 1}]}
    other = {"product": [sweeps[0], {"family": "additive", "values": [2e6], "repeats": 1}]}
    old, new = (StudySpec.from_dict({"sweeps": [one]}).to_dict() for one in (product, other))
    (said,) = differences(old, new)
    assert said.startswith("sweep multiplicative|additive, additive, values: number 1 is 1000000.0")


VALUES = st.lists(st.floats(0.1, 9.0), min_size=1, max_size=4, unique=True)


@settings(max_examples=30)
@given(VALUES, VALUES, st.integers(0, 3), st.integers(0, 3))
def test_there_is_a_difference_if_and_only_if_specs_differ(first, second, seed, other):
    old, new = (
        StudySpec(sweeps=(Sweep(family="multiplicative", values=tuple(values)),), seed=number).to_dict()
        for values, number in ((first, seed), (second, other))
    )
    found = differences(old, new)
    assert bool(found) == (old != new)
    assert sum(map(len, found)) < 400 and all(text.isprintable() for text in found)


# --- heartbeat ---------------------------------------------------------------------------------------------


def test_a_study_is_running_within_the_block_and_not_after(tmp_path):
    directory = open_directory(tmp_path)
    assert is_running(directory) is False
    with heartbeat(directory):
        assert is_running(directory) is True
        with heartbeat(directory):
            pass
        assert is_running(directory) is True, "the other one is still there"
    assert is_running(directory) is False
    assert not list(tmp_path.iterdir())
    assert is_running(open_directory("memory://un/known")) is None


def test_a_process_on_another_machine_is_running_while_it_beats(tmp_path):
    file = tmp_path / ".at-work.another-machine.1.0"
    file.touch()
    assert is_running(open_directory(tmp_path)) is True
    os.utime(file, (0, time.time() - 3600))
    assert is_running(open_directory(tmp_path)) is False
    with heartbeat(open_directory(tmp_path)):
        assert file.exists(), "not this machine's to tidy up"


def test_a_killed_study_is_stopped_and_says_how_to_resume(study, tmp_path, capsys):
    out = tmp_path / "o u t"
    code = (
        "import itertools, sys, time\n"
        "from chinchilla_jax.study import finished\n"
        "from test_study_directory import SPEC, QUIET, run_study\n"
        "fast, calls = finished.run_job, itertools.count()\n"
        "def slow(job, *rest):\n"
        "    time.sleep(0 if next(calls) < 2 else 60)\n"
        "    return fast(job, *rest)\n"
        "finished.run_job = slow\n"
        "run_study(SPEC, sys.argv[1], workers=1, **QUIET)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=os.path.dirname(__file__))
    while len(list(out.glob("fits/part-*"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    assert study_status(out).state == "running"
    assert main(["study", "status", str(out)]) == 0
    assert ": running\n" in capsys.readouterr().out
    process.send_signal(signal.SIGKILL)
    process.wait()
    status = study_status(out)
    assert (status.state, status.chunks_done, status.spec) == ("stopped", 2, SPEC)
    assert main(["study", "status", str(out)]) == 0
    said = capsys.readouterr().out
    assert ": stopped (no process is working on it)\n" in said
    assert f"study SPEC.toml --out '{out}' --resamples 12 --seed 0\n" in said
    assert "left" not in said
    assert "is not complete; see `chinchilla-jax study status`" in refused(open_study, out)
    assert list(out.glob(f".at-work.{host_name()}.{process.pid}.*"))
    run_study(SPEC, out, **QUIET)
    assert contents(out) == contents(study.path)
    assert not list(out.glob(".at-work.*"))


def test_a_study_whose_tables_are_missing_names_the_command_that_writes_them(copy, capsys):
    record(copy, state="running")
    assert main(["study", "status", str(copy)]) == 0
    assert f"chinchilla-jax study finish {copy}\n" in capsys.readouterr().out
    with heartbeat(open_directory(copy)):
        assert main(["study", "status", str(copy)]) == 0
    said = capsys.readouterr().out
    assert "tables, figures and page are being written" in said and "left" not in said


def test_without_a_heartbeat_a_long_silence_means_stopped(study):
    directory = open_directory(f"memory://silence/{time.time()}")
    fields = study.info | {"state": "running", "started": "2020-01-01T00:00:00+00:00"}
    directory.write("study.json", record_bytes(fields))
    assert study_status(directory.location).state == "stopped"
    now = pd.Timestamp.now("UTC").isoformat()
    directory.write("study.json", record_bytes(fields | {"started": now}))
    assert study_status(directory.location).state == "running"


# --- the command line --------------------------------------------------------------------------------------


def test_check_names_the_data_and_what_cannot_be_fitted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(
        "resamples = 3\n[[sweeps]]\nfamily = 'multiplicative'\nvalues = [-2.0, 1.0]\n"
        "[[sweeps]]\nfamily = 'additive'\nvalues = [-1e9, -4e7]\n"
    )
    assert main(["study", "check", "a.toml", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "chinchilla (embedded), 240 runs; the default, because a.toml names no data" in said
    assert "every fit will be INVALID" in said
    assert said.rstrip().endswith("under multiplicative=-2.0 and additive=-1000000000.0")
    assert "for 1 worker at" in said and " kB\n" in said
    (tmp_path / "b.toml").write_text("data = 'chinchilla'\nresamples = 3\n")
    assert main(["study", "check", "b.toml"]) == 0
    said = capsys.readouterr().out
    assert "in 1 chunk\n" in said and "default" not in said and "INVALID" not in said


def test_the_conditions_announced_as_invalid_are_invalid(study):
    fits = study.fits()
    bad = fits.groupby("condition", sort=False)["status"].agg(lambda column: (column == "INVALID").all())
    assert estimate(SPEC).invalid == tuple(bad.index[bad]) == ("multiplicative=-0.5",)


def test_fewer_runs_are_not_forecast_to_be_fitted_faster():
    """Resamples of few runs take more starts and steps; a table of more runs takes longer."""
    rates = {name: estimate(StudySpec(data=name)).rate for name in ("olmo_ladder", "gemstones", "chinchilla")}
    assert rates["olmo_ladder"] == rates["gemstones"] <= 1.05 * rates["chinchilla"]
    assert fit_seconds(SPEC, 480, 1) == 2 * fit_seconds(SPEC, 240, 1) == 2 * fit_seconds(SPEC, 24, 1)


def test_a_run_begins_with_what_it_fits_and_ends_with_what_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(
        "resamples = 12\nflops = [1e20, 1e24]\n"
        "[[sweeps]]\nfamily = 'multiplicative'\nvalues = [-0.5, 2.0]\n"
        "[[sweeps]]\nfamily = 'log_normal_noise'\nvalues = [3.0]\nrepeats = 2\n"
    )
    assert main(["study", "a.toml", "--out", "out", "--no-figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "a.toml: 5 conditions of chinchilla, 60 fits; the default, because a.toml names no data"
    )
    (line,) = [line for line in lines if "are not certified" in line]
    statuses = open_study("out").fits().merge(open_study("out").conditions, on="condition")
    failed = statuses[~counted_rows(statuses["status"])].groupby("family").size()
    assert failed["multiplicative"] == 12
    for family, count in failed.items():
        assert f"{count} under {family}" in line
    assert line.startswith(f"note: {failed.sum()} fits ({100 * failed.sum() / 60:.2g}%)")


def test_no_failures_get_no_line(tmp_path, capsys):
    (tmp_path / "a.toml").write_text("data = 'chinchilla'\nresamples = 5\nflops = [1e20]\n")
    assert main(["study", str(tmp_path / "a.toml"), "--out", str(tmp_path / "out"), "--no-figures"]) == 0
    assert "certified" not in capsys.readouterr().out


def test_a_missing_table_is_the_cause_and_not_its_interpretation(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('resamples = 4\ndata = "chinchila"\ninterpretations = ["standard"]\n')
    said = refused(StudySpec.from_toml, path)
    assert (
        "line 2: data 'chinchila' is neither an embedded table nor a file; did you mean 'chinchilla'?" in said
    )
    study_runs().to_frame().to_csv(tmp_path / "mine.csv")
    said = refused(StudySpec, data=str(tmp_path / "mine.csv"), interpretations=["standard"])
    assert "unknown interpretation 'standard'" in said and "as_given" in said


def test_commands_show_nothing_of_xlas_log_unless_told_otherwise(monkeypatch, capsys):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert main(["datasets"]) == 0 and os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    assert main(["datasets"]) == 0 and os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"


def test_linear_algebra_keeps_to_one_thread_unless_told_otherwise(monkeypatch):
    from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    keep_blas_to_one_thread()
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("7", "1")
    monkeypatch.delenv("MKL_NUM_THREADS")
    code = (
        "import sys\n"
        "from chinchilla_jax._util import blas_threads\nfrom chinchilla_jax.cli import main\n"
        "real = blas_threads.keep_blas_to_one_thread\n"
        "blas_threads.keep_blas_to_one_thread = lambda: (print('numpy' in sys.modules), real())\n"
        "main(['study', 'nosuch.toml', '--out', 'x'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", "before NumPy reads it"


def test_arrow_takes_memory_from_the_system_unless_told_otherwise(monkeypatch):
    for asked, found in ((None, "system"), ("default", "default")):
        monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
        if asked:
            monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", asked)
        assert main(["datasets"]) == 0 and os.environ["ARROW_DEFAULT_MEMORY_POOL"] == found
    code = (
        "from chinchilla_jax.cli import main\n"
        "main(['study', 'nosuch.toml', '--out', 'x'])\n"
        "import pyarrow\n"
        "print(pyarrow.default_memory_pool().backend_name)\n"
    )
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "system\n"


def test_dictionary_columns_are_read_back_as_strings():
    numbers = np.linspace(0.1, 1.0, 4)
    columns = {name: numbers for name in COLUMNS["fits"]} | {
        "resample": np.arange(4),
        "steps": np.array([5, 5, 6, 0]),
        "condition": DictionaryColumn(np.zeros(4, np.int8), ["identity"]),
        "status": DictionaryColumn(np.array([0, 2, 0, 1], np.int8), ["A", "B", "C"]),
    }
    content = fits_bytes(to_table("fits", columns), {b"key": b"value"})
    assert content == fits_bytes(to_table("fits", columns), {b"key": b"value"})
    table = parse_table("here", content)
    assert table["status"].to_pylist() == ["A", "C", "A", "B"]
    assert table["alpha"].to_pylist() == numbers.tolist() and table["steps"].to_pylist() == [5, 5, 6, 0]
    assert table.schema.metadata[b"key"] == b"value"


def test_a_table_elsewhere_is_read_once_and_named_without_its_folders(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    source, table = load_runs("chinchilla"), folder / "mine.csv"
    frame = pd.DataFrame({name: getattr(source, name) for name in ("params", "tokens", "loss")})
    frame.to_csv(table, index=False)
    (tmp_path / "a.toml").write_text(f"data = '{table}'\nresamples = 5\nflops = [1e20]\n")
    read = []
    monkeypatch.setattr(
        "chinchilla_jax.study.spec.data.load_runs", lambda *a, **k: read.append(a) or load_runs(*a, **k)
    )
    assert main(["study", str(tmp_path / "a.toml"), "--out", str(tmp_path / "out"), "--no-figures"]) == 0
    assert "of " + str(table) in capsys.readouterr().out.splitlines()[0]
    by_command = len(read)
    run_study(StudySpec.from_toml(tmp_path / "a.toml"), tmp_path / "other", **QUIET)
    assert by_command == len(read) - by_command  # none for the line that it begins with
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Scaling law of mine.csv" in text and "runs of mine.csv" in text
