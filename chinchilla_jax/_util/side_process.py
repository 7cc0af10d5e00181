"""A second Python process beside this one, for work that would otherwise wait for the GIL.

It runs functions of this package one after the other: `SideProcess.submit` is that of an executor, and what
fails there, for whatever reason, is to be done here. multiprocessing's processes import the main module of
the program again, which a script without a guarded one does not survive; this one imports nothing but what
it is asked for. It ends when this process does, however that ends, and Ctrl-C does not reach it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from types import TracebackType
from typing import IO, Any, ParamSpec, TypeVar

from chinchilla_jax._util import own_python
from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread
from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.garbage import collect_seldom

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LENGTH = 8  # bytes that say how long a message is


class SideProcessError(Exception):
    """A function has not run to its end in the side process, or has warned: run it here."""


def is_worth_it() -> bool:
    """Whether a second process has a core of its own."""
    return available_cores() > 1


class SideProcess:
    """The process, from its start to the end of the `with` block."""

    def __init__(self) -> None:
        """Start it; where the system does not, everything that is submitted fails."""
        self._process: subprocess.Popen[bytes] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="side")
        command = own_python.command(f"from {__name__} import serve\nserve()")
        if command is None:
            return
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process alone
            )

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """The future of a call there, which can be cancelled until its turn has come.

        Args:
            function: of a module that can be imported.
            *args: its arguments, which can be pickled.
            **kwargs: the same.

        Returns:
            What it returns; its exception is a `SideProcessError` in every case.
        """
        return self._pool.submit(self._call, function, args, kwargs)

    def prepare(self, *modules: str) -> None:
        """Import these there meanwhile, so that the first call need not."""
        self.submit(_import, *modules)

    def __enter__(self) -> SideProcess:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, with what it is doing."""
        if self._process is not None:
            self._process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)  # its thread sees the end of the stream
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()  # type: ignore[union-attr]
            self._process.wait()

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        process = self._process
        if process is None:
            raise SideProcessError("no process")
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, pickle.dumps((function, args, kwargs)))
            answer = _receive(process.stdout)
            if answer is None:
                raise SideProcessError("the process has ended")
            failure, found = pickle.loads(answer)
        except SideProcessError:
            raise
        except Exception as error:  # whatever pickling an object may raise
            raise SideProcessError(f"{type(error).__name__}: {error}") from error
        if failure:
            raise SideProcessError(failure)
        return found


def _import(*modules: str) -> None:
    for module in modules:
        import_module(module)


def taken(future: Future[_T] | None) -> _T | None:
    """What a call has returned or will return; None if it has to be run here, where it is run once."""
    if future is None or future.cancel():
        return None
    try:
        return future.result()
    except SideProcessError:
        return None


def serve() -> None:
    """What the process does: answer what comes in by stdin until its other end is closed."""
    collect_seldom()
    keep_blas_to_one_thread()  # NumPy comes with the first call
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is no answer
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        _send(answers, _answer(calls.get()))


def _listen(stream: IO[bytes], calls: queue.SimpleQueue[bytes]) -> None:
    while (message := _receive(stream)) is not None:
        calls.put(message)
    os._exit(0)  # whatever is being done is for nobody


def _answer(message: bytes) -> bytes:
    """Run a call; ("", result), or why there is none."""
    try:
        with warnings.catch_warnings(record=True) as shown:
            function, args, kwargs = pickle.loads(message)
            found = function(*args, **kwargs)
        # Nobody sees it here.
        return pickle.dumps((f"warned: {shown[0].message}" if shown else "", None if shown else found))
    except BaseException as error:
        return pickle.dumps((f"{type(error).__name__}: {error}", None))


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(_LENGTH, "big") + message)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the stream has ended."""
    length = stream.read(_LENGTH)
    if len(length) < _LENGTH:
        return None
    size = int.from_bytes(length, "big")
    message = stream.read(size)
    return message if len(message) == size else None
