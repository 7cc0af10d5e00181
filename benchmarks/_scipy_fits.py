"""Fits by SciPy alone, as a baseline for the benchmarks: imports neither JAX nor this library.

Notation: u, v, y, w as in chinchilla_jax/laws/design.py;
    x = (a', b', ln E, alpha', beta'), the law exp(a' - alpha' u) + exp(b' - beta' v) + E.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from typing import Any

import numpy as np
from scipy import optimize


def start_pool(processes: int) -> Any:
    """A pool of processes with one BLAS thread each: more would contend over SciPy's tiny products."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    return multiprocessing.get_context("spawn").Pool(processes)


@dataclasses.dataclass(frozen=True)
class Table:
    """The data of one resample.

    Attributes:
        columns: (2, n) standardised logarithms u of the parameters and v of the tokens.
        log_loss: y (n,).
        weights: w (n,), float64.
        delta: half-width of the quadratic zone.
    """

    columns: np.ndarray
    log_loss: np.ndarray
    weights: np.ndarray
    delta: float = 1e-3

    @classmethod
    def drawn(cls, columns: np.ndarray, log_loss: np.ndarray, weights: np.ndarray) -> Table:
        """A resample without the runs that it has not drawn, as who cares for speed would fit it."""
        there = weights > 0
        return cls(columns[:, there], log_loss[there], weights[there])

    @property
    def unit(self) -> float:
        """Divides the objective for SciPy, so that its gradient is of order one."""
        return self.delta * float(self.weights.sum())


def value_and_gradient(x: np.ndarray, table: Table) -> tuple[float, np.ndarray]:
    """Objective and gradient, by hand and in as few NumPy calls as possible."""
    columns, delta = table.columns, table.delta
    terms = np.exp(np.minimum(x[:2, None] - x[3:, None] * columns, 300.0))
    floor = np.exp(min(x[2], 300.0))
    loss = terms[0] + terms[1] + floor
    residual = np.log(loss) - table.log_loss
    psi = np.minimum(np.maximum(residual, -delta), delta)
    pull = table.weights * psi
    value = pull @ (residual - 0.5 * psi)
    pull /= loss
    gradient = np.empty(5)
    gradient[:2] = terms @ pull
    gradient[2] = floor * pull.sum()
    gradient[3:] = -((terms * columns) @ pull)
    return float(value), gradient


def minimise(start: np.ndarray, table: Table, method: str = "BFGS", gtol: float = 1e-8) -> Any:
    """One fit from one start, with the gradient by hand; the objective in the result is in `unit`s."""
    unit = table.unit

    def scaled(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(x, table)
        return value / unit, gradient / unit

    options = {"gtol": gtol, "maxiter": 400}
    if method == "L-BFGS-B":
        options["ftol"] = 1e-11
    with np.errstate(all="ignore"):
        return optimize.minimize(scaled, start, jac=True, method=method, options=options)


def search(task: tuple[np.ndarray, Table]) -> tuple[np.ndarray, float]:
    """Fit one resample from every start by L-BFGS-B; finish the best three by BFGS.

    Args:
        task: starts (S, 5) and the table.

    Returns:
        Objective reached from each start (S,), and the lowest of all after finishing.
    """
    starts, table = task
    reached = [minimise(start, table, "L-BFGS-B", gtol=1e-6) for start in starts]
    values = np.array([result.fun for result in reached]) * table.unit
    values = np.where(np.isfinite(values), values, np.inf)
    best = values.min()
    for lane in np.argsort(values)[:3]:
        x = reached[lane].x
        for _ in range(2):  # restart: curvature estimated across a kink misleads
            result = minimise(x, table, gtol=1e-10)
            x = result.x
        best = min(best, result.fun * table.unit)
    return values, float(best)
