"""Certified fits per second over the paper study, without compile time, against SciPy.

    python benchmarks/study_rate.py                 # all 224 conditions, 4,000 resamples
    python benchmarks/study_rate.py --smoke         # seconds, for the gate

Conditions run as in a study, one per core at a time: scouting, every fit, certificates. The point fits come
first and are timed separately. The baseline is SciPy's BFGS with a hand-written gradient, started at the
point fit, on resamples of the first condition, in one process.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

from chinchilla_jax.cli.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, before NumPy is imported

import numpy as np  # noqa: E402
from scipy import optimize  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax._util.devices import available_cores  # noqa: E402
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples  # noqa: E402
from chinchilla_jax.bootstrapping.weights import resample_weights  # noqa: E402
from chinchilla_jax.solvers import SolverOptions  # noqa: E402
from chinchilla_jax.study.spec.conditions import plan_conditions  # noqa: E402

SHOWN = 28  # conditions in the table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="take every k-th condition of the plan")
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--baseline", type=int, default=200, help="SciPy fits")
    parser.add_argument("--smoke", action="store_true", help="a few small conditions")
    args = parser.parse_args()
    if args.smoke:
        args.every, args.resamples, args.baseline = 75, 200, 5

    conditions = plan_conditions(cj.paper_study())[:: args.every]
    runs = {name: cj.load_runs("chinchilla", params=name) for name in {c.params for c in conditions}}
    data = [condition.apply(runs[condition.params], seed=0) for condition in conditions]
    weights = resample_weights(len(data[0]), np.arange(args.resamples), 0)
    begun = time.perf_counter()
    _bootstrap(data[0], weights, _point(data[0]))
    print(f"compile and first condition: {time.perf_counter() - begun:.1f} s")

    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        begun = time.perf_counter()
        points = list(pool.map(_point, data))
        pointed, used = time.perf_counter(), time.process_time()
        results = list(pool.map(lambda runs, point: _bootstrap(runs, weights, point), data, points))
        done, used = time.perf_counter(), time.process_time() - used
    print(f"{'condition':45} {'fits/s':>8} {'certified':>9} {'mean steps':>10}   (fits/s: of one core)")
    shown = max(len(conditions) // SHOWN, 1)
    for condition, (boot, took) in list(zip(conditions, results, strict=True))[::shown]:
        counts = f"{int(boot.converged.sum()):9d} {boot.steps.mean():10.1f}"
        print(f"{condition.id:45} {len(boot.steps) / took:8.0f} {counts}")
    fits = sum(len(boot.steps) for boot, _ in results)
    certified = sum(int(boot.converged.sum()) for boot, _ in results)
    seconds, point_seconds = done - pointed, pointed - begun
    baseline = _scipy_rate(runs[conditions[0].params], args.baseline)
    rate = certified / seconds
    both = f"{rate:.0f} ({fits / seconds:.0f} with uncertified)"
    print(f"\ncertified fits per second, {cores} cores: {both}, of {fits} fits")
    print(f"with the point fits:       {certified / (seconds + point_seconds):.0f}")
    print(f"CPU time per fit:          {1e6 * used / fits:.1f} us, {used / seconds:.2f} cores at work")
    print(f"SciPy BFGS, one process:   {baseline:.0f} fits per second; ratio {rate / baseline:.0f}")


def _point(runs: cj.Runs) -> cj.FitResult:
    options = SolverOptions(wide_start=True, max_steps=60, workers=1)  # as in study/execution/jobs.py
    return cj.fit(runs, starts=32, options=options)


def _bootstrap(runs: cj.Runs, weights: np.ndarray, point: cj.FitResult) -> tuple[cj.BootstrapResult, float]:
    begun = time.perf_counter()
    boot = fit_resamples(runs, weights=weights, point=point, options=SolverOptions(workers=1))
    return boot, time.perf_counter() - begun


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
