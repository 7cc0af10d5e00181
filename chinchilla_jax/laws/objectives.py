"""Objectives: what a fit minimises, on residuals of the log loss or of the loss itself.

Notation
    residual   r_i       ln L(N_i, D_i) - ln L_i, log predicted minus log observed loss: positive where the
                         law overestimates; (..., n); dimensionless. Raw objectives: L(N_i, D_i) - L_i, which
                         is L_i (exp(r_i) - 1); nats per token
    weights    w_i       weight of run i, zero or more; (..., n)
    down, up             ends of the quadratic zone: it reaches from -down to up
    influence  psi(r)    min(max(r, -down), up), the derivative of the loss of one residual
    loss       rho(r)    psi(r) (r - psi(r)/2): quadratic in the zone, linear outside
    sigma      sigma     scale of the residuals, fitted by `HuberScale` only

| objective          | down  | up            | value reported                           |
|--------------------|-------|---------------|------------------------------------------|
| `Huber`            | delta | delta         | sum_i w_i rho(r_i)                       |
| `Squared`          | inf   | inf           | sum_i w_i r_i^2 / 2                      |
| `RawHuber`         | delta | delta         | sum_i w_i rho(r_i), r_i raw              |
| `RawSquared`       | inf   | inf           | sum_i w_i r_i^2 / 2, r_i raw             |
| `AsymmetricError`  | width | penalty width | sum_i w_i rho(r_i) / width               |
| `HuberScale`       | delta sigma, fitted   | negative log likelihood                  |
| your own function  | scale | scale         | sum_i w_i rho(r_i / scale)               |

Two estimators are in use in the literature under one name, and they are kept apart here by name: `Huber`
(Hoffmann et al. 2022, arXiv:2203.15556, eq. 3; the bootstrap of Besiroglu et al. 2024) and `HuberScale` (the
point estimate of Besiroglu et al. 2024, arXiv:2404.10102).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.laws.own_objective import OwnObjective, objective_from_function
from chinchilla_jax.laws.zoned import (
    AUTO,
    AsymmetricError,
    Delta,
    Huber,
    RawHuber,
    RawSquared,
    Squared,
    ZonedObjective,
    influence,
    residual_loss,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AUTO",
    "OBJECTIVES",
    "AsymmetricError",
    "Delta",
    "Huber",
    "HuberScale",
    "Objective",
    "OwnObjective",
    "RawHuber",
    "RawSquared",
    "Squared",
    "ZonedObjective",
    "huber_location",
    "influence",
    "is_automatic",
    "is_unresolved",
    "objective_from_function",
    "own_residuals",
    "read_objective",
    "residual_loss",
    "settings",
]


@dataclasses.dataclass(frozen=True)
class HuberScale:
    """Negative log likelihood of a Huber density whose scale sigma is fitted with the law.

    The density of r is proportional to exp(-Huber_delta(r / sigma)) / sigma. At the small `delta` in use
    the quadratic zone is delta * sigma wide (5e-9 on the Chinchilla runs): the estimator is least absolute
    deviations, at whose minimum residuals vanish, up to as many as there are parameters.

    Source: Besiroglu et al. 2024 (arXiv:2404.10102), point estimate.

    Args:
        delta: half-width of the quadratic zone, in units of sigma. Positive.

    Example:
        >>> round(cj.fit(runs, objective=cj.HuberScale(delta=1e-3), starts=16).parameters["alpha"], 2)
        0.35
    """

    delta: float = 1e-3
    name: ClassVar[str] = "huber_scale"

    def __post_init__(self) -> None:
        """Refuse a width that has no meaning."""
        positive_number("HuberScale: delta", self.delta)

    @property
    def log_normaliser(self) -> float:
        """Ln of the integral of exp(-Huber_delta(x)): the density's normalising constant at sigma = 1."""
        central = math.sqrt(2.0 * math.pi) * math.erf(self.delta / math.sqrt(2.0))
        tails = 2.0 * math.exp(-0.5 * self.delta**2) / self.delta
        return math.log(central + tails)

    def value(self, residual: ArrayLike, weights: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
        """Negative log likelihood(s) at scale(s) `sigma`; sums over the last axis."""
        w = np.asarray(weights, dtype=np.float64)
        s = np.asarray(sigma, dtype=np.float64)
        r = np.where(w > 0, np.asarray(residual, dtype=np.float64), 0.0)
        inner = Huber(self.delta).value(r / s[..., None], w)
        return inner + np.sum(w, axis=-1) * (np.log(s) + self.log_normaliser)

    def scale(self, residual: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
        """The sigma that minimises the negative log likelihood at fixed residuals; leading axes kept.

        Stationarity is sum_i w_i min(t |r_i|, delta) t |r_i| = sum_i w_i in t = 1 / sigma. The left side
        grows with t and is a quadratic between the values delta / |r_i| at which a run leaves the zone: they
        tell which quadratic, and that is solved.
        """
        w = np.asarray(weights, dtype=np.float64)
        # A perfect fit has no scale; this one is below rounding.
        r = np.maximum(np.where(w > 0, np.abs(np.asarray(residual, dtype=np.float64)), 0.0), 1e-16)
        w, r = np.broadcast_arrays(w, r)
        order = np.argsort(r, axis=-1)
        w, r = np.take_along_axis(w, order, axis=-1), np.take_along_axis(r, order, axis=-1)
        total = np.sum(w, axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", over="ignore"):  # a residual that is not finite gives NaN
            inside = np.cumsum(w * r * r, axis=-1)
            outside = np.cumsum((w * r)[..., ::-1], axis=-1)[..., ::-1]
            # Quadratics 0..n by how many runs, the smallest residuals, are in the zone.
            inside = np.concatenate([np.zeros_like(total), inside], axis=-1)
            outside = np.concatenate([outside, np.zeros_like(total)], axis=-1)
            leaving = self.delta / r
            reached = leaving * (leaving * inside[..., 1:] + self.delta * outside[..., 1:]) >= total
            count = np.sum(reached, axis=-1, keepdims=True)
            square = np.take_along_axis(inside, count, axis=-1)
            linear = self.delta * np.take_along_axis(outside, count, axis=-1)
            return ((linear + np.sqrt(linear * linear + 4.0 * square * total)) / (2.0 * total))[..., 0]


Objective = Huber | Squared | AsymmetricError | HuberScale | RawHuber | RawSquared | OwnObjective
"""What a fit may minimise: one of the built-in objectives, or a function of your own."""

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (Huber, HuberScale, Squared, AsymmetricError, RawHuber, RawSquared)
}
"""The objectives by name."""


def read_objective(
    given: Objective | str, *, delta: Delta | None = None, penalty: float | None = None
) -> Objective:
    """The objective, or the one of that name.

    Args:
        given: an objective, or a name out of `OBJECTIVES`.
        delta: half-width of the zone, for "huber" and "raw_huber" (a number or "auto") and "huber_scale".
        penalty: of an overestimate, for "asymmetric".

    Raises:
        UsageError: it is neither, or an objective is given a number that it does not take.
    """
    numbers: dict[str, Any] = {"delta": delta, "penalty": penalty}
    asked = {name: value for name, value in numbers.items() if value is not None}
    if isinstance(given, ZonedObjective | HuberScale):
        if asked:
            raise UsageError(f"objective is {given!r}; leave out {' and '.join(asked)}, which it already has")
        return given
    if not isinstance(given, str):
        raise UsageError(f"objective is {short(given)}; give Huber() or another objective, or a name")
    if given not in OBJECTIVES:
        raise unknown_name("objective", given, OBJECTIVES)
    kind = OBJECTIVES[given]
    fields = {field.name for field in dataclasses.fields(kind)}
    for name in asked:
        if name not in fields:
            raise UsageError(f"objective {given!r} has no {name}; leave it out")
    return kind(**asked)


def settings(objective: Objective) -> dict[str, float | str | bool]:
    """The name and the fields of an objective, for tables and JSON."""
    fields = dataclasses.asdict(objective)
    if "automatic" in fields:
        fields["scale_automatic" if "scale" in fields else "delta_automatic"] = fields.pop("automatic")
    return {"objective": objective.name, **fields}


def is_unresolved(objective: Objective) -> bool:
    """Whether the data have yet to decide the width of the zone, or the scale."""
    return AUTO in (getattr(objective, "delta", None), getattr(objective, "scale", None))


def is_automatic(objective: Objective) -> bool:
    """Whether the data decide the width of the zone, or have decided it."""
    return bool(getattr(objective, "automatic", False))


def own_residuals(
    objective: Objective, residual: NDArray[np.float64], log_loss: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Residuals as the objective counts them (..., n), from those of the log loss and ln L_i (n,)."""
    if isinstance(objective, ZonedObjective) and objective.raw:
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(log_loss) * np.expm1(residual))
    return residual


def huber_location(values: NDArray[np.float64], delta: float) -> float:
    """The c that minimises the Huber objective of half-width `delta` over `values - c`, values (n,).

    There sum psi(values - c) = 0. Residuals that are drawn as errors are centred there: the law that data are
    simulated from is then the one that the estimator finds, whatever the skewness of the residuals.
    """
    low, high = float(np.min(values)), float(np.max(values))
    for _ in range(100):
        middle = 0.5 * (low + high)
        if influence(values - middle, delta, delta).sum() > 0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
