"""How a process of the command line ends: in order, and soon after Ctrl-C.

Arrow, XLA and LLVM run threads of their own. One that asks for the GIL while the interpreter is taken apart
aborts the process or crashes it, after all the work is done. So the interpreter is left whole: once Python's
threads have ended and all other exit handlers have run, the process exits.

Ctrl-C raises `KeyboardInterrupt` in the main thread, as in any program. That alone may take long, or have no
effect: native code runs for seconds before Python can raise anything, leaving a pool waits for its threads,
and Python drops an exception that is raised in a callback of the garbage collector. It may also break what
it interrupts: an extension module that is half made can crash the process. So a thread that the signal wakes
raises again what was dropped or came at a bad moment, and ends the process after `GRACE_SECONDS` whatever the
main thread does. Files are written whole or not at all, so an end at any moment loses nothing that was there.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import importlib.machinery
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from chinchilla_jax._util.system import wake_up_pipe
from chinchilla_jax._util.text import visible

PROGRAM = "chinchilla-jax"
GRACE_SECONDS = 0.7  # for an orderly end after Ctrl-C; to clear up takes a busy system as long again
_LOOK_SECONDS = 0.05  # between looks for a KeyboardInterrupt that was dropped
_PRINT_SECONDS = 0.3  # for a line to a terminal or pipe that does not take it
_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"  # a progress bar hides it
_FAILED = 1
_MAKE_EXTENSION = tuple(
    method.__code__
    for method in (
        importlib.machinery.ExtensionFileLoader.create_module,
        importlib.machinery.ExtensionFileLoader.exec_module,
    )
)

_interrupted_line = "interrupted"


def say_if_interrupted(line: str) -> None:
    """What to print if this process is interrupted and does not end by itself in time."""
    global _interrupted_line
    _interrupted_line = line


class OwnProcess:
    """The end of this process, from the moment that this is made. Make one, in the main thread.

    SIGTERM, which batch systems send, is treated as Ctrl-C is.
    """

    def __init__(self) -> None:
        """Take over the signals and the exit."""
        self._code: int | None = None
        self._interrupted = self._raised = self._dropped = False
        self._line = threading.Lock()  # held by whoever printed the last line
        # Handlers run in reverse order: the first registered is the last to run.
        atexit.register(self._leave)
        self._show_dropped = sys.unraisablehook
        sys.unraisablehook = self._see_dropped
        self._next_signal, woken_by = wake_up_pipe()
        signal.set_wakeup_fd(woken_by, warn_on_full_buffer=False)
        signals = [signal.SIGTERM]
        # A shell has the jobs that it starts in the background ignore Ctrl-C.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signals.append(signal.SIGINT)
        threading.Thread(target=self._watch, args=(signals,), name="ending", daemon=True).start()
        for each in signals:
            signal.signal(each, self._raise)

    def end(self, code: int) -> int:
        """Settle the exit code: from now on a signal only hastens the end.

        After Ctrl-C, threads that are still at work are not awaited.
        """
        self._raised = True
        self._code = code
        if self._interrupted and any(
            not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()
        ):
            self._leave()
        return code

    def last_line(self, text: str) -> None:
        """Print the line that says why the process ends, unless there was one."""
        if self._line.acquire(blocking=False):
            print_error(text)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        if self._raised:
            return
        self._raised = True
        if _makes_extension(frame):
            self._dropped = True
        else:
            raise KeyboardInterrupt

    def _see_dropped(self, dropped: Any) -> None:
        # A flag only: whatever called the collector may hold any lock.
        if dropped.exc_type is KeyboardInterrupt:
            self._dropped = True
        elif not self._interrupted:  # what Ctrl-C breaks off may complain at length
            self._show_dropped(dropped)

    def _watch(self, signals: list[signal.Signals]) -> None:
        while self._next_signal() not in signals:
            pass
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
            if self._dropped and self._code is None:
                self._dropped = self._raised = False
                _thread.interrupt_main(signal.SIGTERM)
        if self._code is None and self._line.acquire(blocking=False):
            # By another thread: nothing may hold up the end.
            printing = threading.Thread(target=_print_interrupted, daemon=True)
            printing.start()
            printing.join(_PRINT_SECONDS)
        os._exit(_FAILED if self._code is None else self._code)

    def _leave(self) -> None:
        if self._code is not None:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(self._code)


def _makes_extension(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _MAKE_EXTENSION:
            return True
        frame = frame.f_back
    return False


def print_error(text: str) -> None:
    """Print a line on stderr."""
    print(f"{PROGRAM}: error: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


def _print_interrupted() -> None:
    # Not by sys.stderr, whose lock the main thread may hold.
    cursor = _SHOW_CURSOR if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{cursor}{PROGRAM}: error: {_interrupted_line}\n".encode(errors="backslashreplace"))
