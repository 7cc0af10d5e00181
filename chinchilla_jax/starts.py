"""Where fits begin: the published grid for point fits, and a pool of known optima for resamples.

Notation
    logs       (ln A, ln B, ln E, alpha, beta), natural units; (..., 5)
    theta      internal coordinates, see solvers/design.py; (..., 5)
    pool       optima found on a fixed pilot set of resamples; (K, 5)

A resample's optimum lies near that of some other resample. Giving every resample the member of a pool of
optima with the lowest objective under its own weights costs one matrix product and saves steps. Where heavy
noise makes several minima, that is not enough; `scout` finds out, and what else to start from.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.objective import Huber, HuberScale
from chinchilla_jax.solvers.base import Solution, SolverOptions
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.objective import Objective
    from chinchilla_jax.solvers.design import Design

_PILOTS, _FAR = 24, 4  # pilot resamples, far starts for each
_DOUBTS = 26, 78  # further pilots, fitted from two of the optima found, till there are doubts: do they agree?
_PILOTS_HARD, _FAR_HARD = 128, 2  # pilots and far starts more where they do not
_FEW = 2  # disagreements: up to here two starts per resample are enough, beyond four are taken
_RANKS_FEW, _RANKS_MANY = 2, 4
_FAR_STEPS = 40
_DISTINCT = 0.1  # distance, in standardised coordinates, of the optima that a resample is started from
# Multiply-adds of one matrix product: small enough for the cache, and for BLAS to leave it to one thread. The
# threads that it would else wake take half as much CPU time again, for nothing.
_PRODUCT, _LEAST_ROWS = 400_000, 8
_MISSED = 1e-6  # relative excess over the best objective known that counts as another optimum
_STATIONARY = 1e-9  # decrement above which a point called UNIDENTIFIED is one that ran off, and no optimum
_SAME_VALUE = 1e-9  # relative difference of objectives under which two optima are one
# Coprime to 4,500: the first k multiples visit all corners of the grid before repeating any.
_STRIDE = 1009


@functools.cache
def published_grid() -> NDArray[np.float64]:
    """The 4,500 starts of Hoffmann et al. 2022 (arXiv:2203.15556, section D.4) as logs (4500, 5)."""
    a = b = np.arange(0.0, 26.0, 5.0)
    e = np.arange(-1.0, 1.01, 0.5)
    exponent = np.arange(0.0, 2.01, 0.5)
    grid = np.array(list(itertools.product(a, b, e, exponent, exponent)))
    grid.setflags(write=False)
    return grid


def grid_starts(count: int | None = None) -> NDArray[np.float64]:
    """`count` starts spread over the published grid (all of it by default), logs (count, 5)."""
    grid = published_grid()
    if count is None:
        return grid
    return grid[np.arange(count) * _STRIDE % len(grid)]


def distinct_minima(solution: Solution, most: int = 16) -> NDArray[np.float64]:
    """Optima (k, 5) of different objective values among the lanes of `solution`, best first."""
    usable = _is_optimum(solution)
    order = np.flatnonzero(usable)[np.argsort(solution.objective_value[usable], kind="stable")]
    kept: list[int] = []
    for lane in order:
        value = solution.objective_value[lane]
        if not kept or abs(value - solution.objective_value[kept[-1]]) > _SAME_VALUE * abs(value):
            kept.append(int(lane))
        if len(kept) == most:
            break
    return solution.theta[kept]


def _is_optimum(solution: Solution) -> NDArray[np.bool_]:
    """Lanes that ended at a minimum, one at E = 0 included; (R,)."""
    at_bound = (solution.status == Status.UNIDENTIFIED) & (solution.decrement <= _STATIONARY)
    found = (solution.status == Status.CONVERGED) | at_bound
    return found & np.isfinite(solution.objective_value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to start the resamples of one data set.

    Attributes:
        pool: (K, 5) known optima, from which each resample takes the best under its own weights.
        ranks: how many of them, best first, each resample is fitted from.
    """

    pool: NDArray[np.float64]
    ranks: int

    def candidates(
        self, design: Design, weights: NDArray[Any], objective: Objective
    ) -> list[NDArray[np.float64]]:
        """`ranks` starts for every resample: arrays (R, 5), best guess first."""
        return list(best_of_pool(design, weights, self.pool, objective, ranks=self.ranks))


