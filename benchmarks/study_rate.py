"""Certified fits per second over a sample of the paper study, compile time apart, beside SciPy.

    python benchmarks/study_rate.py                 # every 8th condition, 4,000 resamples
    python benchmarks/study_rate.py --smoke         # seconds, for the gate

A condition is timed as the study runs it: perturbation, scouting, every fit, certificates; the point fits are
timed apart. The baseline is scipy.optimize.minimize(method="BFGS") with a hand-written gradient, started at
the point fit, on resamples of the first condition, one process.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import optimize

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping import bootstrap_condition
from chinchilla_jax.resampling import resample_weights
from chinchilla_jax.study.plan import plan_conditions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=8, help="take every k-th condition of the plan")
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--baseline", type=int, default=200, help="SciPy fits")
    parser.add_argument("--smoke", action="store_true", help="a few small conditions")
    args = parser.parse_args()
    if args.smoke:
        args.every, args.resamples, args.baseline = 75, 200, 5

    conditions = plan_conditions(cj.paper_study())[:: args.every]
    runs = {name: cj.load_runs("chinchilla", params=name) for name in {c.params for c in conditions}}
    begun = time.perf_counter()
    _fit_condition(conditions[0], runs, args.resamples)
    print(f"compile and first condition: {time.perf_counter() - begun:.1f} s")

    fits = certified = 0
    seconds = point_seconds = 0.0
    print(f"{'condition':45} {'fits/s':>8} {'certified':>9} {'mean steps':>10} {'point fit (s)':>13}")
    for condition in conditions:
        boot, took, point_took = _fit_condition(condition, runs, args.resamples)
        fits, certified = fits + len(boot.status), certified + int(boot.converged.sum())
        seconds, point_seconds = seconds + took, point_seconds + point_took
        rate = len(boot.status) / took
        counts = f"{int(boot.converged.sum()):9d} {boot.steps.mean():10.1f}"
        print(f"{condition.id:45} {rate:8.0f} {counts} {point_took:13.2f}")
    baseline = _scipy_rate(runs[conditions[0].params], args.baseline)
    rate = certified / seconds
    print(f"\ncertified fits per second: {rate:.0f} ({fits / seconds:.0f} with uncertified), of {fits} fits")
    print(f"with the point fits:       {certified / (seconds + point_seconds):.0f}")
    print(f"SciPy BFGS, one process:   {baseline:.0f} fits per second; ratio {rate / baseline:.0f}")


def _fit_condition(condition, runs, resamples):
    data = condition.apply(runs[condition.params], seed=0)
    weights = resample_weights(len(data), np.arange(resamples), 0)
    begun = time.perf_counter()
    point = cj.fit(data, starts=32)
    middle = time.perf_counter()
    boot = bootstrap_condition(data, weights=weights, point=point, objective=cj.Huber())
    return boot, time.perf_counter() - middle, middle - begun


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
