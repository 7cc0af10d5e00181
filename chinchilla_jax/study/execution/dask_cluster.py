"""A Dask cluster on this machine's loopback: only its study can use it, and workers that die are replaced.

All users of a machine share its loopback, and whoever can talk to a scheduler or a worker can run code in it.
So all its processes prove to each other that they belong to it, by a certificate that is made for the study,
is kept in memory, and is handed to workers through a pipe.

Dask restarts a worker that dies. But if the worker is not back after 15 s, because it was killed again or the
machine is slow, Dask drops it for good, and a study would wait forever for workers that never start.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.system import without_ctrl_c
from chinchilla_jax.study.execution.dask_logs import quiet
from chinchilla_jax.study.execution.dask_worker import COUNT

INSTALL = "pip install 'chinchilla-jax[dask]'"
_LOOK_SECONDS = 1.0  # between looks at the workers
# Pages about the scheduler and its workers, which nobody needs here and anybody could read.
_NO_PAGES: dict[str, Any] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A `LocalCluster` of `workers` processes, for the duration of the block. Needs the extra `dask`.

    Raises:
        UsageError: Dask is not installed.
        ChinchillaError: the workers cannot be started.
    """
    try:
        import dask
        from distributed.security import Security

        security = Security.temporary()
    except ImportError as error:
        missing = "cryptography" if "cryptography" in str(error) else "Dask"
        raise UsageError(f"the executor dask needs {missing}, which is not installed; {INSTALL}") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(dask.config.set(_NO_PAGES))
        loop = stack.enter_context(_loop_without_ctrl_c())
        try:
            cluster = _cluster_type()(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                loop=loop,
                security=security,
                # Any free port: Dask's usual one is taken where another user runs Dask.
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                preload=["chinchilla_jax.study.execution.dask_worker"],
                env={COUNT: str(workers)},
            )
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ChinchillaError(
                f"Dask's workers cannot be started ({reason}); try --executor threads"
            ) from error
        stack.enter_context(cluster)
        yield stack.enter_context(_kept(cluster))


def _cluster_type() -> Any:
    """A `LocalCluster` that can be closed whatever it has heard of its workers. Needs the extra `dask`."""
    from dask.distributed import LocalCluster

    class Cluster(LocalCluster):
        def _update_worker_status(self, op: str, msg: Any) -> None:
            # News that a worker has left may arrive after a list of the workers without it. Dask's watch over
            # the workers would end with a KeyError, which closing the cluster raises, half closed.
            if op != "remove" or msg in self.scheduler_info["workers"]:
                update: Any = super()._update_worker_status
                update(op, msg)

    return Cluster


@contextlib.contextmanager
def _loop_without_ctrl_c() -> Iterator[Any]:
    """An event loop that starts processes which Ctrl-C does not reach.

    A terminal sends it to all processes of a job, and workers that are starting would print where they were.
    They end with the process that started them.
    """
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    with without_ctrl_c():
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()


@contextlib.contextmanager
def _kept(cluster: Any) -> Iterator[Any]:
    """The cluster, whose workers are replaced when they die."""
    loop: Any = cluster.loop
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            loop.add_callback(_replace_the_dead, cluster)

    threading.Thread(target=look, name="dask-workers", daemon=True).start()
    try:
        yield cluster
    finally:
        done.set()


async def _replace_the_dead(cluster: Any) -> None:
    """Restart the workers of a `SpecCluster` that were dropped or gave up; runs in its event loop."""
    from distributed.core import Status

    if cluster.status != Status.running:
        return
    for name, nanny in list(cluster.workers.items()):
        if nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
    if set(cluster.worker_spec) - set(cluster.workers):
        # A worker that dies while it starts is found again at the next look.
        with contextlib.suppress(Exception):
            await cluster
