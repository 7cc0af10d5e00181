"""One table for every interval: any method, any quantity, pointwise or simultaneous.

| code     | shape  | meaning                                                              |
|----------|--------|----------------------------------------------------------------------|
| values   | (R, q) | every quantity of every resample, on its scale; NaN for a failed fit |
| estimate | (q,)   | the same of the point fit                                            |
| tail     | ()     | probability outside the interval on each side                        |

`methods.py` lists the methods. "gaussian" and "besiroglu2024" take the normal of (ln A, ln B, E, alpha, beta)
around a point, with the covariance of the resamples: exact limits for the parameters, quantiles of laws drawn
from it for derived quantities, as Besiroglu et al. 2024 (arXiv:2404.10102) do. The point of "gaussian" is by
the estimator of the resamples; "besiroglu2024" is the same around `huber_scale_point`, the mix that was
published. For other laws a derived quantity has a normal of its own, on its scale.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import resample_count
from chinchilla_jax.intervals import limits
from chinchilla_jax.intervals.methods import METHODS, Method, Sample
from chinchilla_jax.intervals.normal import draw_with_floor, five_parameter_law
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.quantities import LOSS, Quantity, parameter_quantities, scaled_matrix
from chinchilla_jax.intervals.replicates import Replicates, without_estimate
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
_TOGETHER = 2**20  # replicates of all quantities, up to which their quantiles are taken in one call


def interval_table(
    replicates: Replicates,
    quantities: Sequence[Quantity] | None = None,
    *,
    levels: Sequence[float] = (0.8,),
    methods: Sequence[str] = ("percentile",),
    simultaneous: bool = False,
    draws: int = 4000,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate, standard error and interval of every quantity, by every method, at every level.

    Args:
        replicates: the fits of a bootstrap.
        quantities: what to give intervals for; None for the parameters of the law.
        levels: mass of each central interval, between 0 and 1.
        methods: out of `METHODS`.
        simultaneous: widen the limits of a quantity at several budgets (or places) until a share `level` of
            the resamples' whole curves lies inside, by the envelope of Davison & Hinkley 1997, section 4.2.4.
            The pointwise level that does so is found on the resamples and used by every method.
        draws: laws drawn by the normal methods for derived quantities.
        seed: seed of these draws.

    Returns:
        One row per level, method and quantity, in that order: quantity, flops, params, tokens (places, NaN
        where the quantity has none), estimate, standard_error (in the quantity's unit), low, high, level,
        method, simultaneous, n_converged, n_failed (resamples with and without a value of the quantity; they
        add up to R). Limits are NaN where the method has none, as BCa where all resamples lie on one side of
        the estimate.

    Raises:
        UsageError: an argument is out of range, or a method lacks what it needs.
    """
    import pandas as pd

    for level in levels:
        central_tails(level)
    if not levels or not methods:
        raise UsageError("levels and methods: give one or more of both, such as (0.8,) and ('percentile',)")
    for method in methods:
        replicates.require(method)
    intervals = Intervals(replicates, quantities, draws=draws, seed=seed)
    tables = [
        intervals.columns(level, method, simultaneous=simultaneous)
        for level in dict.fromkeys(map(float, levels))
        for method in methods
    ]
    return pd.DataFrame({name: [value for table in tables for value in table[name]] for name in tables[0]})


