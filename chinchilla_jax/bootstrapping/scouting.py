"""How the resamples of one data set are started, found out on a few pilot resamples.

Notation
    theta      internal coordinates, see laws/law.py; (..., p)
    pool       optima found on a fixed pilot set of resamples; (K, p)

A resample's optimum lies near that of some other resample. Giving every resample the member of a pool of
optima with the lowest objective under its own weights costs one matrix product and saves steps. The pool
holds what pilots have found on the way, so that none is fitted for it alone; twice as many members would save
less than they cost. Where few runs or heavy noise make several minima, the best member is not enough; `scout`
finds out where, and which starts to add.

| recipe | where                                     | starts of a resample                               |
|--------|-------------------------------------------|----------------------------------------------------|
| near   | many runs, pilots agree                   | the best of the pool                               |
| raced  | many runs, pilots disagree, in a study    | two or four, of which the best is finished         |
| search | few runs, or pilots disagree              | nine, each to its end; up to 33 where these differ |

By the CPU kernel a start of a search is ended where it meets the end of an earlier one, or stalls far above.

Optima of resamples lie along a valley, in which a narrow zone makes shallow minima. The best two of a pool
often lie on the same side of what divides these, so pilots are also fitted from the best of each third of it.

Of 7,600 resamples of 20 small tables (12 to 41 runs), one near start misses the lowest minimum in 1.5%, the
best of four in 0.4%, and the search in 0.05%; of 8,400 of 21 others the first in 0.8% and the last in 0.08%.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax.bootstrapping.weights import PILOT, resample_weights
from chinchilla_jax.fitting.optima_pool import apart, best_of_parts, best_of_pool
from chinchilla_jax.laws.objectives import Huber, HuberScale
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, Status
from chinchilla_jax.solvers.dispatch import has_kernel
from chinchilla_jax.solvers.drawn import Drawn, sums
from chinchilla_jax.solvers.pool_starts import Pool, PoolStarts, lowest
from chinchilla_jax.solvers.requests import Asking, Request, alone, ask_tries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.drawn import Weights
    from chinchilla_jax.solvers.pool_starts import Starts

_PILOTS, _FAR = 24, 4  # pilot resamples, far starts for each
_DOUBTS = 26, 78  # further pilots, in two batches, each fitted from two of the optima found: do they agree?
_ALONG, _PARTS = 384, 3  # pilots fitted from the best of each part of the pool, unless starts race
_MOST_ALONG = 2**20  # of them, times runs: large tables have fewer minima, and slower fits
_PILOTS_HARD, _FAR_HARD, _FAR_RACED = 128, 2, 1  # pilots added where they do not; far starts, where raced
_FEW = 2  # up to this many disagreements a resample has `_RANKS_FEW` starts, beyond it `_RANKS_MANY`
_RANKS_FEW, _RANKS_MANY = 2, 4
_FAR_STEPS, _FAR_STEPS_SLOW = 40, 300  # where the kernel fits the law, and elsewhere
_SMALL = 100  # up to this many runs every resample is searched, whatever the pilots say
_SEARCHED, _SEARCHED_MOST = 8, 32  # starts of a resample that is searched, and where these differ
_APART_SEARCHED = 0.3  # between the members of its pool: nearer ones lead to the same minimum
_UNKNOWN = 16  # starts in place of the optima of a point fit that found none
_MISSED = 1e-6  # relative excess over the best objective known that counts as another optimum
_EXACT = 1e-10  # residual, in log loss, up to which a run is met exactly


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """How to start the resamples of one data set.

    Attributes:
        pool: (K, p) known optima, from which each resample takes the best under its own weights.
        ranks: how many of them, best first, each resample is fitted from.
        most: how many where these lead to different minima; 0 where the starts of a resample race.
        far: (F, p) starts of every resample besides, where none races.
        scouted: whether pilots have shown that so many are enough.
        agreed: how many pilots, fitted from two or three optima each, ended at the same one; 0 where some
            did not.
    """

    pool: NDArray[np.float64]
    ranks: int
    most: int = 0
    far: NDArray[np.float64] | None = None
    scouted: bool = True
    agreed: int = 0

    def candidates(self, problem: Problem, weights: Weights) -> Starts:
        """Starts for every resample, best guess first; left to the device where it draws the weights."""
        ranks = max(self.ranks, self.most)
        if not isinstance(weights, Drawn):
            return list(best_of_pool(problem, weights, self.pool, ranks=ranks))
        pool = Pool(problem, self.pool, ranks)
        return lowest(weights, pool) if self.most else PoolStarts.of(pool, len(weights))


def known_optima(problem: Problem, minima: NDArray[np.float64]) -> NDArray[np.float64]:
    """`minima` (K, p) of a point fit; starts spread over the law's own grid where it found none."""
    return minima if len(minima) else problem.law.starts(problem.design, _UNKNOWN)


