"""The second process: same results as here, whatever fails there is done here, and it ends with this one."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from operator import truediv

import pytest

from chinchilla_jax._util.side_process import SideProcess, SideProcessError, taken

END_SECONDS = 20.0


@pytest.fixture(scope="module")
def side():
    with SideProcess() as process:
        yield process


def test_a_call_returns_what_it_returns_here_and_another_process_runs_it(side):
    side.prepare("json", "no.such.module")
    assert side.submit(truediv, 1.0, 3.0).result() == 1.0 / 3.0
    assert side.submit(os.getpid).result() != os.getpid()
    assert side.submit(sorted, [3, 1, 2], reverse=True).result() == [3, 2, 1]
    assert side.submit(bytes, 3_000_000).result() == bytes(3_000_000)
    assert taken(None) is None


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (int, ["x"]),  # raises
        (sys.exit, [0]),  # raises what is no Exception
        (warnings.warn, ["nobody would see it"]),
        (lambda x: x, [1]),  # cannot be pickled
        (open, [os.devnull]),  # nor can what it returns
    ],
)
def test_what_fails_or_warns_there_is_to_be_done_here(side, function, arguments):
    future = side.submit(function, *arguments)
    assert isinstance(future.exception(), SideProcessError)
    assert taken(future) is None
    assert side.submit(abs, -1).result() == 1


def test_what_is_printed_there_is_no_answer(side):
    assert side.submit(print, "noise", flush=True).result() is None
    assert side.submit(abs, -1).result() == 1


def test_a_call_whose_turn_has_not_come_is_done_here_only():
    with SideProcess() as side:
        side.submit(time.sleep, 60.0)
        waits = side.submit(abs, -1)
        assert taken(waits) is None and waits.cancelled()


def test_a_process_that_ended_or_did_not_start_fails_every_call(monkeypatch):
    with SideProcess() as side:
        for _ in range(2):
            assert isinstance(side.submit(os._exit, 3).exception(), SideProcessError)
    for executable in ("/no/such/python", "/usr/bin/game", "", None):
        monkeypatch.setattr(sys, "executable", executable)
        with SideProcess() as side:
            assert isinstance(side.submit(abs, -1).exception(), SideProcessError)


def test_nothing_is_left_after_an_interrupt():
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), SideProcess() as side:
        pid = side.submit(os.getpid).result()
        side.submit(time.sleep, 60.0)
        raise KeyboardInterrupt
    if os.name == "posix":
        with pytest.raises(ProcessLookupError):  # neither running nor a zombie
            os.kill(pid, 0)
    assert threading.active_count() == before


SCRIPT = """
import os, time
from chinchilla_jax._util.side_process import SideProcess
with SideProcess() as side:  # in a main module without a guard
    print(side.submit(os.getpid).result(), flush=True)
    side.submit(time.sleep, 600.0)
    time.sleep(600.0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it(tmp_path, sent):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join(filter(None, sys.path))
    started = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )  # fmt: skip
    pid = int(started.stdout.readline())
    os.killpg(started.pid, sent)  # as a terminal does
    errors = started.communicate(timeout=END_SECONDS)[1]
    assert errors.count("Traceback") == (sent == signal.SIGINT)
    end = time.monotonic() + END_SECONDS
    while _runs(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"  # init takes its time
    except FileNotFoundError:
        return False
