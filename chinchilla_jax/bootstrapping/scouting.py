"""How the resamples of one data set are started, found out on a few pilot resamples.

Notation
    theta      internal coordinates, see laws/law.py; (..., p)
    pool       optima found on a fixed pilot set of resamples; (K, p)

A resample's optimum lies near that of some other resample. Giving every resample the member of a pool of
optima with the lowest objective under its own weights costs one matrix product and saves steps. Where heavy
noise makes several minima, that is not enough; `scout` finds out where, and which starts to add.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.bootstrapping.weights import PILOT, resample_weights
from chinchilla_jax.fitting.optima_pool import apart, best_of_pool
from chinchilla_jax.laws.objectives import Huber, HuberScale
from chinchilla_jax.solvers import Problem, SolverOptions, solve
from chinchilla_jax.solvers.dispatch import is_fast

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PILOTS, _FAR = 24, 4  # pilot resamples, far starts for each
_DOUBTS = 26, 78  # further pilots, in two batches, each fitted from two of the optima found: do they agree?
_PILOTS_HARD, _FAR_HARD = 128, 2  # pilots added where they do not, and far starts for each
_FEW = 2  # up to this many disagreements a resample has `_RANKS_FEW` starts, beyond it `_RANKS_MANY`
_RANKS_FEW, _RANKS_MANY = 2, 4
_FAR_STEPS = 40
_UNKNOWN = 16  # starts in place of the optima of a point fit that found none
_MISSED = 1e-6  # relative excess over the best objective known that counts as another optimum


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to start the resamples of one data set.

    Attributes:
        pool: (K, p) known optima, from which each resample takes the best under its own weights.
        ranks: how many of them, best first, each resample is fitted from.
        scouted: whether pilots have shown that so many are enough.
    """

    pool: NDArray[np.float64]
    ranks: int
    scouted: bool = True

    def candidates(self, problem: Problem, weights: NDArray[Any]) -> list[NDArray[np.float64]]:
        """`ranks` starts for every resample: arrays (R, p), best guess first."""
        return list(best_of_pool(problem, weights, self.pool, ranks=self.ranks))


def known_optima(problem: Problem, minima: NDArray[np.float64]) -> NDArray[np.float64]:
    """`minima` (K, p) of a point fit; starts spread over the law's own grid where it found none."""
    return minima if len(minima) else problem.law.starts(problem.design, _UNKNOWN)


def find_recipe(
    problem: Problem,
    minima: NDArray[np.float64],
    own: NDArray[np.float64] | None,
    options: SolverOptions,
) -> Recipe:
    """How to start the resamples, from the optima (K, p) of the point fit.

    Where a fast engine fits the law, pilot resamples tell, see `scout`. Elsewhere scouting would take longer
    than the bootstrap: every resample is started from two optima of the point fit, and from the others where
    neither leads to a certificate.

    Args:
        problem: what is fitted.
        minima: (K, p) optima of the point fit; may be empty.
        own: (n,) weights of the runs, None where all count the same.
        options: how hard the solver tries.
    """
    law, objective = problem.law, problem.objective
    known = known_optima(problem, minima)
    # HuberScale is started from the optima of a smooth objective.
    smooth = Huber() if isinstance(objective, HuberScale) else objective
    if not is_fast(law, smooth):
        pool = apart(known)
        return Recipe(pool=pool, ranks=min(_RANKS_FEW, len(pool)), scouted=False)
    return scout(dataclasses.replace(problem, objective=smooth), known, own=own, options=options)