def ask_recipe(
    problem: Problem,
    minima: NDArray[np.float64],
    own: NDArray[np.float64] | None,
    options: SolverOptions,
    *,
    raced: bool = False,
    search_small: bool = True,
) -> Asking[Recipe]:
    """How to start the resamples, from the optima (K, p) of the point fit; see solvers/requests.py.

    Pilot resamples tell, see `ask_scout`. In a study, a law without a kernel goes without: every resample is
    started from two optima of the point fit, and from the others where neither leads to a certificate.

    Args:
        problem: what is fitted.
        minima: (K, p) optima of the point fit; may be empty.
        own: (n,) weights of the runs, None where all count the same.
        options: how hard the solver tries.
        raced: whether the starts of a resample race where there are many runs; see `ask_scout`.
        search_small: see `ask_scout`.
    """
    law, objective = problem.law, problem.objective
    known = known_optima(problem, minima)
    # HuberScale is started from the optima of a smooth objective.
    smooth = Huber() if isinstance(objective, HuberScale) else objective
    small = search_small and len(problem.design) <= _SMALL
    if raced and not small and not has_kernel(law, smooth):
        pool = apart(known)
        return Recipe(pool=pool, ranks=min(_RANKS_FEW, len(pool)), scouted=False)
    smooth_problem = dataclasses.replace(problem, objective=smooth)
    return (
        yield from ask_scout(
            smooth_problem, known, own=own, options=options, raced=raced, search_small=search_small
        )
    )


def scout(
    problem: Problem,
    minima: NDArray[np.float64],
    *,
    own: NDArray[np.float64] | None = None,
    options: SolverOptions,
    raced: bool = False,
) -> Recipe:
    """`ask_scout` of one data set."""
    return alone(ask_scout(problem, minima, own=own, options=options, raced=raced))


