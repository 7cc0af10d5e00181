"""The Dask cluster that a study starts keeps its workers, and lets nobody else in."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chinchilla_jax.study.execution.dask_cluster import local_cluster

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


def spawned():
    """The processes that this one has spawned."""
    found = set()
    for children in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(int(pid))
    return found


@pytest.fixture(scope="module")
def cluster():
    """One worker. Dask waits 15 s for one that dies, here a tenth of one, then drops it and its nanny."""
    others = spawned()
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        local_cluster(1) as cluster,
    ):
        yield cluster
    end = time.monotonic() + 60
    while spawned() - others and time.monotonic() < end:
        time.sleep(0.05)
    assert spawned() <= others


def greetings(ports):
    """What the servers at these ports of loopback say to whoever connects, by port."""
    found = {}
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(0.1)
            try:
                found[port] = connection.recv(100)
            except TimeoutError:
                found[port] = b""
    return found


def test_ctrl_c_does_not_reach_its_processes(cluster):
    """A terminal sends it to all of a job; a worker that starts would print a traceback."""
    (worker,) = spawned()
    (line,) = (each for each in Path(f"/proc/{worker}/status").read_text().splitlines() if "SigBlk" in each)
    assert int(line.split()[1], 16) & 1 << signal.SIGINT - 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("said", [True, False])
def test_what_a_killed_process_leaves_is_cleared_up_without_a_word(said):
    code = (
        "import multiprocessing, os\n"
        "from chinchilla_jax.study.execution.dask_logs import quiet_until_the_end\n"
        f"{'pass' if said else 'quiet_until_the_end()'}\n"
        "left = multiprocessing.get_context('spawn').Lock()\n"
        "os._exit(0)"
    )
    # The process that clears up has the same stderr, which is at its end when both are gone.
    left = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ("resource_tracker" in left.stderr) is said


@pytest.mark.parametrize("security", [None, "another study's"])
def test_another_process_cannot_run_code_in_it(cluster, security, tmp_path):
    """Loopback is shared by all users of a machine."""
    address = cluster.scheduler_address
    address = address if security else address.replace("tls://", "tcp://")
    theirs = distributed.Security.temporary() if security else None
    ran = tmp_path / "ran"
    with (
        pytest.raises(OSError),
        distributed.Client(address, security=theirs, timeout="3s", set_as_default=False) as client,
    ):
        client.submit(ran.touch).result(timeout=10)
    assert not ran.exists()


def test_no_port_of_it_speaks_without_tls(cluster):
    """A scheduler, a nanny and a worker; and pages, of which there are none."""
    import urllib.error
    import urllib.request

    import psutil

    mine = psutil.Process()
    listening = {
        each.laddr.port
        for process in (mine, *mine.children(recursive=True))
        for each in process.net_connections()
        if each.status == "LISTEN" and each.laddr.ip == "127.0.0.1"
    }
    assert len(listening) >= 5
    assert set(greetings(listening).values()) == {b""}
    for port in listening:
        with pytest.raises((urllib.error.HTTPError, ConnectionError)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/info/main/workers.html", timeout=10)


def test_news_that_an_unknown_worker_has_left_ends_nothing(cluster):
    """A list of the workers may overtake it. Dask's own cluster cannot be closed then, as the fixture is."""
    stranger, mark = "tls://127.0.0.1:1", "after the stranger"
    news = [["remove", stranger], ["add", {"workers": {}, mark: True}]]
    cluster.loop.add_callback(cluster.scheduler.plugins["worker-status"].bcomm.send, *news)
    end = time.monotonic() + 20
    while mark not in cluster.scheduler_info and time.monotonic() < end:
        assert not cluster._watch_worker_status_task.done()
        time.sleep(0.01)
    assert mark in cluster.scheduler_info


def test_a_worker_that_is_slow_to_come_back_is_started_again(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        worker = client.submit(os.getpid).result(timeout=60)
        os.kill(worker, signal.SIGKILL)
        time.sleep(5)  # until Dask has ended what it has dropped
        assert client.submit(os.getpid, pure=False).result(timeout=100) != worker
