"""Rate and time left on a terminal, silence elsewhere."""

import io
import sys
import threading

import pytest

from chinchilla_jax._util import progress_bar as progress
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import (
    LineProgress,
    Progress,
    RichProgress,
    resolve,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_none_is_silent_and_a_progress_is_itself(capsys):
    reporter = resolve(None)
    with reporter:
        reporter.begin("study", 10)
        reporter.advance(10)
        reporter.note("done")
    assert capsys.readouterr() == ("", "")
    assert resolve(reporter) is reporter


def test_auto_is_silent_where_stderr_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(resolve("auto")) is Progress
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    assert type(resolve("auto")) is Progress


def test_auto_uses_rich_on_a_terminal_and_a_line_without_it(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(resolve("auto"), RichProgress)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(resolve("auto"), LineProgress)


@pytest.mark.parametrize("value", ["on", True, 3])
def test_anything_else_is_refused(value):
    with pytest.raises(UsageError, match="None, 'auto' or a Progress"):
        resolve(value)


def test_the_bar_shows_rate_and_what_is_done(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with resolve("auto") as reporter:
        reporter.begin("study", 100)
        reporter.advance(100)
        reporter.note("out/[x]: complete")
        reporter.begin("figures", 3, "figures")
    assert "100%" in screen.getvalue() and "fits/s" in screen.getvalue()
    assert "out/[x]: complete" in screen.getvalue(), "no markup in notes"


def test_the_line_counts_right_from_many_threads(monkeypatch):
    monkeypatch.setattr(progress, "_REDRAW_SECONDS", 0.0)
    screen = Terminal()
    with LineProgress(screen) as reporter:
        reporter.begin("study", 4000)
        threads = [
            threading.Thread(target=lambda: [reporter.advance(1) for _ in range(500)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reporter.note("a note")
    last = screen.getvalue().rstrip("\n").split("\r")[-1]
    assert "100% 4,000 of 4,000 fits" in last and "0:00 left" in last
    assert screen.getvalue().endswith("\n")
    length = len(screen.getvalue())
    reporter.close()
    assert len(screen.getvalue()) == length, "closing twice does nothing"


def test_what_takes_long_is_announced_on_terminals_and_in_logs_that_ask(monkeypatch):
    screen, log = Terminal(), io.StringIO()
    monkeypatch.setattr(progress, "_logged", False)
    monkeypatch.setattr(sys, "stderr", log)
    progress.announce("compiling")
    assert log.getvalue() == "", "a program that imports the library prints what it wants"
    progress.announce_in_logs()
    with progress.silenced():
        thread = threading.Thread(target=progress.announce, args=["quiet, in every thread"])
        thread.start()
        thread.join()
    progress.announce("compiling")
    monkeypatch.setattr(sys, "stderr", screen)
    progress.announce("still compiling")
    assert (log.getvalue(), screen.getvalue()) == ("compiling\n", "still compiling\n")