class Intervals:
    """The quantities of all laws, computed once for all methods and levels.

    Args:
        replicates: the fits of a bootstrap.
        quantities: what to give intervals for; None for the parameters of the law.
        draws: laws drawn by the normal methods for derived quantities.
        seed: seed of these draws.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        replicates: Replicates,
        quantities: Sequence[Quantity] | None = None,
        *,
        draws: int = 4000,
        seed: int = 0,
    ) -> None:
        """Compute the quantities of the resamples."""
        self._parameters = replicates.laws.as_dict()
        chosen = parameter_quantities(self._parameters) if quantities is None else list(quantities)
        if not chosen or not all(isinstance(quantity, Quantity) for quantity in chosen):
            raise UsageError(f"quantities = {short(quantities)}: give one or more Quantity")
        self.replicates, self.quantities = replicates, chosen
        self._draws, self._seed = resample_count("draws", draws, low=1), seed
        self._estimate = scaled_matrix(chosen, replicates.point)
        values = scaled_matrix(chosen, replicates.laws)
        values[~replicates.counted] = np.nan
        if replicates.factor != 1:
            with beyond_float64():
                values = self._estimate + replicates.factor * (values - self._estimate)
        self._values = values
        self._centres: dict[str, Floats] = {}
        self._needed: dict[str, Floats] = {}
        self._drawn: dict[str, Floats] = {}

    def columns(self, level: float, name: str, *, simultaneous: bool = False) -> dict[str, list[Any]]:
        """The columns of `interval_table` for one level and method, without pandas.

        Raises:
            UsageError: `level` is not a probability, or the method is unknown or lacks what it needs.
        """
        self.replicates.require(name)
        method, tail, count = METHODS[name], central_tails(level)[0], len(self.quantities)
        low, high = np.full(count, np.nan), np.full(count, np.nan)
        for curve in self._curves(method, simultaneous):
            low[curve], high[curve] = self._limits(method, curve, tail, simultaneous)
        known, errors = self._spread
        scales = [quantity.unscaled for quantity in self.quantities]
        centre = self._centre(name)
        columns = {
            "quantity": [quantity.name for quantity in self.quantities],
            **{
                place: [float(getattr(quantity, place)) for quantity in self.quantities]
                for place in ("flops", "params", "tokens")
            },
            "estimate": [float(scale(value)) for scale, value in zip(scales, centre, strict=True)],
            "standard_error": errors.tolist(),
            "low": [float(scale(value)) for scale, value in zip(scales, low, strict=True)],
            "high": [float(scale(value)) for scale, value in zip(scales, high, strict=True)],
            "level": [float(level)] * count,
            "method": [name] * count,
            "simultaneous": [simultaneous] * count,
            "n_converged": known.tolist(),
            "n_failed": (len(self._values) - known).tolist(),
        }
        return columns if self.replicates.estimated else without_estimate(columns)

    @functools.cached_property
    def _spread(self) -> tuple[NDArray[np.intp], Floats]:
        """Of each quantity: resamples that have it, and the standard error in its own unit; (q,) each."""
        scales = [quantity.unscaled for quantity in self.quantities]
        natural = np.stack([scale(self._values[:, j]) for j, scale in enumerate(scales)], axis=-1)
        return (~np.isnan(self._values)).sum(axis=0), limits.standard_errors(natural)

    def _centre(self, name: str) -> Floats:
        """The quantities of the point that the method of that name takes its interval around, (q,)."""
        point = self.replicates.centre(name)
        if point is self.replicates.point:
            return self._estimate
        if name not in self._centres:
            self._centres[name] = scaled_matrix(self.quantities, point)
        return self._centres[name]

    def _curves(self, method: Method, simultaneous: bool) -> list[list[int]]:
        """Positions of the quantities whose limits are taken in one call.

        Those of one name where they are simultaneous, else those whose limits are quantiles; others alone,
        since the last digit of a sum depends on what is beside it.
        """
        positions = range(len(self.quantities))
        if not simultaneous and self._values.size <= _TOGETHER:
            of_quantiles = [j for j in positions if method.of_quantiles or self._is_drawn(method, j)]
            alone = [[j] for j in positions if j not in of_quantiles]
            return [of_quantiles, *alone] if of_quantiles else alone
        if not simultaneous:
            return [[j] for j in positions]
        order = sorted(positions, key=lambda j: self.quantities[j].name)
        return [list(group) for _, group in groupby(order, key=lambda j: self.quantities[j].name)]

    def _is_drawn(self, method: Method, position: int) -> bool:
        """Whether a normal method takes the limits of this quantity from laws that are drawn."""
        derived = self.quantities[position].name not in self._parameters
        return method.normal and derived and isinstance(self.replicates.laws, ScalingLaw)

    def _limits(self, method: Method, curve: list[int], tail: float, simultaneous: bool) -> limits.Limits:
        values = self._values[:, curve]
        if self._is_drawn(method, curve[0]):
            values, method = self._normal_draws(method)[:, curve], METHODS["percentile"]
        if simultaneous and len(curve) > 1:
            tail = limits.simultaneous_tail(values[~np.isnan(values).any(axis=1)], tail)
            if np.isnan(tail):
                return np.full(len(curve), np.nan), np.full(len(curve), np.nan)
        estimate = self._centre(method.name) if method.normal else self._estimate
        low, high = method.limits(
            Sample(replicates=values, estimate=estimate[curve], **self._needs(method, curve)), tail
        )
        if method.adds:
            bounded = np.array([self.quantities[j].name in ("E", LOSS) for j in curve])  # as in every fit
            low, high = (np.where(bounded, np.maximum(each, 0.0), each) for each in (low, high))
        return low, high

    def _needs(self, method: Method, curve: list[int]) -> dict[str, Floats]:
        """What the method needs besides the resamples, by its name in `Sample`."""
        if method.needs == "jackknife":
            return {"jackknife": self._jackknife()[:, curve]}
        if method.needs == "inner":
            return {"inner_se": self._inner_se()[:, curve]}
        return {}

    def _jackknife(self) -> Floats:
        laws = self.replicates.jackknife
        assert laws is not None  # `Replicates.require` has looked
        if "jackknife" not in self._needed:
            self._needed["jackknife"] = scaled_matrix(self.quantities, laws)
        return self._needed["jackknife"]

    def _inner_se(self) -> Floats:
        """Standard error of each resample's quantities, (R, q)."""
        laws = self.replicates.inner
        assert laws is not None
        if "inner" not in self._needed:
            errors = [limits.standard_errors(quantity.scaled(laws).T) for quantity in self.quantities]
            self._needed["inner"] = np.stack(errors, axis=-1)
        return self._needed["inner"]

    def _normal_draws(self, method: Method) -> Floats:
        if method.name not in self._drawn:
            laws = draw_with_floor(
                five_parameter_law(self.replicates.laws, method.name),
                self.replicates.counted,
                five_parameter_law(self.replicates.centre(method.name), method.name),
                self.replicates.factor,
                self._draws,
                self._seed,
            )
            self._drawn[method.name] = scaled_matrix(self.quantities, laws)
        return self._drawn[method.name]