def scout(design: Design, minima: NDArray[np.float64], *, objective: Huber, options: SolverOptions) -> Recipe:
    """Find out on a few pilot resamples how the resamples of this data set must be started.

    Pilot resamples are fitted from several far starts. Further ones are then fitted from two different optima
    of those: if both ways always lead to the same objective, one near start is enough. Otherwise (heavy noise
    on the counts makes many shallow minima) the pool grows, and every resample is fitted from two or four of
    its members, which lie apart.

    The scouting is a function of the runs alone, not of the seed or the number of resamples, so that adding
    resamples later changes none of the first.
    """
    far = design.theta_from_logs(grid_starts(_FAR))
    optima = _far_optima(design, far, range(_PILOTS), objective, options)
    pool = np.unique(np.concatenate([minima, optima]), axis=0)
    apart, disagreements, done = _apart(pool), 0, _PILOTS
    for count in _DOUBTS:
        if disagreements <= _FEW:
            doubts = range(done, done + count)
            disagreements += _disagreements(design, apart, doubts, objective, options)
        done += count
    # A miss of one in a hundred can escape them; optima at E = 0 are a sign of the same disorder.
    if not disagreements and np.all(pool[:, 2] > 0):
        return Recipe(pool=pool, ranks=1)
    optima = _all_optima(design, far[:_FAR_HARD], range(done, done + _PILOTS_HARD), objective, options)
    ranks = _RANKS_FEW if disagreements <= _FEW else _RANKS_MANY
    return Recipe(pool=_apart(np.concatenate([pool, optima])), ranks=ranks)


@functools.lru_cache(maxsize=8)
def _pilot_weights(n_runs: int, pilots: range) -> NDArray[np.uint8]:
    """Weights (P, n_runs) of these pilots, the same for every condition of a study."""
    from chinchilla_jax.resampling import PILOT, resample_weights

    weights = resample_weights(n_runs, np.asarray(pilots), 0, stream=PILOT)
    weights.setflags(write=False)
    return weights


def _far_optima(
    design: Design, far: NDArray[np.float64], pilots: range, objective: Huber, options: SolverOptions
) -> NDArray[np.float64]:
    """Best optimum of every pilot that has one from the starts `far` (K, 5); (P, 5) or fewer."""
    from chinchilla_jax.solvers.batch import solve_best_of

    weights = _pilot_weights(len(design), pilots)
    # In mixed precision whatever the fits are in: only there starts race, and these only propose others.
    wide = dataclasses.replace(options, precision="mixed", wide_start=True, max_steps=_FAR_STEPS)
    starts = [np.broadcast_to(start, (len(pilots), 5)) for start in far]
    solution = solve_best_of(design, weights, starts, objective=objective, options=wide)
    return solution.theta[_is_optimum(solution)]


def _all_optima(
    design: Design, far: NDArray[np.float64], pilots: range, objective: Huber, options: SolverOptions
) -> NDArray[np.float64]:
    """Optima of every pilot from each of the starts `far` (K, 5); (P K, 5) or fewer.

    Where data are hard, the best of a race is often one that runs off, and there is no optimum to show for
    it; and what is second for one resample is first for another.
    """
    from chinchilla_jax.solvers.batch import solve_newton

    weights = np.repeat(_pilot_weights(len(design), pilots), len(far), axis=0)
    wide = dataclasses.replace(options, wide_start=True, max_steps=_FAR_STEPS)
    starts = np.tile(far, (len(pilots), 1))
    solution = solve_newton(design, weights, starts, objective=objective, options=wide)
    return solution.theta[_is_optimum(solution)]


def _disagreements(
    design: Design, pool: NDArray[np.float64], pilots: range, objective: Huber, options: SolverOptions
) -> int:
    """How many pilots end with different objectives from the best and the second best member of `pool`."""
    from chinchilla_jax.solvers.batch import solve_newton

    if len(pool) < 2:
        return 0
    weights = _pilot_weights(len(design), pilots)
    starts = best_of_pool(design, weights, pool, objective, ranks=2)
    solution = solve_newton(
        design, np.tile(weights, (2, 1)), starts.reshape(-1, 5), objective=objective, options=options
    )
    one, other = solution.objective_value.reshape(2, -1)
    return int(np.sum(np.abs(one - other) > _MISSED * np.minimum(one, other)))


def _apart(pool: NDArray[np.float64]) -> NDArray[np.float64]:
    """The members of `pool` that are not too near an earlier one."""
    left = pool
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[np.abs(left - left[0]).max(axis=1) > _DISTINCT]
    return np.array(kept)


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
