"""Calls to the file systems of fsspec: limited in time, repeated a few times, and open about the wait.

A call that takes longer than `silence_limit` is given up, and its connection closed. A failure that may pass
is followed by another attempt: by few until the server has answered for the first time, since its address may
be wrong, by more afterwards, since it may be restarting. Waits are announced on stderr. Ctrl-C ends any wait.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import IO, Any, TypeVar, cast

from chinchilla_jax._util.daemon_thread import in_daemon_thread
from chinchilla_jax._util.errors import ChinchillaError, UsageError, short
from chinchilla_jax._util.progress_bar import announce
from chinchilla_jax._util.remote_errors import RemoteError, Trouble, exists_already, reason_of, trouble_of
from chinchilla_jax._util.urls import without_secrets

T = TypeVar("T")

VARIABLE = "CHINCHILLA_JAX_SERVER_SECONDS"
_SILENCE_SECONDS = 20.0
_BYTES_PER_SECOND = 100_000  # the slowest upload that is waited for
_PATIENCE_SECONDS = 5.0  # before the first line about a wait
_LOOK_SECONDS = 0.2  # Windows lets no Ctrl-C interrupt a wait
_FIRST_PAUSES = (1.0,)  # between the attempts of a call to a server that has not answered yet
_PAUSES = (1.0, 4.0, 10.0)
_BLOCK = 2**22  # bytes of a table that are asked for at a time
_hurry: contextvars.ContextVar[float | None] = contextvars.ContextVar("chinchilla_jax_hurry", default=None)


def silence_limit() -> float:
    """Seconds for which a server may stay silent.

    Raises:
        UsageError: the environment variable is not a number above 0.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return _SILENCE_SECONDS
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) < threading.TIMEOUT_MAX:
            return seconds
    raise UsageError(f"{VARIABLE}={short(text)}: give seconds, such as {_SILENCE_SECONDS:g}")


@contextlib.contextmanager
def hurried(seconds: float) -> Iterator[None]:
    """In the block, calls of this thread have one attempt each, and `seconds` for all of them together."""
    token = _hurry.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _hurry.reset(token)


