"""The argument `progress` of a function that may take seconds: "auto", None, a `Progress` or a function.

    @reporting
    def question(..., progress: ProgressLike = "auto"):
        advance = started(progress, "question", total)   # a function of the units just finished

`reporting` closes the bar however the function ends. What takes less than a second shows nothing.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.progress_bar import Progress, resolve

ProgressLike = Callable[[int], None] | Progress | str | None

_P = ParamSpec("_P")
_R = TypeVar("_R")

_PATIENCE = 1.0  # seconds before a bar appears


class Delayed(Progress):
    """Another `Progress`, which sees nothing of a task that ends within a second."""

    def __init__(self, shown: Progress) -> None:
        """Nothing is shown before the task has taken its second."""
        self._shown = shown
        self._task: tuple[str, int, str] = ("", 0, "fits")
        self._began, self._done, self._visible = 0.0, 0, False
        self._lock = threading.Lock()

    def begin(self, label: str, total: int, unit: str = "fits", *, ago: float = 0.0) -> None:
        """Start a task; the bar of the one before it ends."""
        self.close()
        self._task = label, total, unit
        self._began, self._done = time.monotonic() - ago, 0

    def advance(self, done: int) -> None:
        """Count units, and show them once a second is over."""
        with self._lock:  # workers report from threads of their own
            self._done += done
            if self._visible:
                self._shown.advance(done)
            elif (ago := time.monotonic() - self._began) > _PATIENCE:
                self._visible = True
                self._shown.begin(*self._task, ago=ago)
                self._shown.advance(self._done)

    def note(self, text: str) -> None:
        """Print a line."""
        self._shown.note(text)

    def close(self) -> None:
        """End the bar, if there is one."""
        if self._visible:
            self._shown.close()
        self._visible = False


def reporting(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function with a keyword `progress`: "auto" becomes a bar that is closed at the end."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given: Any = kwargs.get("progress", "auto")
        if given is None or isinstance(given, Progress) or callable(given):
            return function(*args, **kwargs)
        if given != "auto":
            raise UsageError(
                f"progress is {short(given)}; give 'auto', None or a function of the units just finished"
            )
        with Delayed(resolve("auto")) as shown:
            kwargs["progress"] = shown
            return function(*args, **kwargs)

    return wrapped


def started(
    progress: ProgressLike, label: str, total: int, unit: str = "fits"
) -> Callable[[int], None] | None:
    """What to call with the number of units just finished; None where nobody is told.

    Args:
        progress: the argument of a function that is decorated with `reporting`.
        label: before the bar.
        total: about how many units there will be.
        unit: of what.
    """
    if isinstance(progress, Progress):
        progress.begin(label, total, unit)
        return progress.advance
    assert not isinstance(progress, str)
    return progress
