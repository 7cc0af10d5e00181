"""Time and memory of a bootstrap by number of resamples and by number of runs.

    python benchmarks/growth.py                        # 10^5 and 10^6 resamples; 50 to 5,000 runs; 10^5 runs
    python benchmarks/growth.py --resamples 10000000   # one size of bootstrap only, here 10^7
    python benchmarks/growth.py --smoke                # seconds, for the gate

Every row runs in its own process, so that peak memory is per row; a bootstrap of the same shapes runs first
to compile. Ratios are to the first row of each table: 1.0 throughout would be exactly linear.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

import numpy as np

import chinchilla_jax as cj

LAW = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resamples", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument(
        "--runs", type=int, nargs="*", default=[50, 500, 5000], help="with --per-table resamples"
    )
    parser.add_argument("--per-table", type=int, default=2000)
    parser.add_argument(
        "--large", type=int, default=100_000, help="runs of one table, with 64 resamples; 0: none"
    )
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.resamples, args.runs, args.per_table, args.large = [200, 400], [50, 200], 64, 0
    elif args.resamples != parser.get_default("resamples"):
        args.runs, args.large = [], 0

    print("resamples of 240 runs")
    table([(240, resamples) for resamples in args.resamples])
    if args.runs:
        print(f"\nruns, {args.per_table} resamples each")
        table([(runs, args.per_table) for runs in args.runs])
    if args.large:
        print("\none large table")
        table([(args.large, 64)])


def table(sizes: list[tuple[int, int]]) -> None:
    print(f"{'runs':>7} {'resamples':>10} {'certified':>10} {'seconds':>8} {'fits/s':>8} ", end="")
    print(f"{'ns per run and fit':>18} {'ratio':>6} {'peak (MB)':>9} {'10^8 fits (h)':>13}")
    first = None
    for n_runs, resamples in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            certified, seconds, peak = pool.apply(measure, (n_runs, resamples))
        each = seconds / (n_runs * resamples) * 1e9
        first = first or each
        print(
            f"{n_runs:7d} {resamples:10d} {certified:10d} {seconds:8.1f} {resamples / seconds:8.0f} ", end=""
        )
        print(
            f"{each:18.1f} {each / first:6.2f} {peak:9.0f} {seconds / resamples * 1e8 / 3600:13.2f}",
            flush=True,
        )


def measure(n_runs: int, resamples: int) -> tuple[int, float, float]:
    """Certified fits, seconds and peak memory (MB) of one bootstrap."""
    runs = cj.load_runs("chinchilla") if n_runs == 240 else made_up(n_runs)
    point = cj.fit(runs, starts=32)
    cj.bootstrap(runs, resamples=min(resamples, 64), point=point)
    begun = time.perf_counter()
    result = cj.bootstrap(runs, resamples=resamples, point=point)
    seconds = time.perf_counter() - begun
    return int(result.converged.sum()), seconds, _peak()


def _peak() -> float:
    """The largest memory of this process so far (MB); NaN on Windows, where it cannot be asked for."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def made_up(n_runs: int) -> cj.Runs:
    """Runs over four decades of size and tokens under `LAW`, with heavy-tailed noise on the loss."""
    rng = np.random.default_rng(0)
    params, tokens = np.exp(rng.uniform(np.log([1e7, 1e9]), np.log([1e11, 1e13]), (n_runs, 2))).T
    loss = LAW.loss(params, tokens) * np.exp(0.005 * rng.standard_t(3, n_runs))
    return cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


if __name__ == "__main__":
    main()