def scout(
    problem: Problem,
    minima: NDArray[np.float64],
    *,
    own: NDArray[np.float64] | None = None,
    options: SolverOptions,
) -> Recipe:
    """Find out on a few pilot resamples how the resamples of this data set must be started.

    Pilot resamples are fitted from several far starts. Further ones are then fitted from two different optima
    of those: if both ways always lead to the same objective, one near start is enough. Otherwise (heavy noise
    on the counts makes many shallow minima) the pool grows, and every resample is fitted from two or four of
    its members, which lie apart.

    The scouting is a function of the runs alone, not of the seed or the number of resamples, so that adding
    resamples later changes none of the first.
    """
    law = problem.law
    pilots = _Pilots(problem, own, options)
    far = law.starts(problem.design, _FAR)
    pool = np.unique(np.concatenate([minima, pilots.optima_of_races(range(_PILOTS), far)]), axis=0)
    members, disagreements, done = apart(pool), 0, _PILOTS
    for count in _DOUBTS:
        if disagreements <= _FEW:
            disagreements += pilots.disagreements(range(done, done + count), members)
        done += count
    # A miss of one in a hundred can escape them; optima at the boundary are a sign of the same disorder.
    if not disagreements and np.all(pool[:, list(law.bounded)] > 0):
        return Recipe(pool=pool, ranks=1)
    optima = pilots.all_optima(range(done, done + _PILOTS_HARD), far[:_FAR_HARD])
    ranks = _RANKS_FEW if disagreements <= _FEW else _RANKS_MANY
    return Recipe(pool=apart(np.concatenate([pool, optima])), ranks=ranks)


@dataclasses.dataclass(frozen=True)
class _Pilots:
    """Fits of pilot resamples.

    Attributes:
        problem: what is fitted.
        own: (n,) weights of the runs, None where all count the same.
        options: how hard the solver tries.
    """

    problem: Problem
    own: NDArray[np.float64] | None
    options: SolverOptions

    def optima_of_races(self, pilots: range, far: NDArray[np.float64]) -> NDArray[np.float64]:
        """Best optimum of every pilot that has one from the starts `far` (K, p); (P, p) or fewer."""
        # Always mixed: only its float32 stage races starts, and these optima only serve as starts.
        wide = dataclasses.replace(self.options, precision="mixed", wide_start=True, max_steps=_FAR_STEPS)
        starts = [np.broadcast_to(start, (len(pilots), len(start))) for start in far]
        solution = solve(self.problem, self.weights(pilots), starts, options=wide)
        return solution.theta[solution.is_optimum]

    def all_optima(self, pilots: range, far: NDArray[np.float64]) -> NDArray[np.float64]:
        """Optima of every pilot from each of the starts `far` (K, p); (P K, p) or fewer.

        Where data are hard, the best of a race is often one that runs off, and there is no optimum to show
        for it; and what is second for one resample is first for another.
        """
        weights = np.repeat(self.weights(pilots), len(far), axis=0)
        wide = dataclasses.replace(self.options, wide_start=True, max_steps=_FAR_STEPS)
        solution = solve(self.problem, weights, np.tile(far, (len(pilots), 1)), options=wide)
        return solution.theta[solution.is_optimum]

    def disagreements(self, pilots: range, pool: NDArray[np.float64]) -> int:
        """How many pilots end with different objectives from the best and second best of `pool` (K, p)."""
        if len(pool) < 2:
            return 0
        weights = self.weights(pilots)
        starts = best_of_pool(self.problem, weights, pool, ranks=2)
        solution = solve(
            self.problem,
            np.tile(weights, (2, 1)),
            starts.reshape(-1, pool.shape[1]),
            options=self.options,
        )
        one, other = solution.objective_value.reshape(2, -1)
        return int(np.sum(np.abs(one - other) > _MISSED * np.minimum(one, other)))

    def weights(self, pilots: range) -> NDArray[Any]:
        """Weights (P, n) of these pilots."""
        drawn = _pilot_weights(len(self.problem.design), pilots)
        return drawn if self.own is None else drawn * self.own


@functools.lru_cache(maxsize=8)
def _pilot_weights(n_runs: int, pilots: range) -> NDArray[np.uint8]:
    """Counts (P, n_runs) of these pilots, the same for every condition of a study."""
    weights = resample_weights(n_runs, np.asarray(pilots), 0, stream=PILOT)
    weights.setflags(write=False)
    return weights
