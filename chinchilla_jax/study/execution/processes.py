"""Workers of a study in processes of their own on this machine: Python's part of a job then waits for no GIL.

What a job does outside the solver, a third of its time, is Python and NumPy: threads do it in turn, processes
side by side. One worker is a thread of this process; the others are `SideProcess`es, which die with it.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.side_process import SideProcess, SideProcessError

if TYPE_CHECKING:
    from chinchilla_jax.study.execution.jobs import Job


# All but the first are imported where they are used.
_OF_A_JOB = (
    "chinchilla_jax.study.finished",
    "chinchilla_jax.solvers.five_parameter",
    "chinchilla_jax.solvers.huber_scale",
    "pyarrow.parquet",
)


@contextlib.contextmanager
def side_processes(count: int) -> Iterator[tuple[SideProcess, ...]]:
    """So many processes that load what a job needs; they end with the block."""
    with contextlib.ExitStack() as started:
        yield tuple(started.enter_context(_ready()) for _ in range(count))


def _ready() -> SideProcess:
    process = SideProcess()
    process.prepare(*_OF_A_JOB)
    return process


class WorkerProcesses(Executor):
    """A thread of this process and side processes, each of which takes one job at a time.

    A worker prefers jobs of a group that it has prepared, then of one that no other has; of another's, it
    prepares the job's own conditions alone. A job that fails in a process, or warns there, is run by a thread
    here: so its error or warning is the user's, and a process that dies costs time alone.

    Args:
        beside: the processes; they are not ended.
    """

    def __init__(self, beside: Sequence[SideProcess]) -> None:
        """No job yet."""
        places: queue.SimpleQueue[SideProcess | None] = queue.SimpleQueue()
        for place in (*beside, None):
            places.put(place)
        self._place = threading.local()
        self._pool = ThreadPoolExecutor(
            len(beside) + 1, "worker", initializer=lambda: self._begin(places.get_nowait())
        )
        self._lock = threading.Lock()
        self._waiting: list[tuple[Future[Any], Callable[..., Any], Job, tuple[Any, ...]]] = []
        self._prepared: dict[Hashable, SideProcess | None] = {}
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As of any executor; the first argument is the job."""
        job, *others = args
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, functools.partial(fn, **kwargs), job, tuple(others)))
        self._pool.submit(self._work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor."""
        self._closed = self._closed or cancel_futures
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _begin(self, place: SideProcess | None) -> None:
        self._place.process = place

    def _work(self) -> None:
        """Run one of the jobs that wait."""
        future, function, job, others = self._next()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._run(function, job, *others))
        except BaseException as error:
            future.set_exception(error)

    def _next(self) -> tuple[Future[Any], Callable[..., Any], Job, tuple[Any, ...]]:
        place = self._place.process
        with self._lock:

            def strangeness(number: int) -> int:
                key = _key(self._waiting[number][2])
                return 1 if key not in self._prepared else 0 if self._prepared[key] is place else 2

            number = min(range(len(self._waiting)), key=strangeness)
            anothers = strangeness(number) == 2
            future, function, job, others = self._waiting.pop(number)
            if anothers:
                job = job.by_itself()
            else:
                self._prepared[_key(job)] = place
        return future, function, job, others

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        process: SideProcess | None = self._place.process
        if process is not None:
            try:
                return process.submit(function, *arguments).result()
            except SideProcessError:
                if self._closed:
                    raise
        return function(*arguments)


def _key(job: Job) -> Hashable:
    # By id, as in `run_job`.
    return tuple(condition.id for condition in job.group)
