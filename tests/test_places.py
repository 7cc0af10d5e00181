"""One contract of the command line and the store, over every kind of place: local, memory, an object store.

The object store is a server on loopback; for the faults a proxy is between.
"""

import io
import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty_proxy import Fault

from chinchilla_jax import load_runs, open_study, write_report
from chinchilla_jax._util import progress_bar, remote
from chinchilla_jax._util.directories import open_directory
from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.remote import VARIABLE
from chinchilla_jax._util.remote_directory import ServerError
from chinchilla_jax.cli import main

pytest.importorskip("fsspec")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

SPEC = """
data = "chinchilla"
interpretations = ["reported"]
resamples = 6
flops = [1e20, 1e22]
sweeps = [{ family = "multiplicative", values = [2.0, 3.0] }]
"""
TABLES = ("conditions.parquet", "point.parquet", "summary/params.parquet", "summary/tokens_per_param.parquet")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(SPEC)
    return str(path)


@pytest.fixture(scope="module")
def expected(spec, tmp_path_factory):
    """The tables of the study, computed into a folder of this machine."""
    out = tmp_path_factory.mktemp("expected") / "study"
    assert main(["study", spec, "--out", str(out), "--no-figures", "--quiet"]) == 0
    return tables(str(out))


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "study")
    root = "memory:/" if request.param == "memory" else request.getfixturevalue("s3")
    return f"{root}/{uuid.uuid4().hex}/study"


MANY = (0.0,) * 8
"""Attempts where the limit is about a second, which a busy machine may take for any answer."""


@pytest.fixture
def quick(monkeypatch):
    """No rests between attempts, and little patience."""
    monkeypatch.setattr(remote, "_FIRST_PAUSES", (0.0,))
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def tables(place):
    directory = open_directory(place)
    names = [*TABLES, *(f"fits/{name}" for name in directory.list_files("fits"))]
    return {name: directory.read(name) for name in names}


def said(capsys, code, *arguments):
    """The output of a command that ends with `code`, or the line of its error."""
    assert main(list(arguments)) == code, capsys.readouterr().err
    printed = capsys.readouterr()
    if code:
        assert printed.err.startswith("chinchilla-jax: error: ") and printed.err.count("\n") == 1
        assert "CHINCHILLA_JAX_DEBUG" not in printed.err, "the form of an internal error"
    return printed.err if code else printed.out


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_once")
def test_every_command_in_every_place(spec, expected, place, tmp_path, capsys):
    page = f"{place}/report.html"
    assert f"page: {page}\n" in said(capsys, 0, "study", spec, "--out", place, "--no-figures")
    assert f"{place}: complete\n" in said(capsys, 0, "study", "status", place)
    assert "nothing computed" in said(capsys, 0, "study", "finish", place, "--no-figures")
    assert tables(place) == expected
    assert f"{place}, condition identity@reported" in said(
        capsys, 0, "plan", "--study", place, "--flops", "1e21"
    )
    assert said(capsys, 0, "flops", "--figures", f"{place}/flops")
    assert open_directory(place).list_files("flops")
    directory = open_directory(place)
    directory.remove("report.html")
    assert f"{page}: " in said(capsys, 0, "report", place)
    assert b"<html" in directory.read("report.html") and directory.list_files("figures")
    for other in (str(tmp_path / "page.html"), place.replace("/study", "/other.html")):
        assert f"{other}: " in said(capsys, 0, "report", place, "--out", other)
    assert str(write_report(open_study(place))) == page
    assert "not a study directory" in said(capsys, 2, "study", "status", f"{place}/fits")


def test_tables_and_specs_from_every_place(place, spec, capsys):
    """A place, that is, the last part of which is a file."""
    folder, _, name = place.rpartition("/")
    stream = io.BytesIO()
    load_runs("chinchilla").to_frame()[["params", "tokens", "loss"]].to_csv(stream)
    open_directory(folder).write(name, stream.getvalue())
    assert len(load_runs(place)) == 240
    assert f"{name}-none: no such file" in said(capsys, 2, "fit", f"{place}-none")
    open_directory(folder).write("spec.toml", Path(spec).read_bytes())
    assert said(capsys, 0, "study", "check", f"{folder}/spec.toml") == said(capsys, 0, "study", "check", spec)
    assert "/none.toml: No such file or directory; give" in said(
        capsys, 2, "study", "check", f"{folder}/none.toml"
    )


