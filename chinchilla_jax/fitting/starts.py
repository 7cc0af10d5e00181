"""A pool of known optima, from which further fits of the same runs begin.

Notation
    theta      internal coordinates, see laws/design.py; (..., 5)
    pool       known optima; (K, 5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.objectives import Objective
    from chinchilla_jax.solvers.base import Solution

# Multiply-adds of one matrix product: small enough for the cache, and for BLAS to leave it to one thread. The
# threads that it would else wake take half as much CPU time again, for nothing.
_PRODUCT, _LEAST_ROWS = 400_000, 8
_STATIONARY = 1e-9  # decrement above which a point called UNIDENTIFIED is one that ran off, and no optimum
_SAME_VALUE = 1e-9  # relative difference of objectives under which two optima are one


def distinct_minima(solution: Solution, most: int = 16) -> NDArray[np.float64]:
    """Optima (k, 5) of different objective values among the lanes of `solution`, best first."""
    usable = is_optimum(solution)
    order = np.flatnonzero(usable)[np.argsort(solution.objective_value[usable], kind="stable")]
    kept: list[int] = []
    for lane in order:
        value = solution.objective_value[lane]
        if not kept or abs(value - solution.objective_value[kept[-1]]) > _SAME_VALUE * abs(value):
            kept.append(int(lane))
        if len(kept) == most:
            break
    return solution.theta[kept]


def is_optimum(solution: Solution) -> NDArray[np.bool_]:
    """Lanes that ended at a minimum, one at E = 0 included; (R,)."""
    at_bound = (solution.status == Status.UNIDENTIFIED) & (solution.decrement <= _STATIONARY)
    found = (solution.status == Status.CONVERGED) | at_bound
    return found & np.isfinite(solution.objective_value)


def best_of_pool(
    design: Design, weights: NDArray[Any], pool: NDArray[np.float64], objective: Objective, ranks: int
) -> NDArray[np.float64]:
    """For each resample (R, n) the `ranks` members of `pool` (K, 5) of lowest objective; (ranks, R, 5)."""
    value = _pool_values(design, weights, pool, objective)
    members = []
    for _ in range(min(ranks, len(pool))):
        members.append(value.argmin(axis=1))
        value[np.arange(len(value)), members[-1]] = np.inf
    return pool[np.array(members)]


def _pool_values(
    design: Design, weights: NDArray[Any], pool: NDArray[np.float64], objective: Objective
) -> NDArray[np.float64]:
    """Objective of every member of `pool` (K, 5) under every resample (R, n); (R, K).

    float64 throughout: the order of near optima must not depend on the block they are computed in.
    """
    residual = design.residuals(pool)
    if isinstance(objective, HuberScale):
        loss = np.abs(residual)
    else:
        influence = np.clip(residual, -objective.delta, objective.delta)
        loss = influence * (residual - 0.5 * influence)
    of_runs = np.where(np.isfinite(loss), loss, 1e6).T
    value = np.empty((len(weights), len(pool)))
    length = max(_PRODUCT // max(of_runs.size, 1), _LEAST_ROWS)
    for first in range(0, len(weights), length):
        rows = slice(first, first + length)
        np.matmul(np.asarray(weights[rows], dtype=np.float64), of_runs, out=value[rows])
    return value
