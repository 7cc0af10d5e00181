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

from chinchilla_jax.errors import UsageError

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

        Stationarity is sum_i w_i psi(r_i / sigma) r_i / sigma = sum_i w_i, whose left side falls with
        sigma, so bisection on ln sigma is safe for any residuals that are not all zero.
        """
        import numpy as np

        r = np.abs(np.asarray(residual, dtype=np.float64))
        w = np.asarray(weights, dtype=np.float64)
        r = np.maximum(
            np.where(w > 0, r, 0.0), 1e-16
        )  # a perfect fit has no scale; this one is below rounding
        total = np.sum(w, axis=-1)
        mean_abs = np.sum(w * r, axis=-1) / total
        # At fixed residuals psi(x) x <= delta |x|, so sigma <= delta mean|r|; and >= for x in the zone.
        low = np.log(np.maximum(mean_abs, 1e-300) * min(self.delta, 1.0)) - 30.0
        high = np.log(np.maximum(np.sqrt(np.sum(w * r * r, axis=-1) / total), 1e-300)) + 1.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            x = r / np.exp(middle)[..., None]
            too_small = np.sum(w * np.minimum(x, self.delta) * x, axis=-1) > total
            low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
        return np.exp(0.5 * (low + high))


Objective = Huber | HuberScale
