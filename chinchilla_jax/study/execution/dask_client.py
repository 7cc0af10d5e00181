"""A Dask scheduler that someone else has started: looked at before it is used, and watched while it is.

Dask waits for a scheduler that has died, for workers that never come, and for answers of what is no
scheduler, some of it for ever. Here each is a `ChinchillaError` of one line that says what was seen, within
half a minute. A cluster whose workers come and go asks for more patience by Dask's own setting
`distributed.scheduler.no-workers-timeout`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError, wait
from importlib.metadata import version
from typing import Any

from chinchilla_jax._util.daemon_thread import in_daemon_thread
from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.study.execution.dask_logs import quiet

PATIENCE_SECONDS = 20.0
_GREETING_SECONDS = 5.0  # for a scheduler to say its first words
_ANSWER_SECONDS = 5.0  # for one that has said them, and may be busy
_GREETING_BYTES = 1 << 16  # at most
_LOOK_SECONDS = 2.0  # between looks at the scheduler
_CLOSE_SECONDS = 2.0
_PACKAGE = "chinchilla_jax"
_KEPT = "the chunks that were written are kept; rerun the same command to resume"


@contextlib.contextmanager
def foreign_scheduler(address: str) -> Iterator[Executor]:
    """The workers of the scheduler at `address`. Needs Dask to be installed.

    Raises:
        UsageError: that is no address.
        ChinchillaError: no Dask scheduler answers there, it has no workers, or it or a worker has another
            version. If that comes about later, the futures end with it.
    """
    from dask.distributed import Client

    begun = time.monotonic()
    _require_greeting(address)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _require_scheduler(address)
        try:
            client = Client(address, timeout=_left(begun, PATIENCE_SECONDS), set_as_default=False)
        except Exception as error:
            raise _error(address, f"no Dask scheduler answers there ({_reason(error)})") from None
        try:
            _require_workers(address, client, begun)
            _require_same_workers(address, client)
            with _WatchedExecutor(address, client) as executor:
                yield executor
        finally:
            # By a thread: a scheduler that is gone is asked to say goodbye for half a minute.
            with contextlib.suppress(Exception):
                _within(_CLOSE_SECONDS, lambda: client.close(timeout=_CLOSE_SECONDS))


def _require_greeting(address: str) -> None:
    """Raise unless what listens there greets as Dask's processes do.

    A scheduler sends the first message: a count of bytes, a count of frames, then a map with the protocol of
    pickles among others. What is no Dask says something else, or waits for the other side to speak.
    """
    from distributed.comm.addressing import parse_address, parse_host_port

    try:
        scheme, rest = parse_address(address)
        host, port = parse_host_port(rest)
    except ValueError as error:
        raise UsageError(
            f"scheduler {address!r}: no address ({_reason(error)}); give one such as tcp://10.0.0.1:8786"
        ) from None
    if scheme not in ("tcp", "tls"):
        return
    try:
        with socket.create_connection((host, port), _GREETING_SECONDS) as connection:
            said = b"" if scheme == "tls" else _read_greeting(connection)
    except OSError as error:
        raise _error(address, f"nothing answers there ({_reason(error)})") from None
    if scheme == "tcp" and b"pickle-protocol" not in said:
        seen = f"it begins with {said[:20]!r}" if said else "it accepts a connection and says nothing"
        raise _error(address, f"what answers there is no Dask scheduler without TLS ({seen})")


def _read_greeting(connection: socket.socket) -> bytes:
    """The first message, or what there is of it when the time is up."""
    said, end = b"", time.monotonic() + _GREETING_SECONDS
    with contextlib.suppress(TimeoutError, ConnectionError):
        while (left := end - time.monotonic()) > 0 and len(said) < _GREETING_BYTES:
            connection.settimeout(left)
            part = connection.recv(_GREETING_BYTES)
            said += part
            if not part or (len(said) >= 8 and len(said) >= 8 + struct.unpack("<Q", said[:8])[0]):
                break
    return said


def _require_scheduler(address: str) -> None:
    """Raise unless it says that it is a scheduler, and of the Dask of this process.

    Between versions even a client's first question differs; these two have always been the same.
    """
    import asyncio

    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> tuple[Any, Any]:
        security = Security().get_connection_args("client")
        async with rpc(address, timeout=_ANSWER_SECONDS, connection_args=security) as there:
            return await there.identity(), await there.versions()

    try:
        identity, versions = _within(_ANSWER_SECONDS, lambda: asyncio.run(ask()))
    except Exception as error:
        raise _error(address, f"no Dask scheduler answers there ({_reason(error)})") from None
    if (kind := str(identity.get("type"))) != "Scheduler":
        raise _error(address, f"what answers there is Dask's {kind.lower()}, and no scheduler")
    found = versions["packages"].get("distributed")
    _require_same(address, "the scheduler", "distributed", found, version("distributed"))


def _require_workers(address: str, client: Any, begun: float) -> None:
    patience = _patience_with_workers()
    try:
        client.wait_for_workers(1, timeout=_left(begun, patience))
    except TimeoutError:
        seen = f"the scheduler has had no workers for {patience:.0f} s"
        raise _error(address, f"{seen}; start some: dask worker {address}") from None
    except Exception as error:
        raise _error(address, f"the scheduler does not answer ({_reason(error)})") from None


def _patience_with_workers() -> float:
    """Seconds that a scheduler may be without workers."""
    import dask
    from dask.utils import parse_timedelta

    asked = dask.config.get("distributed.scheduler.no-workers-timeout", None)
    return float(parse_timedelta(asked)) if asked else PATIENCE_SECONDS


def _left(begun: float, seconds: float) -> float:
    return max(1.0, begun + seconds - time.monotonic())


def _require_same_workers(address: str, client: Any) -> None:
    """Raise unless the workers run the same Dask, Python and package."""
    try:
        found = _within(_ANSWER_SECONDS, lambda: client.get_versions(packages=[_PACKAGE]))
    except Exception as error:
        raise _error(address, f"the workers do not say their versions ({_reason(error)})") from None
    own = _versions(found["client"])
    for worker, of in found["workers"].items():
        # A worker that did not answer may as well have come later.
        for name, its in _versions(of).items() if isinstance(of, dict) else ():
            _require_same(address, f"the worker {worker}", name, its, own[name])


def _versions(of: Mapping[str, Any]) -> dict[str, str | None]:
    """What has to agree, by name; Python's version without its last number."""
    python = str(of["host"].get("python", "")).split(".")
    return {
        "distributed": of["packages"].get("distributed"),
        "Python": ".".join(python[:2]),
        _PACKAGE: of["packages"].get(_PACKAGE),
    }


