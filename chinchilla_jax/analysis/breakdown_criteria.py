"""Criteria for a changed conclusion, and the fits that they compare.

| code      | shape  | meaning                                                                  |
|-----------|--------|--------------------------------------------------------------------------|
| at_budget | (R, B) | ln tokens per parameter of each resample at the budgets asked for        |
| curves    | (R, k) | the same at k budgets                                                    |
| slopes    | (R,)   | slope of it in ln compute: (alpha - beta)/(alpha + beta)                 |

The slope has one sign for one five-parameter law, however it is measured: that of alpha - beta. Of a law
whose optimum is no power of compute it is that of the decade around the first budget.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.text import exact_flops_text, flops_text
from chinchilla_jax.analysis.ratio_curves import log_ratios, ratio_slopes
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.laws.compute import NEAR_RULE_OF_THUMB
from chinchilla_jax.perturbations import Perturbation
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.dispatch import has_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Law
    from chinchilla_jax.laws.objectives import Objective

Floats = NDArray[np.float64]
RANGE_FLOPS = (1e20, 1e26)
_BUDGETS_PER_DECADE = 4
_POINT_STARTS, _POINT_STEPS = 16, 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What the criteria compare, for every resample: NaN where its fit failed.

    Attributes:
        at_budget: ln tokens per parameter at the budgets asked for, (R, B).
        curves: the same over a range of budgets, (R, k).
        slopes: decades of tokens per parameter per decade of compute, (R,).
        point: the fit without resampling.
    """

    at_budget: Floats
    curves: Floats
    slopes: Floats
    point: FitResult

    @property
    def known(self) -> NDArray[np.bool_]:
        """Resamples whose fit is certified and has an optimum, (R,)."""
        return ~np.isnan(self.slopes)


