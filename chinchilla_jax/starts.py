"""Where fits begin: the published grid for point fits, and a pool of known optima for resamples.

Notation
    logs       (ln A, ln B, ln E, alpha, beta), natural units; (..., 5)
    theta      internal coordinates, see solvers/design.py; (..., 5)
    pool       optima found on a fixed pilot set of resamples; (K, 5)

A resample's optimum lies near that of some other resample. Fitting a small pilot set from wide starts first,
and giving every resample the pool member with the lowest objective under its own weights, costs one matrix
product, saves steps, and finds the deeper of several minima where heavy noise makes more than one.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.objective import HuberScale
from chinchilla_jax.solvers.base import Solution, Solver, SolverOptions
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.objective import Objective
    from chinchilla_jax.solvers.design import Design

PILOT_RESAMPLES = 64
_SAME_VALUE = 1e-9  # relative difference of objectives under which two optima are one
# Coprime to 4,500: the first k multiples visit all corners of the grid before repeating any.
_STRIDE = 1009


def published_grid() -> NDArray[np.float64]:
    """The 4,500 starts of Hoffmann et al. 2022 (arXiv:2203.15556, section D.4) as logs (4500, 5)."""
    a = b = np.arange(0.0, 26.0, 5.0)
    e = np.arange(-1.0, 1.01, 0.5)
    exponent = np.arange(0.0, 2.01, 0.5)
    return np.array(list(itertools.product(a, b, e, exponent, exponent)))


def grid_starts(count: int | None = None) -> NDArray[np.float64]:
    """`count` starts spread over the published grid (all of it by default), logs (count, 5)."""
    grid = published_grid()
    if count is None:
        return grid
    return grid[np.arange(count) * _STRIDE % len(grid)]


def distinct_minima(solution: Solution, most: int = 16) -> NDArray[np.float64]:
    """Optima (k, 5) of different objective values among the lanes of `solution`, best first."""
    usable = np.isin(solution.status, (Status.CONVERGED, Status.UNIDENTIFIED)) & np.isfinite(solution.objective_value)
    order = np.flatnonzero(usable)[np.argsort(solution.objective_value[usable], kind="stable")]
    kept: list[int] = []
    for lane in order:
        value = solution.objective_value[lane]
        if not kept or abs(value - solution.objective_value[kept[-1]]) > _SAME_VALUE * abs(value):
            kept.append(int(lane))
        if len(kept) == most:
            break
    return solution.theta[kept]


def pilot_pool(
    design: Design, minima: NDArray[np.float64], *, objective: Objective, solver: Solver, options: SolverOptions
) -> NDArray[np.float64]:
    """Pool (K, 5) of starting points: `minima` of the point fit and the optima of the pilot resamples.

    The pilot is a function of the runs alone, not of the seed or the number of resamples, so that adding
    resamples later changes none of the first.
    """
    from chinchilla_jax.resampling import PILOT, resample_weights

    weights = resample_weights(len(design), np.arange(PILOT_RESAMPLES), 0, stream=PILOT)
    near = best_of_pool(design, weights, minima, objective)
    wide = dataclasses.replace(options, wide_start=True)
    spread = design.theta_from_logs(grid_starts(PILOT_RESAMPLES))
    solutions = [
        solver(design, weights, near, objective=objective, options=options),
        solver(design, weights, near, objective=objective, options=wide),
        solver(design, weights, spread, objective=objective, options=wide),
    ]
    found = [s.theta[np.isin(s.status, (Status.CONVERGED, Status.UNIDENTIFIED))] for s in solutions]
    return np.unique(np.concatenate([minima, *found]), axis=0)


def best_of_pool(
    design: Design, weights: NDArray[Any], pool: NDArray[np.float64], objective: Objective
) -> NDArray[np.float64]:
    """For each resample (R, n) the member of `pool` (K, 5) with the lowest objective; (R, 5)."""
    residual = design.residuals(pool)
    if isinstance(objective, HuberScale):
        loss = np.abs(residual)
    else:
        influence = np.clip(residual, -objective.delta, objective.delta)
        loss = influence * (residual - 0.5 * influence)
    # float64 throughout: ties between near optima must not depend on the block they are computed in.
    value = np.asarray(weights, dtype=np.float64) @ np.where(np.isfinite(loss), loss, 1e6).T
    return pool[np.argmin(value, axis=1)]