# Kinds of faults, each with the request that meets it once.
FAULTS = {
    "cut": (
        ("cut", b"GET /studies/{}/fits/part"),
        ("cut request", b"PUT /studies/{}/fits/part"),
        ("cut request", b"PUT /studies/{}/summary/params.parquet"),
    ),
    "changed": (
        ("corrupt", b"GET /studies/{}/fits/part"),
        ("corrupt request", b"PUT /studies/{}/fits/part"),
        ("corrupt request", b"PUT /studies/{}/point.parquet"),
        ("corrupt", b"GET /studies/{}/summary/params.parquet"),
        ("corrupt request", b"PUT /studies/{}/study.json"),
        ("corrupt", b"GET /studies/{}/study.json"),
    ),
    "silent": (
        ("silent", b"GET /studies/{}/fits/part"),
        ("silent", b"PUT /studies/{}/summary/params.parquet"),
        ("lost answer", b"PUT /studies/{}/study.json"),
        ("delay", b"PUT /studies/{}/fits/part"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_faults_on_the_way_change_nothing(spec, expected, faulty_s3, quick, kind, monkeypatch):
    root, proxy = faulty_s3
    folder = uuid.uuid4().hex
    monkeypatch.setattr(remote, "_FIRST_PAUSES", MANY)
    monkeypatch.setattr(remote, "_PAUSES", MANY)
    monkeypatch.setenv(VARIABLE, "1" if kind == "silent" else "20")
    faults = [
        Fault(name, on=request.replace(b"{}", folder.encode()), times=1, seconds=0.2)
        for name, request in FAULTS[kind]
    ]
    with proxy.inflicting(*faults):
        assert main(["study", spec, "--out", f"{root}/{folder}", "--no-figures", "--quiet"]) == 0
    assert [fault.done for fault in faults] == [1] * len(faults)
    monkeypatch.setenv(VARIABLE, "20")
    assert tables(f"{root}/{folder}") == expected
    assert main(["study", "status", f"{root}/{folder}", "--quiet"]) == 0


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle(spec, expected, faulty_s3, quick, monkeypatch, capsys):
    """One line, what was written is kept, and the same command resumes."""
    root, proxy = faulty_s3
    place = f"{root}/{uuid.uuid4().hex}"
    request = place.replace("s3:/", "PUT ") + "/summary/"
    with proxy.inflicting(Fault("cut request", on=request.encode())):
        line = said(capsys, 1, "study", spec, "--out", place, "--no-figures")
    assert f"{place}: the " in line and "while writing summary/" in line
    assert "everything written so far is kept" in line
    before = open_directory(place).list_files("fits")
    assert len(before) == 3
    assert f"{place}: complete\n" in said(capsys, 0, "study", spec, "--out", place, "--no-figures")
    assert open_directory(place).list_files("fits") == before
    assert tables(place) == expected


COMMANDS = (
    ("study", "SPEC", "--out", "PLACE"),
    ("study", "status", "PLACE"),
    ("study", "finish", "PLACE"),
    ("report", "PLACE"),
    ("plan", "--study", "PLACE", "--flops", "1e21"),
    ("fit", "PLACE"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "sentence", "code"),
    [
        ("credentials", "Unable to locate credentials", 2),
        ("refused", "nothing accepts connections there (Could not connect to the endpoint URL", 1),
        ("silent", "the server does not answer (no answer for 0.1 s", 1),
        ("bucket", "", 2),
        ("scheme", "Protocol not known: nosuch", 2),
    ],
    ids=lambda value: value if str(value).isalpha() else "",
)
def test_trouble_is_one_line(spec, faulty_s3, quick, monkeypatch, capsys, trouble, sentence, code):
    root, proxy = faulty_s3
    monkeypatch.setenv(VARIABLE, "0.1" if trouble == "silent" else "20")
    place = f"{root}/{uuid.uuid4().hex}"
    if trouble == "credentials":
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
    elif trouble == "refused":
        proxy.close()
    elif trouble == "bucket":
        place = "s3://no-such-bucket-here/study"
    elif trouble == "scheme":
        place = "nosuch://here/study"
    with proxy.inflicting(*([Fault("silent")] if trouble == "silent" else [])):
        for command in COMMANDS:
            words = [{"SPEC": spec, "PLACE": place}.get(word, word) for word in command]
            # Whatever keeps a table from being read is bad input.
            line = said(capsys, 2 if command[0] == "fit" else code, *words)
            assert place in line and sentence in line


@pytest.mark.slow
def test_a_store_that_cannot_be_asked_is_no_empty_one(faulty_s3, quick, monkeypatch):
    """A look for study.json that failed must not begin a study over one that is there."""
    root, proxy = faulty_s3
    directory = open_directory(f"{root}/{uuid.uuid4().hex}")
    directory.write("study.json", b"here")
    monkeypatch.setenv(VARIABLE, "0.1")
    with proxy.inflicting(Fault("silent")):
        for ask in (directory.exists, directory.list_files):
            with pytest.raises(ServerError, match="no answer for 0"):
                ask("study.json")
        with pytest.raises(ServerError, match="everything written so far is kept"):
            directory.write("other", b"")
    monkeypatch.setenv(VARIABLE, "20")
    assert directory.exists("study.json") and not directory.exists("other")


@pytest.mark.slow
def test_a_wait_says_what_it_is_for(faulty_s3, quick, monkeypatch, capsys):
    root, proxy = faulty_s3
    monkeypatch.setattr(progress_bar, "_logged", True)
    monkeypatch.setattr(remote, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(remote, "_FIRST_PAUSES", MANY)
    monkeypatch.setenv(VARIABLE, "1.5")
    directory = open_directory(f"{root}/wait")
    with proxy.inflicting(Fault("silent", times=1)):
        assert not directory.exists("point.parquet")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        f"{root}/wait: waiting for an answer while looking for point.parquet, for up to 1.5 s",
        f"{root}/wait: no answer for 1.5 s while looking for point.parquet; attempt 2 of 9 follows in 0 s",
    ]


def test_the_limit_is_a_number_of_seconds(monkeypatch):
    for text in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(UsageError, match=f"{VARIABLE}='{text}': give seconds, such as 20"):
            open_directory("memory://limit").exists("a")


@pytest.mark.slow
def test_of_many_that_create_a_file_one_succeeds(s3):
    directory = open_directory(f"{s3}/{uuid.uuid4().hex}")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: directory.create("a", b"%d" % number), range(8)))
    assert made.count(True) == 1
    assert directory.read("a") == b"%d" % made.index(True)


def test_passwords_are_not_shown():
    with pytest.raises(ChinchillaError) as caught:
        open_directory("ftp://me:secret@127.0.0.1:9/study?token=secret").exists("a")
    assert "ftp://127.0.0.1:9/study" in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["slow server", "silent server"])
def test_ctrl_c_asks_a_server_for_little(faulty_s3, tmp_path, silent):
    """Each answer may take long: after Ctrl-C there are few more requests, however many chunks there are.

    What is being written when it comes, and what comes before the signal does, is up to 25 requests.
    """
    root, proxy = faulty_s3
    place = f"{root}/{uuid.uuid4().hex}"
    (tmp_path / "spec.toml").write_text(
        SPEC.replace("[2.0, 3.0]", "[{ linspace = [1.0, 3.0, 300] }]").replace("= 6", "= 50")
    )
    command = [sys.executable, "-m", "chinchilla_jax", "study", "spec.toml", "--out", place, "--no-figures"]
    slow = Fault("delay", seconds=0.01)
    with proxy.inflicting(slow):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        while len(open_directory(place).list_files("fits")) < 100:
            assert process.poll() is None
            time.sleep(0.1)
        before = slow.done
        if not silent:
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    if silent:
        with proxy.inflicting(Fault("silent")):
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "rerun the same command to resume" in said
    assert slow.done - before < 50
