"""Where jobs run: any `concurrent.futures.Executor`.

The contract is small. `submit(function, job)` takes a function of this package and a value that can be
pickled, and returns a `concurrent.futures.Future`; the function may run anywhere, more than once, and in any
order. Results come back to this process, which alone writes. Workers that live from one job to the next keep
their compiled solver. The jobs of a lost worker are submitted again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.side_process import SideProcess
from chinchilla_jax._util.validation import worker_count
from chinchilla_jax.solvers.dispatch import has_kernel
from chinchilla_jax.solvers.engine_choice import drawing_kernel, kernel_expected
from chinchilla_jax.study.execution.planning import Workplace
from chinchilla_jax.study.execution.processes import WorkerProcesses, side_processes
from chinchilla_jax.study.spec.study_spec import StudySpec

J = TypeVar("J", bound=Hashable)
R = TypeVar("R")

EXECUTORS = ("threads", "processes", "dask")

# Jobs in flight where the number of workers is not known; enough to keep a thousand workers busy.
_MANY_JOBS = 2048
_AHEAD = 8  # jobs in flight for each process, which chooses among them
# Fits of a study from which on processes save more than they cost, and how many take as long as preparing a
# condition.
_MANY_FITS, _PREPARING = 150_000, 1_500
_MOST_LOSSES = 20  # of one job together with its worker
_LOST = {"KilledWorker", "CancelledError", "FutureCancelledError", "FuturesCancelledError"}


def run_jobs(
    executor: Executor,
    jobs: Iterable[J],
    *,
    in_flight: int,
    receive: Callable[[J, R], None],
    function: Callable[..., R],
) -> None:
    """Run every job, with at most `in_flight` of them submitted at any time.

    Args:
        executor: where they run; it is not shut down.
        jobs: taken one by one as slots become free.
        in_flight: at least 1.
        receive: called in this thread with what each job gives, as it arrives.
        function: of this package; called with the job and, after workers were lost, with how often.

    Raises:
        Exception: the error of a job. Jobs that have not started are cancelled; running ones are not awaited.
    """
    todo = iter(jobs)
    losses: Counter[J] = Counter()
    pending: dict[Future[R], J] = {}
    try:
        while True:
            for job in itertools.islice(todo, in_flight - len(pending)):
                pending[executor.submit(function, job)] = job
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
                    pending[executor.submit(function, job, losses[job])] = job
                else:
                    receive(job, result)
    finally:
        for future in pending:
            future.cancel()


@contextlib.contextmanager
def threads(workers: int) -> Iterator[Executor]:
    """Threads of this process; the solver releases the GIL.

    Leaving the block waits for nothing, so that an interrupt takes effect at once.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="chunk")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def processes(workers: int, beside: Sequence[SideProcess] = ()) -> Iterator[Executor]:
    """A thread of this process and processes beside it, see `WorkerProcesses`.

    Leaving the block waits for nothing, so that an interrupt takes effect at once.

    Args:
        workers: this thread and the processes.
        beside: processes that are there already, which are not ended; otherwise they are started.
    """
    with contextlib.ExitStack() as started:
        drawing_kernel()  # compiled here where this machine has not yet, and not by each process
        pool = WorkerProcesses(beside or started.enter_context(side_processes(workers - 1)))
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def dask(scheduler: str | None, workers: int) -> Iterator[Executor]:
    """Workers of a Dask cluster; needs the extra `dask`.

    Args:
        scheduler: address, such as "tcp://10.0.0.1:8786" or "tls://..."; None starts a cluster on this
            machine's loopback for the duration of the study.
        workers: processes of that cluster.

    Raises:
        UsageError: Dask is not installed.
        ChinchillaError: no scheduler answers there, or it cannot be used; see `foreign_scheduler`.
    """
    from chinchilla_jax.study.execution.dask_client import foreign_scheduler
    from chinchilla_jax.study.execution.dask_cluster import INSTALL, local_cluster

    try:
        from dask.distributed import Client
    except ImportError:
        raise UsageError(f"the executor dask needs Dask, which is not installed; {INSTALL}") from None
    if scheduler is not None:
        with foreign_scheduler(scheduler) as executor:
            yield executor
    else:
        with local_cluster(workers) as cluster, Client(cluster, set_as_default=False) as client:
            yield client.get_executor(pure=False)


@dataclasses.dataclass(frozen=True)
class ExecutorChoice:
    """Which executor to use, as a user names it.

    Attributes:
        executor: a name out of `EXECUTORS`, an executor of the caller, which is not shut down, or None for
            threads.
        scheduler: address of a Dask scheduler; None for a cluster of the study's own.
        workers: jobs at a time; None for one per core.
        beside: processes that are there already, for the executor "processes".

    Raises:
        UsageError: an unknown executor, a scheduler without Dask, or less than one worker.
    """

    executor: Executor | str | None = None
    scheduler: str | None = None
    workers: int | None = None
    beside: tuple[SideProcess, ...] = ()

    def __post_init__(self) -> None:
        """Check all three."""
        given = self.executor
        if isinstance(given, str) and given not in EXECUTORS:
            raise unknown_name("executor", given, EXECUTORS)
        if not (given is None or isinstance(given, str | Executor)):
            raise UsageError(
                f"executor is a {type(given).__name__}; give a concurrent.futures.Executor, or one of: "
                f"{', '.join(EXECUTORS)}"
            )
        if self.scheduler is not None and given != "dask":
            raise UsageError(f"scheduler {self.scheduler!r} needs the executor dask; give that too")
        if self.workers is not None:
            worker_count(self.workers)

    @property
    def n_workers(self) -> int:
        """Jobs at a time."""
        return available_cores() if self.workers is None else int(self.workers)

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Executor, int, Workplace]]:
        """The executor, how many jobs it takes at a time, and what planning has to know of it.

        Raises:
            UsageError: Dask is not installed.
            ChinchillaError: Dask's scheduler does not answer, or its workers cannot be started.
        """
        if isinstance(self.executor, Executor):
            # Threads share what is in memory, whoever made them.
            shared = isinstance(self.executor, ThreadPoolExecutor)
            workers = self.n_workers if shared or self.workers is not None else _MANY_JOBS
            yield self.executor, _MANY_JOBS, Workplace(workers, shared)
        elif self.executor == "dask":
            with dask(self.scheduler, self.n_workers) as executor:
                # A scheduler may have any number of workers.
                workers = self.n_workers if self.scheduler is None or self.workers else _MANY_JOBS
                yield executor, _MANY_JOBS, Workplace(workers, False)
        elif self.executor == "processes":
            with processes(self.n_workers, self.beside) as executor:
                yield executor, _AHEAD * self.n_workers, Workplace(self.n_workers, True)
        else:
            with threads(self.n_workers) as executor:
                yield executor, 2 * self.n_workers, Workplace(self.n_workers, True)


def settled(choice: ExecutorChoice, spec: StudySpec) -> ExecutorChoice:
    """The choice with the executor that suits a study, where none is named.

    Processes where the study is large and the CPU kernel fits it. Other laws are compiled, by each process
    again; and a device is not shared.
    """
    # What is wrong with the arguments is for the study itself to say.
    if choice.executor is not None or choice.n_workers < 2 or not isinstance(spec, StudySpec):
        return choice
    fitted = has_kernel(spec.model, spec.estimator) and kernel_expected(spec.fitting_engine)
    many = spec.n_conditions * (spec.resamples + _PREPARING) >= _MANY_FITS
    if not (many and fitted and spec.solver == "newton"):
        return choice
    return dataclasses.replace(choice, executor="processes")
