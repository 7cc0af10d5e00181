"""Certified fits per second over the paper study, without compile time, against SciPy.

    python benchmarks/study_rate.py                 # all 224 conditions, 4,000 resamples
    python benchmarks/study_rate.py --smoke         # seconds, for the gate

The study's own jobs and workers, one per core: point fits, scouting, every fit, certificates. The baseline is
SciPy's BFGS with a hand-written gradient, started at the point fit, on resamples of the first condition, in
one process.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping

from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, before NumPy is imported

import numpy as np  # noqa: E402
from _study_chunks import study_chunks  # noqa: E402
from scipy import optimize  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax.bootstrapping.weights import resample_weights  # noqa: E402
from chinchilla_jax.solvers.base import ENGINES  # noqa: E402
from chinchilla_jax.solvers.status import is_certified  # noqa: E402
from chinchilla_jax.study.execution.executors import ExecutorChoice, settled  # noqa: E402
from chinchilla_jax.study.execution.jobs import run_job  # noqa: E402
from chinchilla_jax.study.execution.planning import plan_jobs  # noqa: E402

SHOWN = 28  # conditions in the table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="take every k-th condition of the plan")
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--baseline", type=int, default=200, help="SciPy fits")
    parser.add_argument("--smoke", action="store_true", help="a few small conditions")
    args = parser.parse_args()
    if args.smoke:
        args.every, args.resamples, args.baseline = 75, 200, 5

    spec = dataclasses.replace(cj.paper_study(resamples=args.resamples), engine=args.engine)
    chunks, data = study_chunks(spec)
    chunks = chunks[:: args.every]
    choice = settled(ExecutorChoice(), spec)
    cores = choice.n_workers
    begun = time.perf_counter()
    with choice.open() as (pool, _, place):
        # Another seed: it compiles what this one needs, and shares no fit with it.
        others = plan_jobs(dataclasses.replace(spec, seed=1), chunks, data, place)
        list(pool.map(run_job, others[:cores]))
        print(f"compile and first job of each core: {time.perf_counter() - begun:.1f} s")
        planned = plan_jobs(spec, chunks, data, place)
        begun = time.perf_counter()
        results = list(pool.map(run_job, planned))
        seconds = time.perf_counter() - begun
    found = [
        (chunk.condition.id, result.fits)
        for job, some in zip(planned, results, strict=True)
        for chunk, result in zip(job.chunks, some, strict=True)
    ]
    print(f"{'condition':45} {'certified':>9} {'mean steps':>10}")
    for name, columns in found[:: max(len(found) // SHOWN, 1)]:
        print(f"{name:45} {_certified(columns):9d} {columns['steps'].mean():10.1f}")
    used = sum(sum(result.cpu_seconds.values()) for some in results for result in some)
    fits = sum(len(columns["steps"]) for _, columns in found)
    certified = sum(_certified(columns) for _, columns in found)
    baseline = _scipy_rate(data[spec.interpretations[0]].runs, args.baseline)
    rate = certified / seconds
    both = f"{rate:.0f} ({fits / seconds:.0f} with uncertified)"
    print(f"\ncertified fits per second, {cores} cores: {both}, of {fits} fits, in {seconds:.1f} s")
    print(f"CPU time per fit:          {1e6 * used / fits:.1f} us, {used / seconds:.2f} cores at work")
    print(f"SciPy BFGS, one process:   {baseline:.0f} fits per second; ratio {rate / baseline:.0f}")


def _certified(columns: Mapping[str, np.ndarray]) -> int:
    return int(is_certified(columns["status"]).sum())


def _scipy_rate(runs: cj.Runs, count: int, delta: float = 1e-3) -> float:
    u, v, y = np.log(runs.params), np.log(runs.tokens), np.log(runs.loss)
    law = cj.fit(runs, starts=32).law
    start = np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta])
    weights = resample_weights(len(runs), np.arange(count), 0).astype(float)

    def value_and_gradient(x: np.ndarray, w: np.ndarray) -> tuple[float, np.ndarray]:
        of_params, of_tokens, floor = np.exp(x[0] - x[3] * u), np.exp(x[1] - x[4] * v), np.exp(x[2])
        total = of_params + of_tokens + floor
        residual = np.log(total) - y
        psi = np.clip(residual, -delta, delta)
        pull = w * psi / total
        a, b = pull * of_params, pull * of_tokens
        gradient = np.array([a.sum(), b.sum(), pull.sum() * floor, -(u * a).sum(), -(v * b).sum()])
        return float(np.sum(w * psi * (residual - 0.5 * psi))) / delta, gradient / delta

    begun = time.perf_counter()
    for row in weights:
        optimize.minimize(value_and_gradient, start, args=(row,), jac=True, method="BFGS")
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