def _require_same(address: str, who: str, package: str, found: str | None, own: str | None) -> None:
    if found != own:
        seen = f"{who} has {found or 'no'} {package}, this process {own}"
        raise _error(address, f"{seen}; install the same on all")


class _WatchedExecutor(Executor):
    """Submits to a scheduler, and ends all futures when it or its last worker has been gone for too long."""

    def __init__(self, address: str, client: Any) -> None:
        """Start the watch."""
        self._address, self._client = address, client
        self._inner: Executor = client.get_executor(pure=False)
        self._pending: set[Future[Any]] = set()
        self._gone: ChinchillaError | None = None
        self._done = threading.Event()
        threading.Thread(target=self._watch, name="dask-scheduler", daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of `fn(*args, **kwargs)`."""
        if self._gone is not None:
            raise self._gone
        inner = self._inner.submit(fn, *args, **kwargs)
        # Not Dask's own: it logs a line for each that was ended by someone else.
        future: Future[Any] = Future()

        def copy(inner: Future[Any]) -> None:
            with contextlib.suppress(InvalidStateError):
                if inner.cancelled():
                    future.set_exception(CancelledError())
                elif (error := inner.exception()) is not None:
                    future.set_exception(error)
                else:
                    future.set_result(inner.result())

        def end(future: Future[Any]) -> None:
            self._pending.discard(future)
            if future.cancelled():
                inner.cancel()

        self._pending.add(future)
        future.add_done_callback(end)
        inner.add_done_callback(copy)
        if self._gone is not None:  # since it was looked at above
            with contextlib.suppress(InvalidStateError):
                future.set_exception(self._gone)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the watch; the block around the client closes it."""
        self._done.set()

    def _watch(self) -> None:
        answered = had_workers = time.monotonic()
        patience = _patience_with_workers()
        while not self._done.wait(_LOOK_SECONDS):
            reason = ""
            try:
                workers = _within(_ANSWER_SECONDS, self._client.nthreads)
            except Exception as error:
                reason = _reason(error)
            else:
                answered = time.monotonic()
                had_workers = answered if workers else had_workers
            now = time.monotonic()
            if now - answered > PATIENCE_SECONDS:
                self._end(_error(self._address, f"the scheduler has stopped answering ({reason})"))
            elif not reason and now - had_workers > patience:
                self._end(_error(self._address, "the scheduler has lost all its workers"))

    def _end(self, error: ChinchillaError) -> None:
        self._done.set()
        self._gone = error
        for future in list(self._pending):
            # A result may be faster.
            with contextlib.suppress(InvalidStateError):
                future.set_exception(error)


def _within(seconds: float, function: Callable[[], Any]) -> Any:
    """What `function` returns or raises, or TimeoutError; it may go on in a thread of its own."""
    future = in_daemon_thread(function, "dask-question")
    if not wait([future], timeout=seconds).done:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return future.result()


def _error(address: str, seen: str) -> ChinchillaError:
    return ChinchillaError(f"{address}: {seen}; {_KEPT}")


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:120]
    return text or type(error).__name__
