"""Workers in processes: who takes which job, and that a process that fails or dies costs time alone."""

import contextlib
import os
import threading
import types
import warnings

import pytest

from chinchilla_jax._util.side_process import SideProcess
from chinchilla_jax.study.execution.processes import WorkerProcesses, side_processes


class Job(types.SimpleNamespace):
    alone = False

    def by_itself(self):
        return Job(group=self.group, number=self.number, alone=True)


def job(*conditions, number=0):
    return Job(group=tuple(types.SimpleNamespace(id=each) for each in conditions), number=number)


class Recorder:
    """In place of a side process: says who has run a job, once the test lets it."""

    def __init__(self, name):
        self.name, self.taken, self.go = name, [], threading.Semaphore(0)

    def submit(self, function, job, *others):
        self.go.acquire(timeout=20)
        self.taken.append((job.number, job.alone))
        return types.SimpleNamespace(result=lambda: (self.name, function(job, *others)))


def number_of(job, *others):
    return job.number


@contextlib.contextmanager
def workers(*beside):
    pool = WorkerProcesses(beside)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def test_a_worker_takes_jobs_of_its_own_conditions_first_then_new_ones_then_others():
    first, started, release = Recorder("first"), threading.Event(), threading.Event()

    def held(job):
        started.set()
        release.wait(20)
        return job.number

    with workers(first) as pool:
        begun = pool.submit(number_of, job("a", number=0))  # by the process, which waits
        mine = pool.submit(held, job("b", number=1))  # by the thread here, which waits too
        assert started.wait(20)
        later = [pool.submit(number_of, job(name, number=n)) for n, name in enumerate("bcab", start=2)]
        for _ in range(5):
            first.go.release()
        assert [future.result(20)[1] for future in later] == [2, 3, 4, 5]
        own, new = [(0, False), (4, False)], [(3, False)]
        assert first.taken == [*own, *new, (2, True), (5, True)], "the others' without their group"
        release.set()
        assert (begun.result(20), mine.result(20)) == (("first", 0), 1)


def of_the_process(job):
    if job.number == 1:
        warnings.warn("for the user", stacklevel=1)
    if job.number == 2:
        raise ValueError("for the user too")
    return os.getpid()


def killed_there(job, here):
    if os.getpid() != here:
        os._exit(1)
    return job.number


def test_what_fails_or_warns_in_a_process_is_run_here():
    with side_processes(1) as beside, workers(*beside) as pool:
        pool._pool._max_workers = 1  # the process alone
        assert pool.submit(of_the_process, job("a")).result(60) != os.getpid()
        with pytest.warns(UserWarning, match="for the user"):
            assert pool.submit(of_the_process, job("a", number=1)).result(60) == os.getpid()
        with pytest.raises(ValueError, match="for the user too"):
            pool.submit(of_the_process, job("a", number=2)).result(60)
        assert pool.submit(killed_there, job("a", number=3), os.getpid()).result(60) == 3
        assert pool.submit(of_the_process, job("a")).result(60) == os.getpid(), "it is dead"


def test_where_no_process_starts_threads_compute(monkeypatch):
    monkeypatch.setattr("chinchilla_jax._util.own_python.command", lambda program: None)
    with side_processes(2) as beside, workers(*beside) as pool:
        assert [pool.submit(of_the_process, job("a")).result(60) for _ in range(3)] == 3 * [os.getpid()]


def test_what_is_cancelled_is_not_run_and_nothing_is_run_again_after_the_end():
    side = SideProcess()
    with workers(side) as pool:
        pool._pool._max_workers = 1
        running = pool.submit(wait_there, job("a"), os.getpid())
        while not running.running():
            pass
        waiting = pool.submit(number_of, job("a"))
        assert waiting.cancel()
        pool.shutdown(wait=False, cancel_futures=True)
        side.__exit__(None, None, None)
        assert running.exception(20) is not None, "not run here instead"


def wait_there(job, here):
    assert os.getpid() != here
    threading.Event().wait(60)
