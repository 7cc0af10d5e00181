"""The Dask cluster that a study starts keeps its workers."""

import os
import signal
import time
from pathlib import Path

import pytest

from chinchilla_jax.study.execution.dask_cluster import local_cluster

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def spawned():
    """The processes that this one has spawned."""
    found = set()
    for children in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(int(pid))
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
@pytest.mark.slow
def test_a_worker_that_is_slow_to_come_back_is_started_again():
    """Dask waits 15 s for it, here a tenth of one, then drops it and its nanny for good."""
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    others = spawned()
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        local_cluster(1) as cluster,
        distributed.Client(cluster) as client,
    ):
        (worker,) = spawned() - others
        assert client.submit(os.getpid).result(timeout=60) == worker
        os.kill(worker, signal.SIGKILL)
        time.sleep(5)  # until Dask has ended what it has dropped
        assert client.submit(os.getpid, pure=False).result(timeout=100) != worker
    end = time.monotonic() + 60
    while spawned() - others and time.monotonic() < end:
        time.sleep(0.05)
    assert spawned() <= others