class Sizes:
    """Fits of the runs under any perturbation, on the same resamples."""

    def __init__(
        self,
        runs: Runs,
        weights: NDArray[Any],
        objective: Objective,
        flops: Sequence[float],
        seed: int,
        options: SolverOptions | None,
        law: Law,
    ) -> None:
        """Keep what all sizes share."""
        self.law = law
        self.runs, self.weights, self.objective = runs, weights, objective
        self.flops, self.seed, self.options = tuple(flops), seed, options or SolverOptions()
        decades = math.log10(RANGE_FLOPS[1] / RANGE_FLOPS[0])
        self.budgets = np.geomspace(*RANGE_FLOPS, round(decades * _BUDGETS_PER_DECADE) + 1)

    def at(self, perturbation: Perturbation | None) -> Fitted:
        """The fits under a perturbation, or of the runs as they are."""
        runs = self.runs if perturbation is None else perturbation.apply(self.runs, seed=self.seed)
        wide = dataclasses.replace(self.options, wide_start=True, max_steps=_POINT_STEPS)
        point = fit(runs, self.law, objective=self.objective, starts=_POINT_STARTS, options=wide)
        # Hundreds of sizes: without a kernel, the starts of a resample race, as in a study.
        raced = not has_kernel(self.law, self.objective)
        boot = fit_resamples(runs, weights=self.weights, point=point, options=self.options, raced=raced)
        ratios = log_ratios(boot.laws, [*self.flops, *self.budgets])
        slopes = ratio_slopes(boot.laws, self.flops[0])
        sound = boot.counted & np.isfinite(slopes) & np.isfinite(ratios).all(axis=1)
        ratios, slopes = np.where(sound[:, None], ratios, np.nan), np.where(sound, slopes, np.nan)
        own = len(self.flops)
        return Fitted(at_budget=ratios[:, :own], curves=ratios[:, own:], slopes=slopes, point=point)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a criterion is met first: the side, and for "ratio_leaves_range" the budget (position)."""

    up: bool
    budget: int = 0


class Criterion(abc.ABC):
    """One way in which a conclusion can change: for all resamples together, and for each one.

    Args:
        none: the fits of the runs as they are.
        tails: of the percentile intervals.
    """

    name: ClassVar[str]
    flops: float = math.nan
    """The budget (FLOP) that it is about; NaN where it is about none, or about many."""
    alone: bool = True
    """Whether no other criterion has its name."""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return criterion_key(self.name, self.flops, alone=self.alone)

    def __init__(self, none: Fitted, tails: tuple[float, float]) -> None:
        """Keep the unperturbed conclusion."""
        self.none, self.tails = none, tails

    @abc.abstractmethod
    def met(self, fitted: Fitted) -> bool:
        """Whether the resamples together meet the criterion."""

    @abc.abstractmethod
    def place(self, fitted: Fitted) -> Place:
        """Where these fits, all resamples together, are farthest beyond the criterion, or nearest to it."""

    @abc.abstractmethod
    def excess(self, fitted: Fitted, place: Place) -> Floats:
        """By how much each single resample is beyond the criterion at one place, (R,): positive where it is.

        Half of the resamples are beyond it where all together just meet it there.
        """

    @abc.abstractmethod
    def sentence(self, level: float) -> str:
        """The criterion in words, with the numbers of the unperturbed runs."""


class RatioLeavesInterval(Criterion):
    """The median tokens per parameter at one budget lies outside its unperturbed interval.

    Args:
        none: see `Criterion`.
        tails: see `Criterion`.
        budgets: all that are asked for (FLOP).
        which: the position of this one.
    """

    name = "ratio_leaves_interval"

    def __init__(
        self, none: Fitted, tails: tuple[float, float], budgets: Sequence[float], which: int = 0
    ) -> None:
        """Take the interval from the fits of the runs as they are."""
        super().__init__(none, tails)
        self.flops, self.which, self.alone = float(budgets[which]), which, len(budgets) == 1
        known = self._of(none)[none.known]
        self.median = float(np.median(known))
        self.interval = np.quantile(known, tails)

    def _of(self, fitted: Fitted) -> Floats:
        return fitted.at_budget[:, self.which]

    def met(self, fitted: Fitted) -> bool:
        """See `Criterion.met`."""
        median = np.median(self._of(fitted)[fitted.known])
        return not self.interval[0] <= median <= self.interval[1]

    def place(self, fitted: Fitted) -> Place:
        """See `Criterion.place`."""
        median = float(np.median(self._of(fitted)[fitted.known]))
        return Place(up=median - self.interval[1] >= self.interval[0] - median)

    def excess(self, fitted: Fitted, place: Place) -> Floats:
        """See `Criterion.excess`."""
        moved = self._of(fitted) - self._of(self.none)
        both = fitted.known & self.none.known
        moved = moved - np.median(moved[both]) + np.median(self._of(fitted)[fitted.known])
        return _beyond(moved, self.interval, place.up)

    def sentence(self, level: float) -> str:
        """See `Criterion.sentence`."""
        low, high = np.exp(self.interval)
        estimate = float(self.none.point.law.tokens_per_param(self.flops))
        return (
            f"the median tokens per parameter at {flops_text(self.flops, 4)} FLOP leave {low:.3g} to "
            f"{high:.3g}, their {100 * level:g}% interval without any miscount (median of the resamples "
            f"{math.exp(self.median):.3g}; the estimate of fit and plan is {estimate:.3g})"
        )


class SlopeExcludesZero(Criterion):
    """The interval of the slope of ln tokens per parameter in ln compute excludes zero."""

    name = "slope_excludes_zero"

    def met(self, fitted: Fitted) -> bool:
        """See `Criterion.met`."""
        low, high = self._interval(fitted)
        return not low <= 0 <= high

    def place(self, fitted: Fitted) -> Place:
        """See `Criterion.place`."""
        low, high = self._interval(fitted)
        return Place(up=bool(low >= -high))

    def excess(self, fitted: Fitted, place: Place) -> Floats:
        """See `Criterion.excess`."""
        low, high = self._interval(fitted) - np.median(fitted.slopes[fitted.known])
        return fitted.slopes + low if place.up else -(fitted.slopes + high)

    def sentence(self, level: float) -> str:
        """See `Criterion.sentence`."""
        low, high = self._interval(self.none)
        return (
            f"the {100 * level:g}% interval of the slope, decades of tokens per parameter per decade of "
            f"compute, leaves out zero (without any miscount {low:.3f} to {high:.3f})"
        )

    def _interval(self, fitted: Fitted) -> Floats:
        return np.asarray(np.quantile(fitted.slopes[fitted.known], self.tails))


class RatioLeavesRange(Criterion):
    """The median tokens per parameter at any of a range of budgets lies outside 10 to 40."""

    name = "ratio_leaves_range"
    limits: ClassVar[Floats] = np.log(NEAR_RULE_OF_THUMB)

    def met(self, fitted: Fitted) -> bool:
        """See `Criterion.met`."""
        medians = self._medians(fitted)
        return bool(np.any((medians < self.limits[0]) | (medians > self.limits[1])))

    def place(self, fitted: Fitted) -> Place:
        """See `Criterion.place`."""
        medians = self._medians(fitted)
        above, below = medians - self.limits[1], self.limits[0] - medians
        up = bool(above.max() >= below.max())
        return Place(up=up, budget=int(np.argmax(above if up else below)))

    def excess(self, fitted: Fitted, place: Place) -> Floats:
        """See `Criterion.excess`."""
        return _beyond(fitted.curves[:, place.budget], self.limits, place.up)

    def sentence(self, level: float) -> str:
        """See `Criterion.sentence`."""
        least, most = NEAR_RULE_OF_THUMB
        span = " and ".join(f"{budget:.0e}".replace("e+", "e") for budget in RANGE_FLOPS)
        return f"the median tokens per parameter leave {least:g} to {most:g} somewhere between {span} FLOP"

    def _medians(self, fitted: Fitted) -> Floats:
        return np.asarray(np.median(fitted.curves[fitted.known], axis=0))


def _beyond(values: Floats, limits: Floats, up: bool) -> Floats:
    return values - limits[1] if up else limits[0] - values


CRITERIA: dict[str, type[Criterion]] = {
    kind.name: kind for kind in (RatioLeavesInterval, SlopeExcludesZero, RatioLeavesRange)
}
"""The criteria by name."""


def criterion_key(name: str, flops: float, *, alone: bool) -> str:
    """What tells a criterion from the others: its name, with its budget where others have the name too."""
    return name if alone or math.isnan(flops) else f"{name}@{exact_flops_text(flops)}"


def criteria_at(none: Fitted, tails: tuple[float, float], flops: Sequence[float]) -> list[Criterion]:
    """The criteria in order, the first at each of these budgets (FLOP), with unlike keys."""
    first = [RatioLeavesInterval(none, tails, flops, which) for which in range(len(flops))]
    return [*first, SlopeExcludesZero(none, tails), RatioLeavesRange(none, tails)]