def ask_scout(
    problem: Problem,
    minima: NDArray[np.float64],
    *,
    own: NDArray[np.float64] | None = None,
    options: SolverOptions,
    raced: bool = False,
    search_small: bool = True,
) -> Asking[Recipe]:
    """Find out on a few pilot resamples how the resamples of this data set must be started.

    Pilot resamples are fitted from several far starts. Further ones are then fitted from two different optima
    of those, or three along the valley: if these always lead to the same objective, one near start is enough.
    Otherwise (heavy noise on the counts makes many shallow minima) the pool grows, and every resample is
    searched from several of its members, which lie apart, and from afar. On few runs some hundred pilots are
    too few to tell, and every resample is searched.

    The scouting is a function of the runs alone, not of the seed or the number of resamples, so that adding
    resamples later changes none of the first.

    Args:
        problem: what is fitted.
        minima: (K, p) known optima.
        own: (n,) weights of the runs, None where all count the same.
        options: how hard the solver tries.
        raced: whether, on many runs whose pilots disagree, two or four starts of a resample race and only
            the best is finished. That is several times as fast, and misses the lowest minimum more often;
            studies of hundreds of conditions are made that way.
        search_small: whether on few runs every resample is searched, whatever the pilots say. Where `raced`
            and not this, few runs are treated as many: faster, and the best of four starts misses the lowest
            minimum in 0.4% of the resamples, see above.
    """
    law = problem.law
    pilots = _Pilots(problem, own, options)
    steps = _FAR_STEPS if has_kernel(law, problem.objective) else _FAR_STEPS_SLOW
    far = law.starts(problem.design, _FAR)
    raced_to = yield from pilots.optima_of_races(range(_PILOTS), far, steps)
    pool = np.unique(np.concatenate([minima, raced_to]), axis=0)
    members, disagreements, disorder, done = apart(pool), 0, False, _PILOTS
    further = []  # optima of these pilots: members that cost nothing
    small = search_small and len(problem.design) <= _SMALL
    for count in _DOUBTS:
        if disagreements <= _FEW and not small:
            ends = yield from pilots.ends(range(done, done + count), members)
            disagreements, disorder = disagreements + ends.differing, disorder or not ends.orderly
            further.append(ends.optima)
        done += count
    # A miss of one in a hundred can escape them; optima at the boundary are a sign of the same disorder.
    orderly = bool(np.all(pool[:, list(law.bounded)] > 0)) and (raced or not disorder)
    hard_ones = range(done, done + _PILOTS_HARD)
    agreed = sum(_DOUBTS)
    if not (small or disagreements or raced) and orderly:
        count = min(_ALONG, max(_MOST_ALONG // len(problem.design), _PILOTS))
        along = range(hard_ones.stop, hard_ones.stop + count)
        ends = yield from pilots.ends(along, pool, _PARTS)
        disagreements, orderly = ends.differing, ends.orderly
        agreed += count
    if not small and not disagreements and orderly:
        # Where fits are this short, the choice among all of them would cost more than it saves.
        return Recipe(pool=np.concatenate([pool, *further[:1]]), ranks=1, agreed=agreed)
    race = raced and not small
    hard = yield from pilots.all_optima(hard_ones, far[: _FAR_RACED if race else _FAR_HARD], steps)
    pool = np.concatenate([pool, hard])
    if race:
        ranks = _RANKS_FEW if disagreements <= _FEW else _RANKS_MANY
        return Recipe(pool=np.concatenate([apart(pool), *further]), ranks=ranks)
    pool = apart(pool, _APART_SEARCHED)
    return Recipe(pool=pool, ranks=_SEARCHED, most=_SEARCHED_MOST, far=far[:1])


class _Ends(NamedTuple):
    """Where pilots end from several starts each.

    Attributes:
        differing: how many end with different objectives.
        orderly: whether all end at a certified optimum that no bound holds.
        optima: the best of each pilot that has one, (P, p) or fewer.
    """

    differing: int
    orderly: bool
    optima: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
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

    def optima_of_races(
        self, pilots: range, far: NDArray[np.float64], steps: int
    ) -> Asking[NDArray[np.float64]]:
        """Best optimum of every pilot that has one from the starts `far` (K, p); (P, p) or fewer."""
        # Always mixed: only its float32 stage races starts, and these optima only serve as starts.
        wide = dataclasses.replace(self.options, precision="mixed", wide_start=True, max_steps=steps)
        starts = [np.broadcast_to(start, (len(pilots), len(start))) for start in far]
        solution = yield Request(
            problem=self.problem, weights=self.weights(pilots), starts=starts, options=wide
        )
        return solution.theta[solution.is_optimum]

    def all_optima(self, pilots: range, far: NDArray[np.float64], steps: int) -> Asking[NDArray[np.float64]]:
        """Optima of every pilot from each of the starts `far` (K, p); (P K, p) or fewer.

        Where data are hard, the best of a race is often one that runs off, and there is no optimum to show
        for it; and what is second for one resample is first for another.
        """
        wide = dataclasses.replace(self.options, wide_start=True, max_steps=steps)
        # Lanes that begin at one point side by side: their first zone is found once.
        solution = yield Request(
            problem=self.problem,
            weights=self.weights(pilots),
            row=np.tile(np.arange(len(pilots)), len(far)),
            starts=[np.repeat(far, len(pilots), axis=0)],
            options=wide,
        )
        by_pilot = solution[np.arange(len(solution)).reshape(len(far), -1).T.ravel()]
        return by_pilot.theta[by_pilot.is_optimum]

    def ends(self, pilots: range, pool: NDArray[np.float64], parts: int = 1) -> Asking[_Ends]:
        """Where pilots end from the best and second best of `pool` (K, p).

        With `parts`, from the best of each of so many parts of the pool along its valley.
        """
        if len(pool) < 2:
            return _Ends(0, True, np.empty((0, pool.shape[1])))
        weights = self.weights(pilots)
        if parts > 1:
            starts = best_of_parts(self.problem, weights, pool, parts)
        else:
            starts = best_of_pool(self.problem, weights, pool, ranks=2)
        each = yield from ask_tries(self.problem, weights, list(starts), options=self.options)
        differing = differ(np.array([end.objective_value for end in each]), weights)
        best = Solution.best_of(each)
        return _Ends(
            int(np.sum(differing)),
            all(np.all(end.status == Status.CONVERGED) for end in each),
            best.theta[best.is_optimum],
        )

    def weights(self, pilots: range) -> NDArray[Any]:
        """Weights (P, n) of these pilots."""
        drawn = _pilot_weights(len(self.problem.design), pilots)
        return drawn if self.own is None else drawn * self.own


def differ(values: NDArray[np.float64], weights: Weights) -> NDArray[np.bool_]:
    """Whether objectives (K, R) of several fits of each resample (R, n) belong to different minima; (R,)."""
    return exceeds(values.max(axis=0), values.min(axis=0), weights)


def exceeds(value: NDArray[np.float64], lowest: NDArray[np.float64], weights: Weights) -> NDArray[np.bool_]:
    """Whether objectives (R,) of resamples (R, n) lie above the lowest known (R,), and not by rounding; (R,).

    Where every run is met exactly, the objective is rounding altogether.
    """
    rounding = _EXACT**2 * sums(weights)
    with np.errstate(invalid="ignore"):
        return np.asarray(value - lowest > _MISSED * np.abs(lowest) + rounding)


@functools.lru_cache(maxsize=8)
def _pilot_weights(n_runs: int, pilots: range) -> NDArray[np.uint8]:
    """Counts (P, n_runs) of these pilots, the same for every condition of a study."""
    weights = resample_weights(n_runs, np.asarray(pilots), 0, stream=PILOT)
    weights.setflags(write=False)
    return weights
