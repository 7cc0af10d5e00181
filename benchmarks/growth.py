"""CPU time and memory of a bootstrap by number of resamples and of runs, and of a study by its conditions.

    python benchmarks/growth.py                        # 10^5 and 10^6 resamples; 50 to 5,000 runs; 10^5 runs
    python benchmarks/growth.py --resamples 10000000   # one size of bootstrap only, here 10^7
    python benchmarks/growth.py --conditions 1000      # a study of that many only, with 200 resamples each
    python benchmarks/growth.py --smoke                # seconds, for the gate

Every row runs in its own process, so that peak memory is per row; a smaller one of the same shapes runs first
to compile. CPU time is that of all threads. Ratios are to the first row of each table: 1.0 throughout would
be exactly linear. A study includes its tables, summaries and page, without figures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _machine import clocked

import chinchilla_jax as cj
from chinchilla_jax._util.system import peak_memory
from chinchilla_jax.study.spec.sweeps import Sweep

PER_CONDITION = 200  # resamples
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
    parser.add_argument("--conditions", type=int, help="of a study")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.resamples, args.runs, args.per_table, args.large = [200, 400], [50, 200], 64, 0
        args.conditions = 4
    elif args.conditions:
        args.resamples, args.runs, args.large = [], [], 0
    elif args.resamples != parser.get_default("resamples"):
        args.runs, args.large = [], 0

    if args.resamples:
        print("resamples of 240 runs")
        table([(240, resamples) for resamples in args.resamples])
    if args.runs:
        print(f"\nruns, {args.per_table} resamples each")
        table([(runs, args.per_table) for runs in args.runs])
    if args.large:
        print("\none large table")
        table([(args.large, 64)])
    if args.conditions:
        print(f"\na study of {args.conditions} conditions, 240 runs, {PER_CONDITION} resamples each")
        certified, used, peak, size = _alone(measure_study, args.conditions)
        fits = args.conditions * PER_CONDITION
        print(
            f"{fits} fits, {certified} certified; {used:.1f} CPU s, {fits / used:.0f} fits per CPU s; ",
            end="",
        )
        print(f"peak {peak:.0f} MB; directory {size:.1f} MB")


def table(sizes: list[tuple[int, int]]) -> None:
    head = (
        f"{'runs':>7} {'resamples':>10} {'certified':>10} {'seconds':>8} {'CPU s':>7} {'fits per CPU s':>14} "
    )
    print(head + f"{'ns per run and fit':>18} {'ratio':>6} {'peak (MB)':>9} {'10^8 fits (CPU h)':>17}")
    first = None
    for n_runs, resamples in sizes:
        certified, seconds, used, peak = _alone(measure, n_runs, resamples)
        each = used / (n_runs * resamples) * 1e9
        first = first or each
        rate, hours = resamples / used, used / resamples * 1e8 / 3600
        print(f"{n_runs:7d} {resamples:10d} {certified:10d} {seconds:8.1f} {used:7.2f} {rate:14.0f} ", end="")
        print(f"{each:18.1f} {each / first:6.2f} {peak:9.0f} {hours:17.2f}", flush=True)


def _alone(work: Callable[..., Any], *arguments: int) -> Any:
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def measure(n_runs: int, resamples: int) -> tuple[int, float, float, float]:
    """Certified fits, seconds, CPU seconds and peak memory (MB) of one bootstrap."""
    runs = cj.load_runs("chinchilla") if n_runs == 240 else made_up(n_runs)
    # Given, as the runs' own delta takes 4,500 starts where 64 disagree: 7 CPU s for 10,000 runs.
    point = cj.fit(runs, starts=32, delta=0.01)
    cj.bootstrap(runs, resamples=min(resamples, 64), point=point)
    result, seconds, used = clocked(lambda: cj.bootstrap(runs, resamples=resamples, point=point))
    return int(result.converged.sum()), seconds, used, _peak()


def measure_study(conditions: int) -> tuple[int, float, float, float]:
    """Certified fits, CPU seconds, peak memory and size of the directory (MB) of a study."""

    def spec(repeats: int) -> cj.StudySpec:  # and the identity
        sweep = Sweep(family="log_normal_noise", values=(0.5,), repeats=repeats)
        return cj.StudySpec(data="chinchilla", resamples=PER_CONDITION, sweeps=(sweep,))

    with tempfile.TemporaryDirectory() as folder:
        cj.run_study(spec(1), out=Path(folder) / "small", figures=False, progress=None)
        out = Path(folder) / "study"
        study, _, used = clocked(
            lambda: cj.run_study(spec(conditions - 1), out=out, figures=False, progress=None)
        )
        files = [file for file in out.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files) / 1e6
        certified = study.fits()["status"].astype(str).isin(("CONVERGED", "BOUNDARY"))
        return int(certified.sum()), used, _peak(), size


def _peak() -> float:
    """The largest memory of this process so far (MB); NaN where the system does not say."""
    peak = peak_memory()
    return float("nan") if peak is None else peak / 1e6


def made_up(n_runs: int) -> cj.Runs:
    """Runs over four decades of size and tokens under `LAW`, with heavy-tailed noise on the loss."""
    rng = np.random.default_rng(0)
    params, tokens = np.exp(rng.uniform(np.log([1e7, 1e9]), np.log([1e11, 1e13]), (n_runs, 2))).T
    loss = LAW.loss(params, tokens) * np.exp(0.005 * rng.standard_t(3, n_runs))
    return cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


if __name__ == "__main__":
    main()
