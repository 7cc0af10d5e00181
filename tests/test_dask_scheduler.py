"""Dask schedulers that others have started: what is wrong with one is a line, soon, and no log."""

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import CancelledError, Future

import pytest

from chinchilla_jax import ChinchillaError, UsageError
from chinchilla_jax.study.execution import dask_client
from chinchilla_jax.study.execution.dask_client import _WatchedExecutor, foreign_scheduler

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]
KEPT = "; the chunks that were written are kept; rerun the same command to resume"


@pytest.fixture(autouse=True)
def impatient(monkeypatch, capfd):
    """What takes half a minute takes half a second; and nothing reaches the terminal."""
    monkeypatch.setattr(dask_client, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(dask_client, "_GREETING_SECONDS", 0.5)
    monkeypatch.setattr(dask_client, "_LOOK_SECONDS", 0.1)
    yield
    assert capfd.readouterr().err == ""


def started(workers):
    """A scheduler in this process, without TLS, and its workers."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        processes=False,
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
    )


@pytest.fixture(scope="module")
def cluster():
    """One without workers, which tests start and stop."""
    with started(0) as cluster:
        # News of workers comes late, as on a busy machine.
        cluster.scheduler.plugins["worker-status"].bcomm.interval = 0.2
        yield cluster


def scale(cluster, workers):
    """Start or stop workers, and wait until these are there.

    The cluster's own `wait_for_workers` replaces what it knows of its workers. Late news that one of before
    has left then ends its watch over them with a KeyError, which closing the cluster raises.
    """
    cluster.scale(workers)
    end = time.monotonic() + 60
    while {len(cluster.workers), len(cluster.scheduler.workers)} != {workers}:
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def worker(cluster):
    """One worker, for the duration of the block."""
    scale(cluster, 1)
    try:
        yield
    finally:
        scale(cluster, 0)


@contextlib.contextmanager
def server(says):
    """The address of a server that begins with this, and then waits."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    if says is None:
                        connections.pop().close()
                    else:
                        connections[-1].sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    for connection in connections:
        connection.close()


def refusal(address, kind=ChinchillaError):
    """The one line with which it is refused."""
    with pytest.raises(kind) as caught, foreign_scheduler(address):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_dead_scheduler():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    assert refusal(address) == f"{address}: nothing answers there ([Errno 111] Connection refused){KEPT}"


@pytest.mark.parametrize(
    "says, seen",
    [
        pytest.param(b"", "it accepts a connection and says nothing", id="waits, as HTTP does"),
        pytest.param(None, "it accepts a connection and says nothing", id="hangs up"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", r"it begins with b'SSH-2.0-OpenSSH_9.2\r'", id="SSH"),
        pytest.param(b"\x00" * 16, "it begins with b'\\x00", id="zeros"),
    ],
)
def test_what_is_no_scheduler(says, seen):
    with server(says) as address:
        said = refusal(address)
    assert said.startswith(f"{address}: what answers there is no Dask scheduler without TLS ({seen}")
    assert said.endswith(KEPT)


@pytest.mark.parametrize("address", ["foo", "tcp://:x:", ""])
def test_what_is_no_address(address):
    assert "give one such as tcp://10.0.0.1:8786" in refusal(address, UsageError)


def test_no_workers(cluster):
    address = cluster.scheduler_address
    said = refusal(address)
    assert (
        said
        == f"{address}: the scheduler has had no workers for 0 s; start some: dask worker {address}{KEPT}"
    )


def test_a_worker_is_no_scheduler(cluster):
    with worker(cluster):
        address = next(iter(cluster.workers.values())).address
        assert refusal(address) == f"{address}: what answers there is Dask's worker, and no scheduler{KEPT}"


def test_workers_that_do_the_work_and_then_leave(cluster):
    with worker(cluster), foreign_scheduler(cluster.scheduler_address) as executor:
        assert executor.submit(os.getpid).result(timeout=60) == os.getpid()
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result(timeout=60)
        cluster.scale(0)
        future = executor.submit(os.getppid)
        with pytest.raises(ChinchillaError, match=f"the scheduler has lost all its workers{KEPT}"):
            future.result(timeout=60)
        with pytest.raises(ChinchillaError, match="has lost all"):
            executor.submit(os.getppid)


def test_dasks_own_setting_gives_workers_more_time(cluster):
    import dask

    with dask.config.set({"distributed.scheduler.no-workers-timeout": "1 minute"}):
        soon = threading.Timer(1.0, cluster.scale, [1])
        soon.start()
        with foreign_scheduler(cluster.scheduler_address) as executor:
            assert executor.submit(os.getpid).result(timeout=60) == os.getpid()
    scale(cluster, 0)


@pytest.mark.parametrize("package", ["distributed", "chinchilla_jax"])
def test_another_version(cluster, monkeypatch, package):
    """Of a worker, or of the scheduler, which needs nothing of this package."""
    others = cluster.scheduler if package == "distributed" else None
    with worker(cluster):
        others = others or next(iter(cluster.workers.values()))
        own = others.handlers["versions"]

        def versions(**asked):
            found = own(**asked)
            return found | {"packages": found["packages"] | {package: "0.0.1"}}

        monkeypatch.setitem(others.handlers, "versions", versions)
        said = refusal(cluster.scheduler_address)
    assert f"has 0.0.1 {package}, this process " in said
    assert said.endswith(f"; install the same on all{KEPT}")


def test_a_scheduler_that_dies():
    with started(1) as cluster, foreign_scheduler(cluster.scheduler_address) as executor:
        assert executor.submit(os.getpid).result(timeout=60) == os.getpid()
        cluster.close()
        with pytest.raises(ChinchillaError, match=r"the scheduler has stopped answering \(.*kept"):
            while True:
                with contextlib.suppress(CancelledError):  # by Dask; a study submits it again
                    executor.submit(os.getppid).result(timeout=60)


def test_what_is_submitted_while_the_scheduler_is_given_up_ends_too():
    class Lost:
        """A client and its executor, which the watch gives up in the middle of a submission."""

        def get_executor(self, pure):
            return self

        def nthreads(self):
            return {}

        def submit(self, function):
            executor._end(ChinchillaError("given up"))
            return Future()

    executor = _WatchedExecutor("tcp://nowhere:1", Lost())
    with pytest.raises(ChinchillaError, match="given up"):
        executor.submit(os.getpid).result(timeout=5)
