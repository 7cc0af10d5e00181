"""Who does the work: anything that is a `concurrent.futures.Executor`.

The contract is small. `submit(function, job)` takes a function of this package and a value that can be
pickled, and returns a `concurrent.futures.Future`; the function may run anywhere, more than once, and in any
order. Nothing else is asked of an executor: results come back to this process, which alone writes. Workers
that live from one job to the next keep their compiled solver. What a lost worker had in hand is submitted
again.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait

from chinchilla_jax._util.errors import ChinchillaError, UsageError, unknown_name
from chinchilla_jax.study.dask_cluster import local_cluster
from chinchilla_jax.study.work import Job, PieceResult, run_job

EXECUTORS = ("threads", "dask")

# Jobs handed to an executor whose size is not known; enough to keep a thousand workers busy.
MANY = 2048
_MOST_LOSSES = 20  # of one job, with the worker that had it in hand
_LOST = {"KilledWorker", "CancelledError", "FutureCancelledError", "FuturesCancelledError"}


def complete(
    executor: Executor,
    jobs: Iterable[Job],
    *,
    in_flight: int,
    receive: Callable[[Job, PieceResult], None],
) -> None:
    """Have every job done, no more than `in_flight` of them submitted at any time.

    Args:
        executor: who does them; it is left as it is.
        jobs: taken one by one as there is room.
        in_flight: at least 1.
        receive: called in this thread with each result, in the order in which they come.

    Raises:
        Exception: what a job raised. What has not begun is cancelled; what has is waited for by nobody.
    """
    todo = iter(jobs)
    losses: Counter[Job] = Counter()
    pending: dict[Future[PieceResult], Job] = {}
    try:
        while True:
            for job in itertools.islice(todo, in_flight - len(pending)):
                pending[executor.submit(run_job, job)] = job
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                job = pending.pop(future)
                try:
                    result = future.result()
                except BaseException as error:
                    losses[job] += 1
                    if type(error).__name__ not in _LOST or losses[job] > _MOST_LOSSES:
                        raise
                    pending[executor.submit(run_job, job, losses[job])] = job
                else:
                    receive(job, result)
    finally:
        for future in pending:
            future.cancel()


@contextlib.contextmanager
def threads(workers: int) -> Iterator[Executor]:
    """Threads of this process: the solver leaves Python's lock alone while it works.

    On the way out nothing is waited for, so that an interrupt is heard at once.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="piece")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def dask(scheduler: str | None, workers: int) -> Iterator[Executor]:
    """Workers of a Dask cluster; needs the extra `dask`.

    Args:
        scheduler: address, such as "tcp://10.0.0.1:8786" or "tls://..."; None starts a cluster on this
            machine's loopback, which ends with the study.
        workers: processes of that cluster.

    Raises:
        UsageError: Dask is not installed.
        ChinchillaError: the scheduler does not answer.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise UsageError("the executor dask is not installed; pip install 'chinchilla-jax[dask]'") from None
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(local_cluster(workers)) if scheduler is None else scheduler
        try:
            client = stack.enter_context(Client(address, timeout="20s"))
        except (OSError, TimeoutError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise ChinchillaError(f"{scheduler}: no Dask scheduler answers there ({reason})") from None
        yield client.get_executor(pure=False)


def check_executor(given: Executor | str | None, scheduler: str | None) -> None:
    """Refuse what `open_executor` cannot open.

    Raises:
        UsageError: no such executor, or a scheduler for another than Dask.
    """
    if isinstance(given, str) and given not in EXECUTORS:
        raise unknown_name("executor", given, EXECUTORS)
    if not (given is None or isinstance(given, str | Executor)):
        raise UsageError(
            f"executor is a {type(given).__name__}; give a concurrent.futures.Executor, or one of: "
            f"{', '.join(EXECUTORS)}"
        )
    if scheduler is not None and given != "dask":
        raise UsageError(f"scheduler {scheduler!r} is for the executor dask; give that too")


@contextlib.contextmanager
def open_executor(
    given: Executor | str | None, *, scheduler: str | None, workers: int
) -> Iterator[tuple[Executor, int]]:
    """The executor that `given` names, and how many jobs it is handed at a time.

    Raises:
        UsageError: see `check_executor`.
    """
    check_executor(given, scheduler)
    if isinstance(given, Executor):
        yield given, MANY
    elif given == "dask":
        with dask(scheduler, workers) as executor:
            yield executor, MANY
    else:
        with threads(workers) as executor:
            yield executor, 2 * workers
