"""How the resamples of one data set are started, found out on a few pilot resamples.

Notation
    theta      internal coordinates, see laws/design.py; (..., 5)
    pool       optima found on a fixed pilot set of resamples; (K, 5)

A resample's optimum lies near that of some other resample. Giving every resample the member of a pool of
optima with the lowest objective under its own weights costs one matrix product and saves steps. Where heavy
noise makes several minima, that is not enough; `scout` finds out, and what else to start from.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.bootstrapping.weights import PILOT, resample_weights
from chinchilla_jax.fitting.starts import best_of_pool, is_optimum
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.solvers.base import SolverOptions
from chinchilla_jax.solvers.batch import solve_best_of, solve_newton

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.objectives import Huber, Objective

_PILOTS, _FAR = 24, 4  # pilot resamples, far starts for each
_DOUBTS = 26, 78  # further pilots, fitted from two of the optima found, till there are doubts: do they agree?
_PILOTS_HARD, _FAR_HARD = 128, 2  # pilots and far starts more where they do not
_FEW = 2  # disagreements: up to here two starts per resample are enough, beyond four are taken
_RANKS_FEW, _RANKS_MANY = 2, 4
_FAR_STEPS = 40
_DISTINCT = 0.1  # distance, in standardised coordinates, of the optima that a resample is started from
_MISSED = 1e-6  # relative excess over the best objective known that counts as another optimum


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
    weights = resample_weights(n_runs, np.asarray(pilots), 0, stream=PILOT)
    weights.setflags(write=False)
    return weights


def _far_optima(
    design: Design, far: NDArray[np.float64], pilots: range, objective: Huber, options: SolverOptions
) -> NDArray[np.float64]:
    """Best optimum of every pilot that has one from the starts `far` (K, 5); (P, 5) or fewer."""
    weights = _pilot_weights(len(design), pilots)
    # In mixed precision whatever the fits are in: only there starts race, and these only propose others.
    wide = dataclasses.replace(options, precision="mixed", wide_start=True, max_steps=_FAR_STEPS)
    starts = [np.broadcast_to(start, (len(pilots), 5)) for start in far]
    solution = solve_best_of(design, weights, starts, objective=objective, options=wide)
    return solution.theta[is_optimum(solution)]


def _all_optima(
    design: Design, far: NDArray[np.float64], pilots: range, objective: Huber, options: SolverOptions
) -> NDArray[np.float64]:
    """Optima of every pilot from each of the starts `far` (K, 5); (P K, 5) or fewer.

    Where data are hard, the best of a race is often one that runs off, and there is no optimum to show for
    it; and what is second for one resample is first for another.
    """
    weights = np.repeat(_pilot_weights(len(design), pilots), len(far), axis=0)
    wide = dataclasses.replace(options, wide_start=True, max_steps=_FAR_STEPS)
    starts = np.tile(far, (len(pilots), 1))
    solution = solve_newton(design, weights, starts, objective=objective, options=wide)
    return solution.theta[is_optimum(solution)]


def _disagreements(
    design: Design, pool: NDArray[np.float64], pilots: range, objective: Huber, options: SolverOptions
) -> int:
    """How many pilots end with different objectives from the best and the second best member of `pool`."""
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