class FileSystem:
    """The file system that a URL names.

    Args:
        url: of a file or a folder.

    Attributes:
        shown: the URL without secrets.
        path: what the URL means in the file system.

    Raises:
        RemoteError: it is unknown, needs a package that is not installed, or does not answer.
    """

    def __init__(self, url: str) -> None:
        """Connect, where that takes a connection."""
        self._url, self.shown = url, without_secrets(url)
        self._answered = False
        try:
            import fsspec
            from fsspec.asyn import AsyncFileSystem
        except ImportError:
            raise RemoteError(Trouble.NO_PACKAGE, "fsspec is not installed", "connecting") from None
        find = functools.partial(fsspec.core.url_to_fs, url)

        def start(beat: object) -> Future[Any]:
            kind = fsspec.get_filesystem_class(url.partition("://")[0])
            if not issubclass(kind, AsyncFileSystem):  # others connect
                return in_daemon_thread(find, "remote")
            found: Future[Any] = Future()
            found.set_result(find())
            return found

        self._system, self.path = self._attempts("connecting", start)
        self._answered = False

    def call(self, doing: str, method: str, *arguments: Any, size: int = 0, **options: Any) -> Any:
        """What a method of the file system returns.

        Args:
            doing: for messages, such as "reading study.json".
            method: name of the method; it may be carried out more than once.
            arguments: of the method.
            size: bytes that the call sends.
            options: of the method.

        Raises:
            FileNotFoundError: there is no such file.
            FileExistsError: there is one, and must not be.
            RemoteError: any other failure, after the last attempt.
        """
        system = self._system
        # A coroutine can be cancelled when its time is over; a thread cannot.
        if getattr(system, "async_impl", False) and hasattr(system, f"_{method}"):
            import asyncio

            coroutine = getattr(system, f"_{method}")

            def start(beat: object) -> Future[Any]:
                return asyncio.run_coroutine_threadsafe(coroutine(*arguments, **options), system.loop)
        else:

            def start(beat: object) -> Future[Any]:
                return in_daemon_thread(
                    functools.partial(getattr(system, method), *arguments, **options), "remote"
                )

        return self._attempts(doing, start, extra=size / _BYTES_PER_SECOND)

    def read(self, doing: str, use: Callable[[IO[bytes]], T]) -> T:
        """What `use` makes of the open file; the limit is on each wait for bytes.

        Args:
            doing: for messages.
            use: is given a stream that knows `read` only; may be called more than once.

        Raises:
            ChinchillaError: one of `use`.
            FileNotFoundError: there is no such file.
            RemoteError: any other failure, after the last attempt.
        """

        def start(beat: Callable[[], None]) -> Future[Any]:
            def opened() -> T:
                with self._system.open(self.path, "rb", block_size=_BLOCK) as stream:
                    beat()
                    return use(cast("IO[bytes]", _Beating(stream, beat)))

            return in_daemon_thread(opened, "remote")

        return cast(T, self._attempts(doing, start))

    def forget(self) -> None:
        """Forget what was listed before: other processes may have written since."""
        self._system.invalidate_cache()

    def _attempts(
        self, doing: str, start: Callable[[Callable[[], None]], Future[Any]], extra: float = 0.0
    ) -> Any:
        limit, number = silence_limit() + extra, 0
        while True:
            number += 1
            try:
                result = self._awaited(start, limit, doing if number == 1 else "")
            except ChinchillaError:
                raise
            except Exception as error:
                if exists_already(error):
                    self._answered = True
                    raise FileExistsError(f"{self.shown}: exists already") from None
                failure = self._failure(error, limit, doing)
                if failure.trouble is Trouble.MISSING:
                    self._answered = True
                    text = os.strerror(errno.ENOENT)
                    raise FileNotFoundError(errno.ENOENT, text, self.shown) from failure
                pauses = self._pauses(failure.trouble)
                if number > len(pauses):
                    raise failure from error
                pause = pauses[number - 1]
                announce(
                    f"{self.shown}: {failure} while {doing}; attempt {number + 1} of {len(pauses) + 1} "
                    f"follows in {pause:g} s"
                )
                time.sleep(pause)
            else:
                self._answered = True
                return result

    def _pauses(self, trouble: Trouble) -> tuple[float, ...]:
        if _hurry.get() is not None or not trouble.passes:
            return ()
        if self._answered and trouble is not Trouble.CHANGED:
            return _PAUSES
        return () if trouble is Trouble.UNREACHABLE else _FIRST_PAUSES

    def _failure(self, error: Exception, limit: float, doing: str) -> RemoteError:
        trouble = trouble_of(error)
        reason = reason_of(error, self._url)
        if isinstance(error, _GivenUpError):
            reason = f"no answer for {limit:.3g} s"
        return RemoteError(trouble, reason, doing)

    def _awaited(self, start: Callable[[Callable[[], None]], Future[Any]], limit: float, doing: str) -> Any:
        """The result; a wait that grows long is announced, if it is for something, and ends at the limit."""
        last, said = time.monotonic(), not doing

        def beat() -> None:
            nonlocal last
            last = time.monotonic()

        future = start(beat)
        try:
            while not wait([future], timeout=_LOOK_SECONDS).done:
                now, until = time.monotonic(), _hurry.get()
                if now - last > _PATIENCE_SECONDS and not said:
                    said = True
                    announce(f"{self.shown}: waiting for an answer while {doing}, for up to {limit:.3g} s")
                if now - last > limit or (until is not None and now > until):
                    raise _GivenUpError
            return future.result()
        finally:
            future.cancel()


class _GivenUpError(TimeoutError):
    """A call took longer than its limit."""


class _Beating:
    """A stream that tells of each read."""

    def __init__(self, stream: IO[bytes], beat: Callable[[], None]) -> None:
        """Keep both."""
        self._stream, self._beat = stream, beat

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer than a block at a time."""
        content = self._stream.read(_BLOCK if size < 0 else min(size, _BLOCK))
        self._beat()
        return content
