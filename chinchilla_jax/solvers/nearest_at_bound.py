"""The law at E = 0 that is nearest to another: where a second minimum may begin.

By squares of the residuals, with steps of Levenberg and Marquardt (Nocedal & Wright, Numerical Optimization,
10.3); R lanes, n runs, p parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.solvers.batch import in_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.batch import Batch

_STEPS = 15  # a start, not an optimum
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-9, 1e6


def nearest_at_bound(
    batch: Batch, theta: NDArray[np.float64], workers: int | None = 1
) -> NDArray[np.float64]:
    """Theta (R, p) with the bounded coordinates of the law at zero and the others fitted again.

    Args:
        batch: the lanes.
        theta: (R, p) to begin with.
        workers: threads; None for one per available core.
    """
    return np.concatenate(in_blocks(_nearest, batch, theta, workers=workers))


def _nearest(batch: Batch, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    free = np.ones(theta.shape[1], bool)
    free[list(batch.law.bounded)] = False
    theta = np.where(free & np.isfinite(theta), theta, 0.0)
    w = np.asarray(batch.rows, dtype=np.float64)
    damping = np.full(len(theta), _FIRST_DAMPING)

    def sums(theta: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        residual = np.where(w > 0, batch.residuals(theta), 0.0)
        with np.errstate(over="ignore"):
            return residual, np.sum(w * residual * residual, axis=1)

    residual, value = sums(theta)
    for _ in range(_STEPS):
        jacobian = np.where((w > 0)[..., None], batch.jacobian(theta), 0.0) * free
        normal = np.swapaxes(w[..., None] * jacobian, 1, 2) @ jacobian
        diagonal = np.einsum("rjj->rj", normal) + 1e-12
        damped = normal + np.eye(len(free)) * (damping[:, None] * diagonal + ~free)[:, None]
        step, _ = _solve_each(damped, np.einsum("rn,rnj->rj", w * residual, jacobian))
        trial = theta - np.clip(step, -1.0, 1.0) * free
        after, lower = sums(trial)
        better = lower < value  # not where it is not a number
        theta = np.where(better[:, None], trial, theta)
        residual = np.where(better[:, None], after, residual)
        value = np.where(better, lower, value)
        damping = np.clip(np.where(better, damping * 0.2, damping * 10), _LEAST_DAMPING, _MOST_DAMPING)
    return theta


def _solve_each(
    matrix: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Solve (R, p, p) systems; singular ones give zero and False."""
    with np.errstate(all="ignore"):
        condition = np.linalg.cond(np.where(np.isfinite(matrix), matrix, 0.0))
    good = np.isfinite(matrix).all(axis=(1, 2)) & np.isfinite(right).all(axis=1) & (condition < 1e13)
    safe = np.where(good[:, None, None], matrix, np.eye(matrix.shape[-1]))
    solution = np.linalg.solve(safe, right[..., None])[..., 0]
    return np.where(good[:, None], solution, 0.0), good
