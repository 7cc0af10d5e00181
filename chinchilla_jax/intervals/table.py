"""One function and one table for every interval: any method, any quantity, pointwise or simultaneous.

| code       | symbol | shape  | meaning                                                            |
|------------|--------|--------|--------------------------------------------------------------------|
| laws       |        | (R,)   | the laws fitted to the resamples                                   |
| inner      |        | (R, K) | the laws fitted to K resamples of each resample                    |
| jackknife  |        | (m,)   | the laws fitted without one run (or one cluster of runs)           |
| factor     |        | ()     | by how much a scheme's deviations from the point are to be widened |

Methods (`INTERVAL_METHODS`); the formulas are in `interval_methods.py`:
- "percentile", "basic", "highest_density" need the resamples alone;
- "gaussian" takes the normal of (ln A, ln B, E, alpha, beta) around the point, with the covariance of the
  resamples: exact limits for the parameters, quantiles of laws drawn from it for what is derived, as
      Besiroglu et al. 2024
  (arXiv:2404.10102) do. Point and resamples are of one estimator;
- "besiroglu2024" is the same around `huber_scale_point`, the mix that was published, and has its own name for
  that;
- "bca" needs `jackknife`, "studentised" needs `inner`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.intervals import methods as methods_of
from chinchilla_jax.intervals.draws import philox, positive_whole
from chinchilla_jax.intervals.parameters import (
    check_lanes,
    check_point,
    five_parameter_law,
    normal_coordinates,
)
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.quantities import Quantity, parameter_quantities, scaled_matrix
from chinchilla_jax.laws.fitted import FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

INTERVAL_METHODS = (
    "percentile",
    "basic",
    "bca",
    "studentised",
    "gaussian",
    "highest_density",
    "besiroglu2024",
)
_NORMAL_METHODS = ("gaussian", "besiroglu2024")
_E_STREAM = 1  # of the draws of E, beside those of (ln A, ln B, alpha, beta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replicates:
    """All that intervals are made from, for one data set and one estimator.

    Attributes:
        laws: of the resamples, shape (R,).
        converged: which of them count, bool (R,).
        point: the single law fitted to all runs by the same estimator.
        factor: deviations of `laws` from `point` are multiplied by this, on the scale of each quantity: 1 for
            resamples as large as the data; see `schemes.py` for the others.
        quantiles: whether the resamples' distribution, and not only their spread, stands for that of the
            estimate (not so for a jackknife).
        jackknife: laws without one run (or cluster), NaN where a fit failed, shape (m,); or None.
        inner: laws of resamples of the resamples, NaN where a fit failed, shape (R, K); or None.
        huber_scale_point: the `HuberScale` point fit, for "besiroglu2024" alone; or None.

    Raises:
        UsageError: shapes disagree.
    """

    laws: FittedLaws
    converged: NDArray[np.bool_]
    point: FittedLaws
    factor: float = 1.0
    quantiles: bool = True
    jackknife: FittedLaws | None = None
    inner: FittedLaws | None = None
    huber_scale_point: FittedLaws | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        check_lanes(self.laws, self.converged)
        check_point(self.point, "Replicates", self.laws)
        if self.huber_scale_point is not None:
            check_point(self.huber_scale_point, "Replicates", self.laws)
        if self.inner is not None and (len(self.inner.shape) != 2 or len(self.inner) != len(self.laws)):
            raise UsageError(f"inner laws have shape {self.inner.shape}; give ({len(self.laws)}, K)")

    def require(self, method: str) -> None:
        """Raise `UsageError` unless `method` is known and has what it needs."""
        if method not in INTERVAL_METHODS:
            raise unknown_name("interval method", method, INTERVAL_METHODS)
        if not self.quantiles and method != "gaussian":
            raise UsageError(
                f"method {method!r} takes quantiles, and the fits of a jackknife have only a spread; "
                "use 'gaussian'"
            )
        if method == "bca" and self.jackknife is None:
            raise UsageError("method 'bca' needs the fits without each run: bootstrap(..., jackknife=True)")
        if method == "studentised" and self.inner is None:
            raise UsageError(
                "method 'studentised' needs resamples of the resamples: bootstrap(..., inner=50)"
            )
        if method == "besiroglu2024" and self.huber_scale_point is None:
            raise UsageError(
                "method 'besiroglu2024' mixes two estimators (a HuberScale point with a Huber bootstrap); a "
                "bootstrap has one: use 'percentile' or 'gaussian', or run_study, which fits both"
            )


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
        replicates: see there.
        quantities: what to give intervals for; None for the parameters of the law.
        levels: mass of each central interval, between 0 and 1.
        methods: out of `INTERVAL_METHODS`.
        simultaneous: widen the limits of a quantity that is asked for at several budgets (or places) until a
            share `level` of the resamples' whole curves lies inside, by the envelope of Davison & Hinkley
            1997, section 4.2.4. The pointwise level that does so is found on the resamples and used by every
            method.
        draws: laws drawn by the normal methods for what is derived.
        seed: seed of these draws.

    Returns:
        One row per level, method and quantity, in that order: quantity, flops, params, tokens (places, NaN
        where the quantity has none), estimate, standard_error (in the quantity's unit), low, high, level,
        method, simultaneous, n_converged, n_failed (resamples with a value of the quantity and without one;
        they add up to R). Limits are NaN where the method has none, as BCa where all resamples lie on one
        side of the estimate.

    Raises:
        UsageError: an argument is out of range, or a method lacks what it needs.
    """
    import pandas as pd

    return pd.DataFrame(
        interval_columns(
            replicates,
            quantities,
            levels=levels,
            methods=methods,
            simultaneous=simultaneous,
            draws=draws,
            seed=seed,
        )
    )


