"""A Dask cluster on this machine's loopback that replaces every worker it loses.

Dask restarts a worker that dies. But if the worker is not back after 15 s, because it was killed again or the
machine is slow, Dask drops it for good, and a study would wait forever for workers that never start.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.study.execution.dask_worker import COUNT

_LOOK_SECONDS = 1.0  # between looks at the workers


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A `LocalCluster` of `workers` processes, for the duration of the block. Needs the extra `dask`.

    Raises:
        UsageError: Dask is not installed.
        ChinchillaError: the workers cannot be started.
    """
    try:
        from dask.distributed import LocalCluster
    except ImportError:
        raise UsageError("the executor dask is not installed; pip install 'chinchilla-jax[dask]'") from None
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            preload=["chinchilla_jax.study.execution.dask_worker"],
            env={COUNT: str(workers)},
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ChinchillaError(
            f"Dask's workers cannot be started ({reason}); try --executor threads"
        ) from error
    loop: Any = cluster.loop
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            loop.add_callback(_replace_the_dead, cluster)

    with cluster:
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
