"""Executors, shards, interruptions, places: whatever happens to a study, its bytes are the same."""

import concurrent.futures
import dataclasses
import errno
import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax._util.directories import open_directory
from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax._util.system import host_name
from chinchilla_jax.cli import main
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.report import finish_study, run_shard, run_study
from chinchilla_jax.solvers import Problem, dispatch, engine_choice, requests
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS
from chinchilla_jax.solvers.requests import Request, side_by_side
from chinchilla_jax.study import Shard, StudySpec, Sweep, chunks, compute_study, open_study, paper_study
from chinchilla_jax.study.chunks import ResampleRange, plan_ranges
from chinchilla_jax.study.execution import executors, jobs, multihost, planning
from chinchilla_jax.study.execution.cache import SingleFlightCache
from chinchilla_jax.study.execution.executors import ExecutorChoice
from chinchilla_jax.study.spec.reproduce import spec_toml
from chinchilla_jax.study.write_behind import writing_behind

SPEC = StudySpec(
    sweeps=(
        Sweep(family="systematic_bias", values=(0.8, 1.25)),
        Sweep(family="additive", values=(-1e9,)),
        Sweep(family="log_normal_noise", values=(0.3,), repeats=2),
    ),
    resamples=20,
    flops=(1e20, 1e22, 1e24),
)
N_CONDITIONS = 6
QUIET = {"progress": None, "figures": False}


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(spec_toml(SPEC), encoding="utf-8")
    return str(path)


