"""Progress of long work: a rate and the time left on a terminal or in a notebook, nothing elsewhere.

Long-running functions take `progress` (None, "auto" or a `Progress`), call `resolve` once and report to the
result, which decides whether anything is shown.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from types import TracebackType
from typing import Any, Self, TextIO

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import speed_text, time_left_text, visible

# Redrawing more often than this is wasted work.
_REDRAW_SECONDS = 0.2
_silent: contextvars.ContextVar[bool] = contextvars.ContextVar("chinchilla_jax_silent", default=False)
# Not context variables: the work announced may run in a thread, which has a context of its own.
_hushed = _logged = False


@contextlib.contextmanager
def silenced(silent: bool = True) -> Iterator[None]:
    """Inside the block, if `silent`, "auto" shows nothing and `announce` prints nothing."""
    global _hushed
    token, before = _silent.set(silent), _hushed
    _hushed = silent
    try:
        yield
    finally:
        _silent.reset(token)
        _hushed = before


def announce_in_logs() -> None:
    """For the rest of this process, let `announce` print even if stderr is not a terminal."""
    global _logged
    _logged = True


def announce(text: str) -> None:
    """Print to stderr why the user has to wait, from any thread; by default on a terminal only."""
    if not _hushed and sys.stderr and (_logged or sys.stderr.isatty()):
        print(visible(text), file=sys.stderr, flush=True)


class Progress:
    """Shows nothing; the base of those that do. Use it as a context manager, or close it.

    `advance` may be called from several threads. `begin` starts a new task and ends the one before it.
    """

    def read(self, n_runs: int) -> None:
        """Hear how many runs the tasks of a study are about, before the first of them."""

    def begin(self, label: str, total: int, unit: str = "fits", *, ago: float = 0.0) -> None:
        """Start a task of about `total` units of work, on which `ago` seconds were spent already."""

    def advance(self, done: int) -> None:
        """Add `done` finished units."""

    def note(self, text: str) -> None:
        """Print a line above the bar."""

    def close(self) -> None:
        """End the task; further calls do nothing."""

    def __enter__(self) -> Self:
        """This object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class LineProgress(Progress):
    """One line, redrawn in place, for a terminal where rich is not installed.

    Args:
        stream: where to write; a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        """Remember the stream; nothing is written before `begin`."""
        self._stream = stream
        self._lock = threading.Lock()
        self._label = ""
        self._unit = ""
        self._total = self._done = 0
        self._started = self._drawn = 0.0
        self._open = False

    def begin(self, label: str, total: int, unit: str = "fits", *, ago: float = 0.0) -> None:
        """Start a task."""
        with self._lock:
            self._finish_line()
            self._label, self._total, self._unit, self._done = label, total, unit, 0
            self._started = time.monotonic() - ago
            self._open = True
            self._draw()

    def advance(self, done: int) -> None:
        """Add finished units; redraws at most five times a second."""
        with self._lock:
            self._done += done
            if self._open and time.monotonic() - self._drawn > _REDRAW_SECONDS:
                self._draw()

    def note(self, text: str) -> None:
        """Print a line; the bar continues below it."""
        with self._lock:
            self._stream.write(f"\r\x1b[K{text}\n" if self._open else f"{text}\n")
            if self._open:
                self._draw()
            self._stream.flush()

    def close(self) -> None:
        """Draw the last state and leave the line."""
        with self._lock:
            self._finish_line()

    def _finish_line(self) -> None:
        if self._open:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _draw(self) -> None:
        self._stream.write(f"\r\x1b[K{self._label}: {self._state()}")
        self._stream.flush()
        self._drawn = time.monotonic()

    def _state(self) -> str:
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        total = max(self._total, self._done)  # which was announced as about so many
        share = 100.0 * self._done / max(total, 1)
        state = f"{share:3.0f}% {self._done:,} of {total:,} {self._unit}"
        return f"{state}, {speed_text(rate, self._unit)}, {time_left_text(total - self._done, rate)}"


class NotebookProgress(LineProgress):
    """A bar below a notebook's cell, which goes when the work is done.

    Made of HTML and IPython's own updates of it: rich and tqdm draw there only where ipywidgets is installed.
    """

    def __init__(self) -> None:
        """Nothing is shown before `begin`."""
        super().__init__(sys.stderr)
        self._handle: Any = None

    def note(self, text: str) -> None:
        """Print a line below the cell; stderr would be red there."""
        print(visible(text), flush=True)

    def _finish_line(self) -> None:
        if self._open:
            self._show("")
            self._open, self._handle = False, None

    def _draw(self) -> None:
        from html import escape  # no other progress needs it

        bar = f'<progress value="{self._done}" max="{max(self._total, self._done, 1)}"></progress>'
        self._show(f"<div>{escape(self._label)} {bar} {escape(self._state())}</div>")
        self._drawn = time.monotonic()

    def _show(self, text: str) -> None:
        shown: Any = import_module("IPython.display")
        if self._handle is None:
            self._handle = shown.display(shown.HTML(text), display_id=True)
        else:
            self._handle.update(shown.HTML(text))


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class RichProgress(Progress):
    """A bar by rich, on stderr."""

    def __init__(self) -> None:
        """Import rich and set the columns; nothing is drawn before `begin`.

        Raises:
            ImportError: rich is not installed.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
        from rich.text import Text

        class Speed(ProgressColumn):
            def render(self, task: Task) -> Text:
                rate = (task.finished_speed or task.speed or 0.0) if task.completed else 0.0
                left = "" if task.finished else f", {time_left_text(int(task.remaining or 0), rate)}"
                return Text(f"{speed_text(rate, task.fields['unit'])}{left}")

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            Speed(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), expand=True, refresh_per_second=5)
        self._task: Any = None

    def begin(self, label: str, total: int, unit: str = "fits", *, ago: float = 0.0) -> None:
        """Start a task with a bar of its own, whose speed is that of late."""
        self._bar.start()
        self._task = self._bar.add_task(label, total=total, unit=unit)

    def advance(self, done: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.advance(self._task, done)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.stop()
        self._task = None


def resolve(progress: Progress | str | None) -> Progress:
    """The `Progress` that an argument `progress` means.

    Args:
        progress: None is silent; "auto" shows a bar in a notebook and, by rich or else as a plain line, if
            stderr is a terminal, and is silent if not; a `Progress` is used as it is.

    Raises:
        UsageError: anything else.
    """
    if isinstance(progress, Progress):
        return progress
    if progress is None:
        return Progress()
    if progress != "auto":
        raise UsageError(f"progress={short(progress)}: give None, 'auto' or a Progress")
    if _silent.get():
        return Progress()
    if in_notebook():
        return NotebookProgress()
    if not (sys.stderr and sys.stderr.isatty()):
        return Progress()
    try:
        return RichProgress()
    except ImportError:
        return LineProgress(sys.stderr)
