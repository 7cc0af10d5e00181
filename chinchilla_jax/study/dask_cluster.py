"""A Dask cluster on this machine's loopback that keeps its number of workers, whatever happens to them.

Dask starts a worker again that dies. But one that is not back 15 s later, since it was killed once more or
the machine is slow, it drops for good, and a study would wait for ever for workers that nobody starts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.study.dask_worker import COUNT

_LOOK = 1.0  # seconds between looks at the workers


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A `LocalCluster` of so many worker processes; it ends with the block. Needs the extra `dask`.

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
            preload=["chinchilla_jax.study.dask_worker"],
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
        while not done.wait(_LOOK):
            loop.add_callback(_replace_the_dead, cluster)

    with cluster:
        threading.Thread(target=look, name="dask-workers", daemon=True).start()
        try:
            yield cluster
        finally:
            done.set()


async def _replace_the_dead(cluster: Any) -> None:
    """Start those workers of a `SpecCluster` again that were dropped or gave up, in its event loop."""
    from distributed.core import Status

    if cluster.status != Status.running:
        return
    for name, nanny in list(cluster.workers.items()):
        if nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
    if set(cluster.worker_spec) - set(cluster.workers):
        # One that dies while it starts is met again at the next look.
        with contextlib.suppress(Exception):
            await cluster
