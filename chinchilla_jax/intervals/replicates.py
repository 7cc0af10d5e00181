"""What intervals are made from: the fits of a bootstrap, the point fit, and what single methods need besides.

| code       | shape  | meaning                                                            |
|------------|--------|--------------------------------------------------------------------|
| laws       | (R,)   | the laws fitted to the resamples                                   |
| counted    | (R,)   | bool: the lanes that count                                         |
| inner      | (R, K) | the laws fitted to K resamples of each resample                    |
| jackknife  | (m,)   | the laws fitted without one run (or one cluster of runs)           |
| factor     | ()     | by how much to widen the deviations of a scheme from the point     |
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.intervals.methods import read_method
from chinchilla_jax.laws.compute import Cost
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws, parameter_names
from chinchilla_jax.laws.priced import PricedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw

_OF_AN_ESTIMATE = ("estimate", "standard_error", "low", "high", "median")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Replicates:
    """All that intervals are made from, for one data set and one estimator.

    Attributes:
        laws: of the resamples, shape (R,).
        counted: which of them count, bool (R,).
        point: the single law fitted to all runs by the same estimator.
        estimated: whether `point` is an estimate; where its fit failed there is none, and every number about
            one (estimate, standard error, limits, median) is NaN.
        factor: deviations of `laws` from `point` are multiplied by this, on the scale of each quantity: 1 for
            resamples as large as the data; see `bootstrapping/schemes.py` for the others.
        quantiles: whether the resamples are distributed as the estimate is; False where only their spread
            has a meaning, as for a jackknife.
        jackknife: laws without one run (or cluster), NaN where a fit failed, shape (m,); or None.
        inner: laws of resamples of the resamples, NaN where a fit failed, shape (R, K); or None.
        huber_scale_point: the `HuberScale` point fit, for "besiroglu2024" alone; or None.

    Raises:
        UsageError: shapes disagree.
    """

    laws: FittedLaws
    counted: NDArray[np.bool_]
    point: FittedLaws
    estimated: bool = True
    factor: float = 1.0
    quantiles: bool = True
    jackknife: FittedLaws | None = None
    inner: FittedLaws | None = None
    huber_scale_point: FittedLaws | None = None

    def priced(self, cost: Cost, draws: Cost | None = None) -> Replicates:
        """The same laws along the budgets of a cost, the resamples along their own where `draws` has them."""
        if cost.is_6nd:
            return self
        return dataclasses.replace(
            self,
            laws=PricedLaws(self.laws, draws or cost),
            point=PricedLaws(self.point, cost),
            jackknife=self.jackknife and PricedLaws(self.jackknife, cost),
            inner=self.inner and PricedLaws(self.inner, cost),
        )

    def __post_init__(self) -> None:
        """Check the shapes."""
        check_lanes(self.laws, self.counted)
        check_point(self.point, "Replicates", self.laws)
        if self.huber_scale_point is not None:
            check_point(self.huber_scale_point, "Replicates", self.laws)
        if self.inner is not None and (len(self.inner.shape) != 2 or len(self.inner) != len(self.laws)):
            raise UsageError(f"inner laws have shape {self.inner.shape}; give ({len(self.laws)}, K)")

    def require(self, name: str) -> None:
        """Raise `UsageError` unless `name` is a method and has what it needs."""
        method = read_method(name)
        if not self.quantiles and not method.normal:
            raise UsageError(
                f"method {name!r} takes quantiles, and the fits of a jackknife have only a spread; "
                "use 'gaussian'"
            )
        if method.needs is not None and getattr(self, method.needs) is None:
            raise UsageError(f"method {name!r} {method.remedy}")

    def centre(self, name: str) -> FittedLaws:
        """The point around which the method of that name takes its interval."""
        if read_method(name).needs == "huber_scale_point" and self.huber_scale_point is not None:
            return self.huber_scale_point
        return self.point


def check_point(point_law: FittedLaws | None, caller: str, laws: FittedLaws) -> FittedLaws:
    """The point law, if it is a single law with the parameters of `laws`; otherwise `UsageError`."""
    # By their own classes first: to look for every method of the protocol takes a hundred times as long.
    if not isinstance(point_law, (ScalingLaw, FittedLaw, FittedLaws)) or point_law.shape:
        raise UsageError(f"{caller}: point_law is {short(point_law)}; give the single law of the point fit")
    found, expected = parameter_names(point_law), parameter_names(laws)
    if found != expected:
        raise UsageError(
            f"{caller}: point_law has the parameters {', '.join(found)} and the resamples "
            f"{', '.join(expected)}; give the point fit of the same law"
        )
    return point_law


def check_lanes(laws: FittedLaws, counted: ArrayLike | None) -> NDArray[np.bool_]:
    """The mask of lanes that count, shape (R,); None means all of them.

    Raises:
        UsageError: `laws` are not of shape (R,), or `counted` is not bool (R,) (status names are not a
            mask).
    """
    if len(laws.shape) != 1:
        raise UsageError(f"laws have shape {laws.shape}; give the laws of one bootstrap, shape (R,)")
    if counted is None:
        return np.ones(laws.shape, dtype=np.bool_)
    mask = np.asarray(counted)
    if mask.dtype != np.bool_ or mask.shape != laws.shape:
        raise UsageError(
            f"counted has dtype {mask.dtype} and shape {mask.shape}; "
            f"give one bool per law, shape {laws.shape}"
        )
    return mask


def without_estimate(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns of a table with NaN for every number about an estimate, where there is none."""
    return {name: [math.nan] * len(of) if name in _OF_AN_ESTIMATE else of for name, of in columns.items()}
