"""Is the optimum the lowest? Every law's bootstrap beside SciPy from many starts, on the same resamples.

    python benchmarks/multistart.py                          # the 240 runs, 200 resamples of each law
    python benchmarks/multistart.py --laws kaplan --starts 24
    python benchmarks/multistart.py --smoke                  # a few resamples, for the gate

The rival shares the law's formula and its first derivative with the library, nothing else: SciPy's BFGS in
coordinates with ln E, first in a zone of 0.03, then in the objective's own; from starts spread over what is
plausible, other ones for every resample, and from 0.05 beside the fit of all runs. The best is refined until
it falls no further. "lower" counts resamples in which the rival is lower by more than 1e-6 (relative), "same"
those within 1e-6, and "not found" those in which no start of the rival came as low.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
from scipy import optimize

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.laws import LAWS, STANDARD, Design, Huber, Law

OBJECTIVE = Huber()
_WIDE, _REFINED = 0.03, 3
_SAME = 1e-6
_runs = cj.load_runs("chinchilla", params="standard")
_design = Design.from_runs(_runs)


def minimise(law: Law, weights: np.ndarray, theta: np.ndarray, delta: float) -> tuple[float, np.ndarray]:
    """SciPy's BFGS from theta (p,): the objective divided by delta and the sum of the weights, and where."""
    bounded = list(law.bounded)
    unit = delta * weights.sum()

    def theta_of(x: np.ndarray) -> np.ndarray:
        at = x.copy()
        at[bounded] = np.exp(np.minimum(x[bounded], 300.0))
        return at

    def scaled(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = theta_of(x)
        r = law.residuals(at, _design)
        psi = np.clip(r, -delta, delta)
        gradient = (weights * psi) @ law.jacobian(at, _design)
        gradient[bounded] *= at[bounded]
        return float(weights @ (psi * (r - 0.5 * psi))) / unit, gradient / unit

    x = theta.copy()
    x[bounded] = np.log(np.maximum(x[bounded], 1e-9))
    with np.errstate(all="ignore"):
        found = optimize.minimize(scaled, x, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 400})
    return float(found.fun) * unit, theta_of(found.x)


def search(task: tuple[str, np.ndarray, np.ndarray]) -> float:
    """The lowest objective that is found for one resample: law, weights (n,), starts (K, p)."""
    name, weights, starts = task
    law, delta = LAWS[name](), float(OBJECTIVE.down)
    ends = []
    for start in starts:
        _, theta = minimise(law, weights, start, _WIDE)
        ends.append(minimise(law, weights, theta, delta))
    value, theta = min((end for end in ends if np.isfinite(end[0])), key=lambda end: end[0])
    for _ in range(_REFINED):
        again, theta = minimise(law, weights, theta, delta)
        if not again < value * (1 - 1e-12):
            break
        value = again
    return value


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--laws", nargs="+", choices=list(STANDARD))
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--starts", type=int, default=8, help="of SciPy, per resample")
    parser.add_argument("--engine", default="xla", help="of the five-parameter law")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few resamples")
    args = parser.parse_args()
    if args.smoke:
        args.resamples, args.starts, args.processes = 4, 2, 1
    names = args.laws or list(STANDARD)[: 2 if args.smoke else None]
    weights = resample_weights(len(_runs), np.arange(args.resamples), args.seed)
    print(f"{'law':16} {'resamples':>9} {'certified':>9} {'same':>5} {'lower':>5} {'not found':>9} ", end="")
    print(f"{'worst excess':>12} {'seconds':>7}")
    with start_pool(args.processes) as pool:
        for name in names:
            begun = time.perf_counter()
            values, certified, point = own(name, args)
            law = LAWS[name]()
            spread = law.starts(_design, args.resamples * (args.starts - 1)).reshape(
                args.resamples, -1, law.size
            )
            beside = point + 0.05 * np.random.default_rng(args.seed).standard_normal(
                (args.resamples, 1, law.size)
            )
            starts = np.concatenate([beside, spread], axis=1)
            tasks = [(name, row.astype(np.float64), some) for row, some in zip(weights, starts, strict=True)]
            rival = np.array(pool.map(search, tasks, chunksize=5))
            excess = values / rival - 1.0
            lower, above = int(np.sum(excess > _SAME)), int(np.sum(excess < -_SAME))
            print(
                f"{name:16} {len(excess):9d} {int(certified.sum()):9d} {len(excess) - lower - above:5d} "
                f"{lower:5d} {above:9d} {excess.max():12.1e} {time.perf_counter() - begun:7.1f}",
                flush=True,
            )
    return 0


def own(name: str, args: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objective and whether it is certified, of every resample; the fit of all runs (p,)."""
    counted = [status.name for status in cj.Status if status.certified]
    options = cj.SolverOptions(engine=args.engine if name == "chinchilla" else "auto")
    point = cj.fit(_runs, law=name, objective=OBJECTIVE)
    found = cj.bootstrap(
        _runs, law=name, objective=OBJECTIVE, resamples=args.resamples, seed=args.seed, scheme="pairs",
        point=point, options=options,
    )  # fmt: skip
    return found.objective_value, np.isin(found.status, counted), np.asarray(point.starts.minima[0])


def start_pool(processes: int) -> Any:
    """Processes with one thread each."""
    import multiprocessing

    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    return multiprocessing.get_context("spawn").Pool(processes)


if __name__ == "__main__":
    raise SystemExit(main())
