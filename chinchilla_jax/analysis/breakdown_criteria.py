"""Criteria for a changed conclusion, and the fits that they compare.

| code      | shape  | meaning                                                                  |
|-----------|--------|--------------------------------------------------------------------------|
| at_budget | (R,)   | ln tokens per parameter of each resample at one budget                   |
| curves    | (R, k) | the same at k budgets                                                    |
| slopes    | (R,)   | (alpha - beta)/(alpha + beta) of each resample                           |

Three criteria say that a conclusion has changed:
- "ratio_leaves_interval": the median tokens per parameter at one budget lies outside the percentile interval
  that the unperturbed runs give;
- "slope_excludes_zero": the percentile interval of the slope of ln tokens per parameter in ln compute
  excludes zero (the slope has one sign for one law, however it is measured: that of alpha - beta);
- "ratio_leaves_range": the median tokens per parameter at any of a range of budgets lies outside 10 to 40.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.compute import NEAR_RULE_OF_THUMB, params_times_tokens
from chinchilla_jax.perturbations import Perturbation
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws.objectives import Objective

Floats = NDArray[np.float64]
CRITERIA = ("ratio_leaves_interval", "slope_excludes_zero", "ratio_leaves_range")
RANGE_FLOPS = (1e20, 1e26)
_BUDGETS_PER_DECADE = 4
_POINT_STARTS, _POINT_STEPS = 16, 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What the criteria compare, for every resample: NaN where its fit failed.

    Attributes:
        at_budget: ln tokens per parameter at one budget, (R,).
        curves: the same over a range of budgets, (R, k).
        slopes: (alpha - beta)/(alpha + beta), (R,).
    """

    at_budget: Floats
    curves: Floats
    slopes: Floats

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
        flops: float,
        seed: int,
        options: SolverOptions | None,
    ) -> None:
        """Keep what all sizes share."""
        self.runs, self.weights, self.objective = runs, weights, objective
        self.flops, self.seed, self.options = flops, seed, options or SolverOptions()
        decades = math.log10(RANGE_FLOPS[1] / RANGE_FLOPS[0])
        self.budgets = np.geomspace(*RANGE_FLOPS, round(decades * _BUDGETS_PER_DECADE) + 1)

    def at(self, perturbation: Perturbation | None) -> Fitted:
        """The fits under a perturbation, or of the runs as they are."""
        runs = self.runs if perturbation is None else perturbation.apply(self.runs, seed=self.seed)
        wide = dataclasses.replace(self.options, wide_start=True, max_steps=_POINT_STEPS)
        point = fit(runs, objective=self.objective, starts=_POINT_STARTS, options=wide)
        boot = fit_resamples(runs, weights=self.weights, point=point, options=self.options)
        intercept, slope = boot.laws.log_ratio_line()
        sound = boot.counted & np.isfinite(intercept)
        intercept, slope = np.where(sound, intercept, np.nan), np.where(sound, slope, np.nan)
        return Fitted(
            at_budget=intercept + slope * math.log(params_times_tokens(self.flops)),
            curves=intercept[:, None] + slope[:, None] * np.log(params_times_tokens(self.budgets)),
            slopes=slope,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a criterion is met first: the side, and for "ratio_leaves_range" the budget (position)."""

    up: bool
    budget: int = 0


class Conclusion:
    """The unperturbed conclusion, and the criteria: for all resamples together, and for each one."""

    def __init__(self, none: Fitted, level: float) -> None:
        """Take the conclusion from the fits of the runs as they are."""
        self.none = none
        self.tails = central_tails(level)
        known = none.known
        self.median = float(np.median(none.at_budget[known]))
        self.interval = np.quantile(none.at_budget[known], self.tails)
        self.range = np.log(NEAR_RULE_OF_THUMB)

    def met(self, criterion: str, fitted: Fitted) -> bool:
        """Whether the resamples together meet the criterion."""
        known = fitted.known
        if criterion == "ratio_leaves_interval":
            median = np.median(fitted.at_budget[known])
            return not self.interval[0] <= median <= self.interval[1]
        if criterion == "slope_excludes_zero":
            low, high = np.quantile(fitted.slopes[known], self.tails)
            return not low <= 0 <= high
        medians = np.median(fitted.curves[known], axis=0)
        return bool(np.any((medians < self.range[0]) | (medians > self.range[1])))

    def place(self, criterion: str, fitted: Fitted) -> Place:
        """Where these fits, all resamples together, are farthest beyond the criterion, or nearest to it."""
        known = fitted.known
        if criterion == "ratio_leaves_interval":
            median = float(np.median(fitted.at_budget[known]))
            return Place(up=median - self.interval[1] >= self.interval[0] - median)
        if criterion == "slope_excludes_zero":
            low, high = np.quantile(fitted.slopes[known], self.tails)
            return Place(up=bool(low >= -high))
        medians = np.median(fitted.curves[known], axis=0)
        above, below = medians - self.range[1], self.range[0] - medians
        up = bool(above.max() >= below.max())
        return Place(up=up, budget=int(np.argmax(above if up else below)))

    def excess(self, criterion: str, fitted: Fitted, place: Place) -> Floats:
        """By how much each single resample is beyond the criterion at one place, (R,): positive where it is.

        Half of the resamples are beyond it where all together just meet it there.
        """
        known = fitted.known
        if criterion == "ratio_leaves_interval":
            moved = fitted.at_budget - self.none.at_budget
            both = known & self.none.known
            moved = moved - np.median(moved[both]) + np.median(fitted.at_budget[known])
            limits = self.interval
        elif criterion == "slope_excludes_zero":
            low, high = np.quantile(fitted.slopes[known], self.tails) - np.median(fitted.slopes[known])
            return fitted.slopes + low if place.up else -(fitted.slopes + high)
        else:
            moved, limits = fitted.curves[:, place.budget], self.range
        return moved - limits[1] if place.up else limits[0] - moved

    def sentences(self, flops: float, level: float) -> dict[str, str]:
        """Each criterion in words, with the numbers of the unperturbed runs."""
        low, high = np.exp(self.interval)
        known = self.none.known
        slope_low, slope_high = np.quantile(self.none.slopes[known], self.tails)
        least, most = NEAR_RULE_OF_THUMB
        span = " and ".join(f"{budget:.0e}".replace("e+", "e") for budget in RANGE_FLOPS)
        return {
            "ratio_leaves_interval": (
                f"the median tokens per parameter at {flops:.4g} FLOP leave {low:.3g} to {high:.3g}, their "
                f"{100 * level:g}% interval without any miscount (median {math.exp(self.median):.3g})"
            ),
            "slope_excludes_zero": (
                f"the {100 * level:g}% interval of the slope, decades of tokens per parameter per decade of "
                f"compute, leaves out zero (without any miscount {slope_low:.3f} to {slope_high:.3f})"
            ),
            "ratio_leaves_range": (
                f"the median tokens per parameter leave {least:g} to {most:g} somewhere between {span} FLOP"
            ),
        }
