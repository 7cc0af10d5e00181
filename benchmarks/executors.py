"""What it costs to store a study and to distribute it: the store, and Dask workers against threads.

    python benchmarks/executors.py
    python benchmarks/executors.py --smoke         # seconds, for the gate

The store: CPU time of encoding and writing a chunk relative to computing it, for chunks of every kind,
and the elapsed time, which also depends on the disk and on other processes. Dask: the same study by threads
of this process and by as many Dask workers, alternating, as ratios of their rates (other work on the machine
affects these strongly) and of their CPU times. Dask's start-up time is printed separately.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, and Dask for its workers; before NumPy is imported

from _study_chunks import study_chunks  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax._util.devices import available_cores  # noqa: E402
from chinchilla_jax._util.directories import LocalDirectory  # noqa: E402
from chinchilla_jax._util.kept_programs import keep_programs_of_process  # noqa: E402
from chinchilla_jax.study import Sweep  # noqa: E402
from chinchilla_jax.study.execution.dask_cluster import local_cluster  # noqa: E402
from chinchilla_jax.study.execution.jobs import Job, run_job  # noqa: E402
from chinchilla_jax.study.storage.chunk_files import ChunkStore, encode  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=8, help="take every k-th chunk of the paper's study")
    parser.add_argument("--rounds", type=int, default=5, help="threads and Dask alternating")
    parser.add_argument("--smoke", action="store_true", help="a few small chunks, once")
    args = parser.parse_args()
    keep_programs_of_process()
    if args.smoke:
        args.every, args.rounds = 100, 1
    resamples = 200 if args.smoke else 4000
    with tempfile.TemporaryDirectory(prefix="executors-") as folder:
        store(Path(folder) / "store", resamples, args.every)
        dask(Path(folder), resamples, args.rounds, 2 if args.smoke else 40)


def store(folder: Path, resamples: int, every: int) -> None:
    """Print the cost of storing chunks relative to that of computing them."""
    spec = cj.paper_study(resamples=resamples)
    chunks, data = study_chunks(spec)
    chunks = chunks[::every]
    kept = ChunkStore(LocalDirectory(folder), chunks)
    last = chunks[-1]
    kept.write(last, encode(last, run_job(Job.of(spec, last, data[last.condition.params]))[0]))
    work, keep, passed = [], [], []
    for chunk in chunks[:-1]:
        begun = time.process_time()
        result = run_job(Job.of(spec, chunk, data[chunk.condition.params]))[0]
        work.append(time.process_time() - begun)
        begun, clock = time.process_time(), time.perf_counter()
        kept.write(chunk, encode(chunk, result))
        keep.append(time.process_time() - begun)
        passed.append(time.perf_counter() - clock)
    print(
        f"store: {len(keep)} chunks of {resamples:,} fits; {statistics.mean(work):.3f} s of CPU each, kept "
        f"with {1e3 * statistics.mean(keep):.1f} ms of CPU: {100 * sum(keep) / sum(work):.1f}% "
        f"({1e3 * statistics.median(passed):.1f} ms pass, median)"
    )


def dask(folder: Path, resamples: int, rounds: int, conditions: int) -> None:
    """Print the rate of Dask workers relative to that of as many threads."""
    workers = available_cores()
    values = tuple(0.5 + i / conditions for i in range(conditions))
    sweeps = (Sweep(family="systematic_bias", values=values),)
    fits = (conditions + 1) * resamples
    from distributed import Client

    begun = time.perf_counter()
    with (
        local_cluster(workers) as cluster,
        Client(cluster, set_as_default=False) as client,
        ThreadPoolExecutor(workers) as threads,
    ):
        many = client.get_executor(pure=False)
        client.wait_for_workers(workers)
        print(f"dask: {workers} workers ready after {time.perf_counter() - begun:.1f} s")

        def cpu() -> float:
            return time.process_time() + sum(client.run(time.process_time).values())

        def measure(name: str, executor: Executor, seed: int) -> tuple[float, float]:
            """Fits per second while chunks are computed and kept, and per CPU second of the whole study."""
            # A different seed gives different chunks, so nothing kept in memory is reused.
            spec = cj.StudySpec(sweeps=sweeps, resamples=resamples, flops=(1e20, 1e22), seed=seed)
            out, used = folder / f"{name}{seed}", cpu()
            study = cj.run_study(spec, out, executor=executor, workers=workers, figures=False, progress=None)
            return fits / study.info["timing"]["conditions"], fits / (cpu() - used)

        pools = {"threads": threads, "dask": many}
        print(f"{fits:,} fits by {workers}, fits/s (and fits per CPU second):")
        print(f"{'round':>9} {'threads':>20} {'dask':>20} {'ratio':>12}")
        ratios = []
        for number in range(rounds + 1):
            # In the first round the workers import and load; it does not count.
            order = list(pools) if number % 2 else list(reversed(pools))
            found = {name: measure(name, pools[name], number) for name in order}
            ratio = [found["dask"][k] / found["threads"][k] for k in range(2)]
            ratios += [ratio] if number else []
            cells = [f"{found[name][0]:10,.0f} ({found[name][1]:,.0f})" for name in pools]
            print(
                f"{number or 'start-up':>9} {cells[0]:>20} {cells[1]:>20} {ratio[0]:5.2f} ({ratio[1]:.2f})",
                flush=True,
            )
    rate, per_cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"dask over threads, median of {rounds} rounds: rate {rate:.2f}, fits per CPU second {per_cpu:.2f}")


if __name__ == "__main__":
    main()
