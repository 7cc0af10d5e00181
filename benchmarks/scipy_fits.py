"""Fits by SciPy alone, for the benchmarks to compare with: imports neither JAX nor this library.

Notation: u, v, y, w as in chinchilla_jax/solvers/design.py;
    x = (a', b', ln E, alpha', beta'), the law exp(a' - alpha' u) + exp(b' - beta' v) + E.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import optimize


@dataclasses.dataclass(frozen=True)
class Table:
    """Standardised logarithms u, v of parameters and tokens, log loss y, each (n,); the Huber half-width."""

    u: np.ndarray
    v: np.ndarray
    y: np.ndarray
    delta: float = 1e-3


def value_and_gradient(x: np.ndarray, w: np.ndarray, table: Table) -> tuple[float, np.ndarray]:
    """Objective divided by delta times the sum of weights, so that its gradient is of order one."""
    u, v = table.u, table.v
    of_params = np.exp(np.minimum(x[0] - x[3] * u, 300.0))
    of_tokens = np.exp(np.minimum(x[1] - x[4] * v, 300.0))
    floor = np.exp(min(x[2], 300.0))
    loss = of_params + of_tokens + floor
    residual = np.log(loss + 1e-300) - table.y
    psi = np.clip(residual, -table.delta, table.delta)
    scale = 1.0 / (table.delta * w.sum())
    pull = w * psi / (loss + 1e-300) * scale
    a, b = pull * of_params, pull * of_tokens
    gradient = np.array([a.sum(), b.sum(), pull.sum() * floor, -(u @ a), -(v @ b)])
    return float(w @ (psi * (residual - 0.5 * psi))) * scale, gradient


def objective_value(x: np.ndarray, w: np.ndarray, table: Table) -> float:
    """The objective in the library's own units."""
    return value_and_gradient(x, w, table)[0] * table.delta * float(w.sum())


def minimise(start: np.ndarray, w: np.ndarray, table: Table, gtol: float = 1e-8) -> Any:
    """BFGS with the hand-written gradient from one start."""
    with np.errstate(all="ignore"):
        return optimize.minimize(
            value_and_gradient,
            start,
            args=(w, table),
            jac=True,
            method="BFGS",
            options={"gtol": gtol, "maxiter": 400},
        )


def search(task: tuple[np.ndarray, np.ndarray, Table]) -> tuple[np.ndarray, float]:
    """Fit one resample from every start; polish the best three with a fresh memory.

    Args:
        task: weights (n,), starts (S, 5), table.

    Returns:
        Objective reached from each start (S,), and the lowest after polishing.
    """
    w, starts, table = task
    reached = [minimise(start, w, table, gtol=1e-6).x for start in starts]
    values = np.array([objective_value(x, w, table) for x in reached])
    values = np.where(np.isfinite(values), values, np.inf)
    best = values.min()
    for lane in np.argsort(values)[:3]:
        x = reached[lane]
        for _ in range(2):
            x = minimise(x, w, table, gtol=1e-10).x
        value = objective_value(x, w, table)
        best = min(best, value) if np.isfinite(value) else best
    return values, float(best)
