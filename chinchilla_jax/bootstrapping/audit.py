"""How often the fit of a resample misses its lowest minimum, from a sample that is searched again.

Notation
    R, n, p    resamples, runs, parameters of the law

A certificate speaks of a local minimum. Whether a lower one exists, only more starts can tell: every
sixteenth resample is fitted again from all members of the pool, each to its end, and from points spread over
what is plausible for the law. Which resamples these are depends on their place alone, so that the audit
changes none when others are added; where it finds a lower minimum, the resample gets it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.scouting import exceeds
from chinchilla_jax.solvers import Solution
from chinchilla_jax.solvers.dispatch import has_kernel
from chinchilla_jax.solvers.drawn import concatenated
from chinchilla_jax.solvers.pool_starts import PoolStarts
from chinchilla_jax.solvers.requests import alone
from chinchilla_jax.solvers.status import is_certified

if TYPE_CHECKING:
    from chinchilla_jax.solvers.drawn import Weights

_EVERY, _MOST = 16, 256  # of how many resamples one is searched again; how many at most
_SPREAD, _SPREAD_SLOW = 16, 8  # starts spread over what is plausible, with a kernel and without
RATE_TO_MENTION = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """What the search of a sample found.

    Attributes:
        searched: certified resamples of the sample.
        missed: of these, how many were certified above the lowest minimum that is known now.
    """

    searched: int
    missed: int

    @property
    def rate(self) -> float:
        """Estimated share of the certified resamples that miss their lowest minimum; NaN without a sample."""
        return self.missed / self.searched if self.searched else float("nan")

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence where the rate is above one in a thousand."""
        if not self.missed or self.rate <= RATE_TO_MENTION:
            return ()
        return (
            f"{self.missed} of {self.searched} resamples that were fitted again from many more starts have a "
            f"lower minimum: about {self.rate:.2g} of all resamples may end at one that is not the lowest, "
            "which widens the intervals; more runs, or a law with fewer parameters, has fewer minima",
        )


def audit(fitter: ResampleFitter, solution: Solution, weights_of: Callable[[slice], Weights]) -> Audit | None:
    """Search a sample of the resamples again, and put lower minima where they are found.

    Args:
        fitter: what fitted the resamples.
        solution: (R,) fits of the resamples; changed in place.
        weights_of: what was drawn for a slice of the resamples, (r, n).

    Returns:
        What was found; None where resamples were not searched from several starts in the first place. Where
        pilots have shown that one start is enough, they are the sample.
    """
    recipe = fitter.recipe
    if recipe is None or fitter.solver != "newton":
        return None
    if not recipe.most:
        return Audit(searched=recipe.agreed, missed=0) if recipe.agreed else None
    lanes = np.arange(0, len(solution), _EVERY)[:_MOST]
    lanes = lanes[is_certified(solution.status[lanes])]
    if not len(lanes):
        return Audit(searched=0, missed=0)
    weights = fitter.weighted(concatenated([weights_of(slice(lane, lane + 1)) for lane in lanes]))
    before = solution[lanes]
    best = Solution.best_of([before, _searched(fitter, weights)])
    missed = exceeds(before.objective_value, best.objective_value, weights)
    solution.put(lanes[missed], best[missed])
    return Audit(searched=len(lanes), missed=int(missed.sum()))


def _searched(fitter: ResampleFitter, weights: Weights) -> Solution:
    """The best fit of each of these weights (R, n) from near and far."""
    problem = fitter.problem
    starts = fitter.starts(weights)
    assert not isinstance(starts, PoolStarts)
    spread = problem.law.starts(
        problem.design, _SPREAD if has_kernel(problem.law, problem.objective) else _SPREAD_SLOW
    )
    return Solution.best_of(alone(fitter.ask_each_try(weights, starts, spread)))