def contents(path):
    """Every table of a study, as the bytes of its file."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*.parquet"))}


def chunk_files(path):
    return sorted((path / "fits").glob("part-*.parquet"))


def refused(action, *arguments, kind=UsageError, **options):
    with pytest.raises(kind) as caught:
        action(*arguments, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- ranges ------------------------------------------------------------------------------------------------


@given(st.integers(2, 10**6), st.integers(1, 10**7), st.lists(st.integers(1, 30_000), max_size=3))
def test_ranges_cover_every_resample_once_however_the_study_grew(resamples, n_runs, steps):
    ranges = ()
    for more in (*steps, resamples):
        wanted = max(more, ranges[-1].stop if ranges else 0)
        grown = plan_ranges(wanted, n_runs, kept=ranges)
        assert grown[: len(ranges)] == ranges, "what is there stays"
        assert grown[0].first == 0 and grown[-1].stop == wanted
        assert all(one.stop == other.first for one, other in itertools.pairwise(grown))
        assert all(len(each) > 0 for each in grown)
        ranges = grown


def test_the_default_study_has_one_chunk_per_condition():
    assert plan_ranges(4000, 240) == (ResampleRange(0, 4000),)
    assert plan_ranges(20_000, 240)[0] == ResampleRange(0, 4000)
    assert len(plan_ranges(20_000, 240)) == 5
    assert len(plan_ranges(4000, 10**6)) == 32, "weights of a large table are held in parts"


# --- executors and shards ----------------------------------------------------------------------------------


class Contrary(concurrent.futures.Executor):
    """Runs the latest job first and twice, on pickled copies, and loses one submission for good.

    Like Dask, it takes two calls with equal arguments for one.
    """

    def __init__(self):
        self.waiting = []
        self.lost = 0
        self.dead = None

    def submit(self, function, /, *arguments):
        future = concurrent.futures.Future()
        self.waiting.append((future, pickle.dumps((function, arguments))))
        threading.Timer(0.05, self.work).start()
        return future

    def work(self):
        future, call = self.waiting.pop()
        function, arguments = pickle.loads(call)
        self.dead = self.dead or call
        if call == self.dead:
            self.lost += 1
            future.set_exception(type("KilledWorker", (Exception,), {})("the worker died"))
            return
        function(*arguments)
        future.set_result(pickle.loads(pickle.dumps(function(*arguments))))


@pytest.fixture
def kept_programs(tmp_path_factory, monkeypatch):
    """Processes started by a test share one cache of compiled programs."""
    folder = tmp_path_factory.getbasetemp() / "programs"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


EXECUTORS = {
    "threads": lambda: None,
    "a pool of the caller": lambda: concurrent.futures.ThreadPoolExecutor(3),
    "contrary": Contrary,
    "processes": lambda: concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ),
    "dask": lambda: "dask",
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", list(EXECUTORS))
@pytest.mark.slow
def test_every_executor_gives_the_same_bytes(study, tmp_path, kept_programs, name):
    executor = EXECUTORS[name]()
    run_study(SPEC, tmp_path / "out", executor=executor, workers=1, **QUIET)
    assert contents(tmp_path / "out") == contents(study.path)
    if isinstance(executor, Contrary):
        assert executor.lost == 1
    if isinstance(executor, concurrent.futures.Executor) and name != "contrary":
        assert executor.submit(abs, -1).result() == 1, "left open for the caller"
        executor.shutdown()


def test_processes_beside_this_one_give_the_same_bytes(study, tmp_path, monkeypatch):
    ready, begin = [], executors.WorkerProcesses
    monkeypatch.setattr(executors, "drawing_kernel", lambda: ready.append("compiled"))
    monkeypatch.setattr(executors, "WorkerProcesses", lambda *of: ready.append("begun") or begin(*of))
    run_study(SPEC, tmp_path, executor="processes", workers=2, **QUIET)
    assert contents(tmp_path) == contents(study.path)
    assert ready == ["compiled", "begun"], "not by each process"


def test_large_studies_that_the_kernel_fits_compute_in_processes(monkeypatch):
    large = paper_study()
    auto = ExecutorChoice(workers=2)
    assert executors.settled(auto, large).executor == "processes"
    for choice, spec in (
        (auto, dataclasses.replace(large, sweeps=(), resamples=10_000)),
        (auto, dataclasses.replace(large, law="kaplan")),
        (auto, dataclasses.replace(large, engine="xla")),
        (auto, dataclasses.replace(large, solver="optax-lbfgs")),
        (auto, "not a study"),
        (ExecutorChoice(workers=1), large),
        (ExecutorChoice("threads", workers=2), large),
    ):
        assert executors.settled(choice, spec) is choice
    monkeypatch.setattr(engine_choice, "accelerated", lambda: True)
    assert executors.settled(auto, large) is auto, "a device is not shared"
    monkeypatch.undo()
    monkeypatch.setenv("CHINCHILLA_JAX_ENGINE", "xla")
    assert executors.settled(auto, large) is auto


def test_what_is_not_an_executor_is_refused(tmp_path):
    assert "did you mean 'dask'" in refused(run_study, SPEC, tmp_path / "a", executor="dsk", **QUIET)
    assert "concurrent.futures.Executor" in refused(run_study, SPEC, tmp_path / "b", executor=3, **QUIET)
    assert "needs the executor dask" in refused(
        run_study, SPEC, tmp_path / "c", scheduler="tcp://x:1", **QUIET
    )
    assert not list(tmp_path.iterdir()), "before anything is written"


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_shards_have_no_chunk_in_common_and_make_up_the_study(count):
    ranges = (ResampleRange(0, 10), ResampleRange(10, 20))
    every = chunks.plan_chunks(SPEC, {"standard": "x"}, ranges)
    parts = [Shard(i + 1, count).of(every) for i in range(count)]
    assert sorted((p for part in parts for p in part), key=every.index) == list(every)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 2


def test_shards_in_any_order_make_the_same_study(study, tmp_path):
    out = tmp_path / "out"
    for number in (3, 1):
        status = run_shard(SPEC, out, Shard(number, 3), **QUIET)
        assert status.state == "stopped"
        assert "chunks are missing" in refused(finish_study, out)
        assert "not complete" in refused(open_study, out)
    assert (status.chunks, status.chunks_done, status.fits, status.fits_done) == (6, 4, 120, 80)
    assert status.failures["additive=-1000000000.0"] == 20
    assert run_shard(SPEC, out, Shard(2, 3), **QUIET).state == "complete"
    assert contents(out) == contents(study.path)
    assert finish_study(out, **QUIET).reused


@pytest.mark.slow
def test_two_processes_of_jaxs_runtime_make_the_same_study(study, spec_file, tmp_path, kept_programs):
    """They find each other through a coordinator on loopback, which also gives them their shards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    code = (
        "import sys\n"
        "from chinchilla_jax.cli import main\n"
        f"arguments = ['study', {spec_file!r}, '--out', {str(tmp_path / 'out')!r}, '--no-figures']\n"
        "sys.exit(main([*arguments, '--executor', 'jax']))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ
            | {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "shard 1/2 done" in said[0] and "shard 2/2 done" in said[1]
    assert contents(tmp_path / "out") == contents(study.path)


@pytest.mark.parametrize(("listens", "seen"), [(False, "has not answered (Connection refused)"),
                                              (True, "has not answered for")])  # fmt: skip
def test_a_coordinator_that_is_away_is_named_before_jax_ends_the_process(listens, seen, monkeypatch):
    monkeypatch.setattr(multihost, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(multihost, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(multihost, "_PROBE_SECONDS", 0.05)
    over = threading.Event()
    monkeypatch.setattr(multihost, "_visit", lambda address: over.wait())  # as JAX waits
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        if listens:
            place.listen()
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", f"127.0.0.1:{place.getsockname()[1]}")
        said = refused(multihost.join, None, kind=ChinchillaError)
    over.set()
    assert seen in said and "Chunks that were written are kept" in said


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/2/3", "²/3"])
def test_what_is_not_a_shard_is_refused(text):
    assert "I/N" in refused(Shard.parse, text)


def test_two_writers_at_once_make_one_study(study, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_study, SPEC, tmp_path / "out", **QUIET) for _ in range(2)]
        for done in runs:
            done.result()
    assert contents(tmp_path / "out") == contents(study.path)


def test_two_studies_at_once_are_the_same_as_in_turn(study, tmp_path):
    other = StudySpec(resamples=20, seed=3, flops=SPEC.flops)
    alone = run_study(other, tmp_path / "alone", **QUIET)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_study, spec, tmp_path / str(spec.seed), **QUIET) for spec in (SPEC, other)]
        first, second = (done.result() for done in runs)
    assert contents(first.path) == contents(study.path)
    assert contents(second.path) == contents(alone.path)


# --- interruptions -----------------------------------------------------------------------------------------


def test_more_resamples_keep_the_first_bit_for_bit(study, copy, monkeypatch):
    monkeypatch.setattr(chunks, "_LENGTH", 16)
    before = contents(copy)
    spec = StudySpec.from_dict(SPEC.to_dict() | {"resamples": 50})
    longer = run_study(spec, copy, **QUIET)
    after = contents(copy)
    assert {name: after[name] for name in before if name.startswith("fits/")} == {
        name: content for name, content in before.items() if name.startswith("fits/")
    }
    assert len(chunk_files(copy)) == N_CONDITIONS * 4, "0-20, 20-32, 32-48, 48-50"
    fits = longer.fits("identity")
    assert fits["resample"].tolist() == list(range(50))
    assert fits.iloc[:20].equals(study.fits("identity"))
    fresh = run_study(spec, copy.parent / "fresh", **QUIET)
    for name in ("E", "A", "B", "alpha", "beta", "objective_value"):
        np.testing.assert_allclose(longer.fits()[name], fresh.fits()[name], rtol=1e-7)
    assert (longer.params["n_converged"] + longer.params["n_failed"] == 50).all()
    assert "already has 50 resamples" in refused(run_study, SPEC, copy, **QUIET)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
def test_a_stopped_process_loses_nothing_that_it_has_written(study, spec_file, tmp_path, kept_programs, blow):
    out = tmp_path / "out"
    code = (
        "import signal, sys, time\n"
        # A shell that runs tests in the background has its children ignore Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from chinchilla_jax.study import finished\n"
        # Slow enough to be stopped halfway.
        "fast = finished.run_job\n"
        "finished.run_job = lambda *job: (time.sleep(0.3), fast(*job))[1]\n"
        "from chinchilla_jax.cli import main\n"
        f"sys.argv = ['', 'study', {spec_file!r}, '--out', {str(out)!r}, '--workers', '1', '--no-figures']\n"
        "sys.exit(main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(chunk_files(out)) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(blow)
    said = process.communicate(timeout=120)[1]
    kept = contents(out)
    assert 2 <= len(kept) < N_CONDITIONS, said
    if blow == signal.SIGINT:
        assert process.returncode == 1
        assert "chunks are kept; rerun the same command to resume" in said
        assert said.count("\n") == 1
    else:
        assert process.returncode == -signal.SIGKILL
        # What a kill within a write leaves behind.
        (out / "fits" / f".0.{host_name()}.{process.pid}.tmp").touch()
    listener = Counting()
    run_study(SPEC, out, progress=listener, figures=False)
    assert listener.done == 20 * (N_CONDITIONS - len(kept)), "only what was missing"
    assert contents(out) == contents(study.path)
    assert not list(out.rglob("*.tmp"))


class Counting(Progress):
    def __init__(self):
        self.done = 0
        self.notes = []

    def advance(self, done):
        self.done += done

    def note(self, text):
        self.notes.append(text)


def test_a_full_disk_gives_one_line_and_loses_no_chunk(study, tmp_path, monkeypatch):
    real, left = os.fsync, [6]  # study.json and its folder, then chunks with theirs

    def full(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = refused(run_study, SPEC, tmp_path / "out", workers=1, kind=ChinchillaError, **QUIET)
    assert "No space left" in said and "rerun the same command" in said
    assert len(chunk_files(tmp_path / "out")) == 2
    assert not list((tmp_path / "out").rglob("*.tmp"))
    run_study(SPEC, tmp_path / "out", **QUIET)
    assert contents(tmp_path / "out") == contents(study.path)


def test_a_second_copy_of_a_chunk_is_not_counted(study, copy):
    first = chunk_files(copy)[0]
    stem = first.name.rpartition("-")[0]
    other = first.with_name(f"{stem}-{'f' * 32}.parquet")
    other.write_bytes(b"the same chunk, another machine's digits")
    (copy / "study.json").unlink()
    refused(run_study, SPEC, copy, **QUIET)  # without a record nothing is touched
    shutil.copy(study.path / "study.json", copy)
    (copy / "point.parquet").unlink()
    run_study(SPEC, copy, **QUIET)
    assert contents(copy) == contents(study.path)


def test_all_conditions_share_a_few_calls_and_no_bit_depends_on_it(study, tmp_path, monkeypatch):
    """Alone, a condition takes as many calls as all of them together."""
    made = []
    for name, most in (("together", 16), ("alone", 1)):
        monkeypatch.setattr(jobs, "_groups", SingleFlightCache(16))
        monkeypatch.setattr(planning, "_MOST_CHUNKS", most)
        monkeypatch.setattr(planning, "_JOBS_PER_WORKER", 1)
        monkeypatch.setattr(planning, "_LEAST_CONDITIONS", most)
        monkeypatch.setattr(planning, "_MOST_CONDITIONS", most)
        before = ENGINE_CALLS.calls
        run_study(SPEC, tmp_path / name, workers=1, **QUIET)
        made.append(ENGINE_CALLS.calls - before)
        assert contents(tmp_path / name) == contents(study.path)
    assert made[0] <= 24 and made[1] >= 2 * made[0]


@given(
    n_conditions=st.integers(1, 40),
    resamples=st.integers(2, 20_000),
    n_runs=st.sampled_from([240, 5_000, 60_000]),
    workers=st.integers(1, 9),
    shared=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_jobs_hold_every_chunk_once_and_bounded_weights(n_conditions, resamples, n_runs, workers, shared):
    sweep = Sweep(family="multiplicative", values=tuple(np.linspace(0.5, 0.9, n_conditions).tolist()))
    spec = StudySpec(sweeps=(sweep,), resamples=resamples, flops=(1e20, 1e22))
    runs = types.SimpleNamespace(runs=range(n_runs))
    data = {spec.interpretations[0]: runs}
    planned = chunks.plan_chunks(spec, dict.fromkeys(data, "hash"), plan_ranges(resamples, n_runs))
    found = planning.plan_jobs(spec, planned, data, planning.Workplace(workers, shared))
    assert sorted(chunk.stem for job in found for chunk in job.chunks) == sorted(c.stem for c in planned)
    for job in found:
        assert {chunk.condition.id for chunk in job.chunks} <= {condition.id for condition in job.group}
        different = {chunk.resamples for chunk in job.chunks}
        assert len(different) == 1 or sum(map(len, different)) * n_runs <= 2**26
        assert len(job.chunks) <= 16 and (n_runs < 1e4 or len(job.group) <= 16)


class SlowStore:
    """Writes later chunks sooner, and one of them never."""

    def __init__(self, broken=None):
        self.files, self.broken = [], broken

    def write(self, chunk, result):
        time.sleep(0.002 * (4 - chunk % 4))
        if chunk == self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files.append(chunk)
        return f"file {chunk}"


def test_chunks_are_written_behind_and_told_in_order():
    store, told = SlowStore(), []
    with writing_behind(store.write, 8, lambda *of: told.append(of[:3])) as write:
        for chunk in range(40):
            write(chunk, -chunk)
            assert chunk - len(told) <= 16, "a slow disk leaves no more than these in memory"
    assert told == [(chunk, -chunk, f"file {chunk}") for chunk in range(40)]
    assert sorted(store.files) == list(range(40))


@pytest.mark.parametrize(("broken", "error"), [(None, ValueError), (3, OSError)])
def test_what_came_before_an_error_is_written(broken, error):
    store = SlowStore(broken)
    with pytest.raises(error), writing_behind(store.write, 2, lambda *of: None) as write:
        for chunk in range(8):
            write(chunk, None)
        if broken is None:
            raise ValueError("a job failed")
    assert sorted(store.files)[: 8 if broken is None else broken] == list(range(broken or 8))
    assert broken not in store.files


def test_an_interrupt_waits_for_no_chunk():
    store = SlowStore()
    with pytest.raises(KeyboardInterrupt), writing_behind(store.write, 1, lambda *of: None) as write:
        for chunk in range(12):
            write(chunk, None)
        raise KeyboardInterrupt
    assert len(store.files) < 12


def test_the_last_conditions_come_first_and_the_last_jobs_are_small():
    sweep = Sweep(family="multiplicative", values=tuple(np.linspace(0.5, 0.9, 99).tolist()))
    spec = StudySpec(sweeps=(sweep,), resamples=100, flops=(1e20, 1e22))
    data = {spec.interpretations[0]: types.SimpleNamespace(runs=range(240))}
    planned = chunks.plan_chunks(spec, dict.fromkeys(data, "hash"), plan_ranges(100, 240))
    found = planning.plan_jobs(spec, planned, data, planning.Workplace(2, shared=True))
    assert max(chunk.index for chunk in found[0].chunks) == 99
    assert {chunk.index for job in found[-2:] for chunk in job.chunks} == {0, 1}
    groups = list(dict.fromkeys(job.group for job in found))
    assert [len(group) for group in groups] == [50, 50] and found[1].group == groups[1]
    alone = found[1].by_itself()
    assert alone.group == tuple(chunk.condition for chunk in alone.chunks) and alone.chunks == found[1].chunks
    sizes = [len(job.chunks) for job in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[-2:] == [1, 1] and len(found) < 20


def test_what_is_needed_afterwards_is_loaded_while_a_study_computes(study, tmp_path):
    code = "import sys, chinchilla_jax.report.run; print('pandas' in sys.modules)"
    started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert started.stdout.strip() == "False", "before the first fit"
    threads, reporter, choice = [], Progress(), ExecutorChoice(workers=1)

    def meanwhile():
        threads.append(threading.current_thread().name)
        raise ImportError  # which is the caller's affair, later

    for _ in range(2):  # the second time there is nothing to compute
        compute_study(SPEC, tmp_path, choice, reporter, meanwhile=meanwhile)
    assert threads == ["meanwhile"]
    assert contents(tmp_path) == contents(study.path)


def test_tables_that_were_just_written_are_as_they_would_be_read(study, tmp_path):
    made = compute_study(SPEC, tmp_path, ExecutorChoice(workers=1), Progress())
    assert set(made._written) == {"conditions", "point", "params", "tokens_per_param"}
    for name in ("conditions", "point", "params", "tokens_per_param"):
        pd.testing.assert_frame_equal(getattr(made, name), getattr(study, name), check_exact=True)
    assert not made._written, "nothing is kept twice"


def test_no_more_groups_are_under_way_than_are_kept(monkeypatch):
    """Or what is done for a group would be done again for each of its jobs."""
    for name, most in (("_MOST_CONDITIONS", 4), ("_LEAST_CONDITIONS", 4), ("_MOST_CHUNKS", 1)):
        monkeypatch.setattr(planning, name, most)
    sweep = Sweep(family="multiplicative", values=tuple(np.linspace(0.5, 0.9, 100).tolist()))
    spec = StudySpec(sweeps=(sweep,), resamples=100, flops=(1e20, 1e22))
    data = {spec.interpretations[0]: types.SimpleNamespace(runs=range(240))}
    planned = chunks.plan_chunks(spec, dict.fromkeys(data, "hash"), plan_ranges(100, 240))
    found = [
        job.group for job in planning.plan_jobs(spec, planned, data, planning.Workplace(32, shared=True))
    ]
    under_way = [len(set(found[:k]) & set(found[k:])) for k in range(len(found))]
    assert len(set(found)) > planning._MOST_GROUPS >= max(under_way)


def test_jobs_are_large_only_where_a_device_takes_the_steps(monkeypatch):
    sweep = Sweep(family="multiplicative", values=tuple(np.linspace(0.5, 0.9, 200).tolist()))
    spec = StudySpec(sweeps=(sweep,), resamples=100, flops=(1e20, 1e22))
    data = {spec.interpretations[0]: types.SimpleNamespace(runs=range(240))}

    def largest(**changes) -> int:
        asked = dataclasses.replace(spec, **changes)
        planned = chunks.plan_chunks(asked, dict.fromkeys(data, "hash"), plan_ranges(100, 240))
        jobs = planning.plan_jobs(asked, planned, data, planning.Workplace(2, shared=True))
        return max(len(job.chunks) for job in jobs)

    assert largest(engine="xla") == largest() == 16
    monkeypatch.setattr(dispatch, "accelerated", lambda: True)
    monkeypatch.setattr(dispatch, "chosen_kernel", lambda engine: None if engine == "xla" else object())
    assert largest(engine="xla") == 201, "all conditions"
    assert largest() == largest(solver="optax-lbfgs") == 16


def test_too_little_device_memory_halves_a_call(study, tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "_LEAST_LANES", 2)
    real = requests.solve_many

    def small(batch, starts, **options):
        if len(batch) > 30 and len(batch.weights) == 20:  # the resamples, of all conditions of a job
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9999 bytes")
        return real(batch, starts, **options)

    monkeypatch.setattr(requests, "solve_many", small)
    monkeypatch.setattr(planning, "_JOBS_PER_WORKER", 1)
    listener = Counting()
    found = run_study(SPEC, tmp_path / "out", progress=listener, figures=False, workers=1)
    notes = [note["note"] for note in found.info["notes"] if "device memory" in note["note"]]
    assert notes and "fitted 20 at a time" in notes[0]
    assert any("device memory" in note for note in listener.notes)
    assert fits_of(tmp_path / "out") == fits_of(study.path)


def fits_of(directory):
    """The chunks of a study, by name: their notes are in study.json."""
    return {path.name: path.read_bytes() for path in sorted((directory / "fits").glob("*.parquet"))}


def test_other_errors_are_not_taken_for_memory(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("INTERNAL: something else")

    monkeypatch.setattr(requests, "solve_many", broken)
    design = Design.from_runs(cj.load_runs("chinchilla"))
    problem = Problem(law=CHINCHILLA, design=design, objective=cj.Huber())
    request = Request(problem=problem, weights=np.ones((200, len(design))), starts=[np.zeros((200, 5))])

    def asking():
        return (yield request)

    with pytest.raises(RuntimeError, match="something else"):
        side_by_side([asking()], lambda lanes: None)


def test_shared_values_are_computed_once_and_failures_are_not_cached():
    cache, calls = SingleFlightCache(2), []
    gate = threading.Barrier(4)

    def compute():
        calls.append(1)
        time.sleep(0.05)
        return object()

    def ask():
        gate.wait()
        return cache.get("key", compute)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        values = {done.result() for done in [pool.submit(ask) for _ in range(4)]}
    assert len(calls) == 1 and len(values) == 1
    with pytest.raises(ZeroDivisionError):
        cache.get("bad", lambda: 1 / 0)
    assert cache.get("bad", lambda: 3) == 3


# --- places ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "place")
    root = "memory:/" if request.param == "memory" else request.getfixturevalue("s3")
    return f"{root}/{uuid.uuid4().hex}/place"


REMOTE_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@REMOTE_WARNINGS
def test_every_directory_keeps_the_contract(place):
    directory = open_directory(place)
    assert directory.location == place
    assert not directory.exists("a") and directory.list_files("fits") == {}
    with pytest.raises(FileNotFoundError):
        directory.read("a")
    assert directory.create("a", b"first") and not directory.create("a", b"second")
    assert directory.read("a") == b"first"
    directory.write("fits/b", b"x" * 1000)
    directory.write("fits/b", b"y" * 10)
    directory.write("fits/c", b"")
    assert {name: info.size for name, info in directory.list_files("fits").items()} == {"b": 10, "c": 0}
    assert abs(directory.list_files("fits")["b"].modified - time.time()) < 100
    assert set(directory.list_files("")) == {"a"}
    directory.remove("fits/b")
    directory.remove("fits/b")
    assert directory.exists("fits/c") and not directory.exists("fits/b")
    directory.clean_up()


@REMOTE_WARNINGS
@pytest.mark.usefixtures("drawn_once")
def test_a_study_in_any_place_is_the_same_and_resumes(study, place, monkeypatch):
    def one_figure(figures, **_):
        yield "one.png", place.encode()

    monkeypatch.setattr("chinchilla_jax.report.upkeep.figure_files", one_figure)
    run_shard(SPEC, place, Shard(1, 2), **QUIET)
    found = run_study(SPEC, place, progress=None)
    assert found.fits().equals(study.fits()) and found.params.equals(study.params)
    assert run_study(SPEC, place, progress=None).reused
    directory = open_directory(place)
    assert directory.read("figures/one.png") == place.encode()
    assert b"<html" in directory.read("report.html")
    name = found.info["parts"][2]["file"]
    content = bytearray(directory.read(name))
    content[100] ^= 1
    directory.write(name, bytes(content))
    assert name in refused(open_study(place).fits, kind=DataError)
    assert run_study(SPEC, place, **QUIET).fits().equals(study.fits())
    if "://" in place:
        assert "study.location" in refused(lambda: found.path)
    else:
        assert [file.name for file in found.figures] == ["one.png"]


def test_an_unknown_protocol_is_refused():
    assert "nosuch://x" in refused(open_directory, "nosuch://x")


# --- the command line --------------------------------------------------------------------------------------


def test_the_commands_init_check_run_status_and_finish(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "init"]) == 0
    assert main(["study", "init"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["study", "check", "study.toml", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "chinchilla (embedded), 240 runs" in out and "1,000 resamples each" in out
    (tmp_path / "small.toml").write_text('interpretations = ["standard", "reported"]\nresamples = 20\n')
    for shard in ("1/2", "2/2"):
        arguments = ["study", "small.toml", "--out", "out", "--shard", shard, "--no-figures"]
        assert main(arguments) == 0
        assert main(["study", "status", "out"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 chunks, 20 of 40 fits (50%)" in out and "2 of 2 chunks" in out and "complete" in out
    assert main(["study", "finish", "out", "--no-figures"]) == 0
    assert "nothing computed" in capsys.readouterr().out
    assert main(["study", "finish", "elsewhere"]) == 2
    assert "no such directory" in capsys.readouterr().err
    assert main(["study", "check", "study.toml", "--workers", "0"]) == 2
    assert "'--workers': '0'" in capsys.readouterr().err
    assert main(["study", "paper", "--out", "x", "--executor", "jx"]) == 2
    assert "did you mean 'jax'" in capsys.readouterr().err
    assert main(["study", "chek", "study.toml"]) == 2
    assert "did you mean 'check'" in capsys.readouterr().err.lower()


def test_a_finished_study_is_opened_without_the_solver(copy):
    code = (
        "import json, sys\n"
        "from chinchilla_jax.report import run_study\n"
        "from chinchilla_jax.study import StudySpec, study_status\n"
        f"out = {str(copy)!r}\n"
        "spec = StudySpec.from_dict(json.load(open(out + '/study.json'))['spec'])\n"
        "assert run_study(spec, out, figures=False).reused\n"
        "assert study_status(out).state == 'complete'\n"
        "assert not {'jax', 'optax', 'matplotlib', 'dask', 'fsspec'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_fewer_resamples_than_there_are_get_the_number(tmp_path):
    run_study(SPEC, tmp_path / "out", **QUIET)
    fewer = dataclasses.replace(SPEC, resamples=SPEC.resamples - 5)
    said = refused(run_study, fewer, tmp_path / "out")
    assert f"already has {SPEC.resamples} resamples; give --resamples {SPEC.resamples} or more" in said


def test_sigterm_ends_a_study_as_ctrl_c_does(tmp_path):
    command = [sys.executable, "-m", "chinchilla_jax", "study", "paper", "--out", "out", "--resamples", "500"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("out/fits/*.parquet")):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert "rerun the same command" in process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert json.loads((tmp_path / "out" / "study.json").read_text())["state"] == "interrupted"
