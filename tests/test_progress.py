"""Rate and time left on a terminal, silence elsewhere."""

import io
import itertools
import sys
import threading
import types

import pytest

from chinchilla_jax._util import progress_bar as progress
from chinchilla_jax._util import reporting as reporting_module
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import (
    LineProgress,
    Progress,
    RichProgress,
    resolve,
    silenced,
)
from chinchilla_jax._util.reporting import reporting, started


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


class Cell:
    """A stand-in for IPython in a kernel: what its display shows."""

    kernel = object()

    def __init__(self):
        self.shown = []

    def install(self, monkeypatch):
        module, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
        module.get_ipython = lambda: self
        display.HTML = str
        display.display = self.display
        monkeypatch.setitem(sys.modules, "IPython", module)
        monkeypatch.setitem(sys.modules, "IPython.display", display)
        return self

    def display(self, text, display_id):
        assert display_id
        self.update(text)
        return self

    def update(self, text):
        self.shown.append(text)


def test_a_notebook_has_a_bar_that_goes_when_the_work_is_done(monkeypatch):
    cell = Cell().install(monkeypatch)
    with resolve("auto") as reporter:
        reporter.begin("fit <b>", 200)
        reporter.advance(50)
    assert cell.shown[0].startswith(
        '<div>fit &lt;b&gt; <progress value="0" max="200"></progress>   0% 0 of 200'
    )
    assert cell.shown[-1] == ""
    with silenced(), resolve("auto") as reporter:
        reporter.begin("fit", 2)
    assert cell.shown[-1] == ""


@reporting
def counting(total, progress="auto"):
    advance = started(progress, "counting", total)
    for _ in range(total):
        advance and advance(1)


def test_work_of_less_than_a_second_shows_nothing_and_longer_work_all_of_it(monkeypatch):
    cell = Cell().install(monkeypatch)
    counting(3)
    assert cell.shown == []
    clock = itertools.count()
    monkeypatch.setattr(reporting_module.time, "monotonic", lambda: float(next(clock)))
    counting(3)
    assert "2 of 3" in cell.shown[1] or "3 of 3" in cell.shown[-2]
    assert cell.shown[-1] == ""


def test_a_function_is_called_and_none_is_silent(monkeypatch):
    cell, seen = Cell().install(monkeypatch), []
    counting(3, progress=seen.append)
    counting(3, progress=None)
    assert seen == [1, 1, 1] and cell.shown == []
    with pytest.raises(UsageError, match="progress is 'on'; give 'auto', None or a function"):
        counting(3, progress="on")