def interval_columns(
    replicates: Replicates,
    quantities: Sequence[Quantity] | None = None,
    *,
    levels: Sequence[float] = (0.8,),
    methods: Sequence[str] = ("percentile",),
    simultaneous: bool = False,
    draws: int = 4000,
    seed: int = 0,
) -> dict[str, list[Any]]:
    """The columns of `interval_table`, for whom the import of pandas would take longer than the intervals."""
    parameters = replicates.laws.as_dict()
    chosen = parameter_quantities(parameters) if quantities is None else list(quantities)
    if not chosen or not all(isinstance(quantity, Quantity) for quantity in chosen):
        raise UsageError(f"quantities = {short(quantities)}: give one or more Quantity")
    tails = {float(level): central_tails(level)[0] for level in levels}
    if not tails or not methods:
        raise UsageError("levels and methods: give one or more of both, such as (0.8,) and ('percentile',)")
    for method in methods:
        replicates.require(method)
    work = _Work(replicates, chosen, positive_whole("draws", draws), seed)
    curves = _curves(chosen) if simultaneous else [[j] for j in range(len(chosen))]
    columns: dict[str, list[Any]] = {}
    for level, tail in tails.items():
        for method in methods:
            low, high = np.full(len(chosen), np.nan), np.full(len(chosen), np.nan)
            for curve in curves:
                low[curve], high[curve] = work.limits(method, curve, tail)
            for name, values in work.columns(low, high, level, method, simultaneous).items():
                columns.setdefault(name, []).extend(values)
    return columns


