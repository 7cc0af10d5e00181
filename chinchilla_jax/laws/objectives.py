"""Robust objectives on the log loss: what a fit minimises.

Notation
    residual   r_i     ln L(N_i, D_i) - ln L_i, log predicted minus log observed loss; (..., n); dimensionless
    weights    w_i     resampling weight of run i, a non-negative count; (..., n)
    delta      delta   half-width of the quadratic zone
    influence  psi(r)  derivative of the loss of one residual
    sigma      sigma   scale of the residuals, fitted by `HuberScale` only

Two estimators are in use in the literature under one name, and they are kept apart here by name:
`Huber` (Hoffmann et al. 2022, arXiv:2203.15556, eq. 3; the bootstrap of Besiroglu et al. 2024) and
`HuberScale` (the point estimate of Besiroglu et al. 2024, arXiv:2404.10102).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from chinchilla_jax._util.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


def _check_delta(name: str, delta: float) -> None:
    if not (isinstance(delta, (int, float)) and math.isfinite(delta) and delta > 0):
        raise UsageError(f"{name}: delta is {delta!r}, expected a positive finite number such as 1e-3")


@dataclasses.dataclass(frozen=True)
class Huber:
    """sum_i w_i Huber_delta(r_i): quadratic within `delta` of zero, linear outside.

    Source: Hoffmann et al. 2022 (arXiv:2203.15556), eq. 3, with delta = 1e-3 on the log residual.

    Args:
        delta: half-width of the quadratic zone, in units of log loss. Positive.
    """

    delta: float = 1e-3
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        """Refuse a width that means nothing."""
        _check_delta("Huber", self.delta)

    def value(self, residual: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
        """Sum of the weighted losses: over the last axis of `residual` and `weights` (which broadcast)."""
        import numpy as np

        r = np.asarray(residual, dtype=np.float64)
        psi = np.clip(r, -self.delta, self.delta)
        return np.sum(np.asarray(weights, dtype=np.float64) * psi * (r - 0.5 * psi), axis=-1)


@dataclasses.dataclass(frozen=True)
class HuberScale:
    """Negative log likelihood of a Huber density whose scale sigma is fitted with the law.

    The density of r is proportional to exp(-Huber_delta(r / sigma)) / sigma. At the small `delta` in use
    the quadratic zone is delta * sigma wide (5e-9 on the Chinchilla runs): the estimator is least absolute
    deviations, its minimum a vertex where as many residuals vanish as there are parameters.

    Source: Besiroglu et al. 2024 (arXiv:2404.10102), point estimate.

    Args:
        delta: half-width of the quadratic zone, in units of sigma. Positive.
    """

    delta: float = 1e-3
    name: ClassVar[str] = "huber_scale"

    def __post_init__(self) -> None:
        """Refuse a width that means nothing."""
        _check_delta("HuberScale", self.delta)

    @property
    def log_normaliser(self) -> float:
        """Ln of the integral of exp(-Huber_delta(x)): the density's normalising constant at sigma = 1."""
        central = math.sqrt(2.0 * math.pi) * math.erf(self.delta / math.sqrt(2.0))
        tails = 2.0 * math.exp(-0.5 * self.delta**2) / self.delta
        return math.log(central + tails)

    def value(self, residual: ArrayLike, weights: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
        """Negative log likelihood(s) at scale(s) `sigma`; sums over the last axis."""
        import numpy as np

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
        import numpy as np

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


Objective = Huber | HuberScale