class _Work:
    """The quantities of all laws, computed once for all methods and levels."""

    def __init__(self, replicates: Replicates, quantities: list[Quantity], draws: int, seed: int) -> None:
        self.replicates, self.quantities = replicates, quantities
        self.draws, self.seed = draws, seed
        # Of other laws, what is derived has a normal of its own, on the scale of the quantity.
        self._parameters = replicates.laws.as_dict()
        self._draws_laws = isinstance(replicates.laws, ScalingLaw)
        self.estimate = scaled_matrix(quantities, replicates.point)
        values = scaled_matrix(quantities, replicates.laws)
        values[~replicates.converged] = np.nan
        with np.errstate(invalid="ignore"):  # an infinite estimate and an infinite replicate
            self.values = (
                values
                if replicates.factor == 1
                else self.estimate + replicates.factor * (values - self.estimate)
            )
        self._jackknife: NDArray[np.float64] | None = None
        self._inner_se: NDArray[np.float64] | None = None
        self._drawn: dict[str, NDArray[np.float64]] = {}

    def limits(self, method: str, curve: list[int], tail: float) -> methods_of.Limits:
        values, estimate = self.values[:, curve], self.estimate[curve]
        derived = self.quantities[curve[0]].name not in self._parameters
        drawn = self._draws_laws and derived and method in _NORMAL_METHODS
        if drawn:
            values = self._normal_draws(method)[:, curve]
        if len(curve) > 1:
            tail = methods_of.simultaneous_tail(values[~np.isnan(values).any(axis=1)], tail)
            if math.isnan(tail):
                return np.full(len(curve), np.nan), np.full(len(curve), np.nan)
        if drawn or method == "percentile":
            return methods_of.percentile(values, tail)
        if method == "bca":
            return methods_of.bca(values, estimate, self._jackknife_values()[:, curve], tail)
        if method == "highest_density":
            return methods_of.highest_density(values, tail)
        if method == "basic":
            limits = methods_of.basic(values, estimate, tail)
        elif method == "studentised":
            limits = methods_of.studentised(values, estimate, self._inner()[:, curve], tail)
        else:
            limits = methods_of.gaussian(
                values, scaled_matrix(self.quantities, self._centre(method))[curve], tail
            )
        # These can reach below a bound that every fit respects.
        bounds = np.array([0.0 if self.quantities[j].name == "E" else -np.inf for j in curve])
        return np.maximum(limits[0], bounds), np.maximum(limits[1], bounds)

    def columns(
        self,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        level: float,
        method: str,
        simultaneous: bool,
    ) -> dict[str, list[Any]]:
        counted = (~np.isnan(self.values)).sum(axis=0)
        natural = np.stack([q.unscaled(self.values[:, j]) for j, q in enumerate(self.quantities)], axis=-1)
        centre = scaled_matrix(self.quantities, self._centre(method))
        count = len(self.quantities)
        return {
            "quantity": [quantity.name for quantity in self.quantities],
            **{
                place: [float(getattr(quantity, place)) for quantity in self.quantities]
                for place in ("flops", "params", "tokens")
            },
            "estimate": [float(q.unscaled(value)) for q, value in zip(self.quantities, centre, strict=True)],
            "standard_error": methods_of.standard_errors(natural).tolist(),
            "low": [float(q.unscaled(value)) for q, value in zip(self.quantities, low, strict=True)],
            "high": [float(q.unscaled(value)) for q, value in zip(self.quantities, high, strict=True)],
            "level": [level] * count,
            "method": [method] * count,
            "simultaneous": [simultaneous] * count,
            "n_converged": counted.tolist(),
            "n_failed": (len(self.values) - counted).tolist(),
        }

    def _centre(self, method: str) -> FittedLaws:
        point = self.replicates.huber_scale_point if method == "besiroglu2024" else None
        return self.replicates.point if point is None else point

    def _jackknife_values(self) -> NDArray[np.float64]:
        if self._jackknife is None:
            assert self.replicates.jackknife is not None  # `require` has looked
            self._jackknife = scaled_matrix(self.quantities, self.replicates.jackknife)
        return self._jackknife

    def _inner(self) -> NDArray[np.float64]:
        """Standard error of each resample's quantities, (R, q)."""
        if self._inner_se is None:
            inner = self.replicates.inner
            assert inner is not None
            self._inner_se = np.stack(
                [methods_of.standard_errors(q.scaled(inner).T) for q in self.quantities],
                axis=-1,
            )
        return self._inner_se

    def _normal_draws(self, method: str) -> NDArray[np.float64]:
        if method not in self._drawn:
            laws = _draw_five(
                five_parameter_law(self.replicates.laws, method)[self.replicates.converged],
                five_parameter_law(self._centre(method), method),
                self.replicates.factor,
                self.draws,
                self.seed,
            )
            self._drawn[method] = scaled_matrix(self.quantities, laws)
        return self._drawn[method]


def _draw_five(laws: ScalingLaw, centre: ScalingLaw, factor: float, draws: int, seed: int) -> ScalingLaw:
    """Laws from the normal of all five coordinates: those of `draw_laws`, with E given the other four."""
    points, values = normal_coordinates(laws), np.asarray(laws.E)
    kept = np.isfinite(points).all(axis=-1)
    if kept.sum() < 2:
        nan = np.full(draws, np.nan)
        return ScalingLaw(E=nan, A=nan, B=nan, alpha=nan, beta=nan)
    points, values = points[kept], values[kept]
    covariance = np.cov(points, rowvar=False)
    variances, axes = np.linalg.eigh(covariance)
    root = (axes * np.sqrt(np.maximum(variances, 0.0))) @ axes.T
    shifts = factor * philox(seed).standard_normal((draws, 4)) @ root
    # E given the rest: its regression on them, and what that leaves.
    centred = points - points.mean(axis=0)
    coefficients = np.linalg.lstsq(centred, values - values.mean(), rcond=None)[0]
    rest = float(np.std(values - values.mean() - centred @ coefficients, ddof=1))
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _E_STREAM])))
    floor = centre.E + shifts @ coefficients + factor * rest * generator.standard_normal(draws)
    drawn = normal_coordinates(centre) + shifts
    with np.errstate(over="ignore"):
        A, B = np.exp(drawn[:, 0]), np.exp(drawn[:, 1])
    return ScalingLaw(E=floor, A=A, B=B, alpha=drawn[:, 2], beta=drawn[:, 3])


def _curves(quantities: list[Quantity]) -> list[list[int]]:
    """Positions of the quantities, those of one name together."""
    order = sorted(range(len(quantities)), key=lambda j: quantities[j].name)
    return [list(group) for _, group in groupby(order, key=lambda j: quantities[j].name)]
