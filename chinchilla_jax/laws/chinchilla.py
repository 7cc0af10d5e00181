"""The five-parameter law, L(N, D) = E + A N^-alpha + B D^-beta, in the coordinates it is fitted in.

Notation
    theta           (a', b', E, alpha', beta'); (..., 5)
        a' = ln A - alpha mean(ln N)      alpha' = alpha sd(ln N)
        b' = ln B - beta mean(ln D)       beta'  = beta sd(ln D)
    so that L(N, D) = exp(a' - alpha' u) + exp(b' - beta' v) + E at standardised u, v (laws/design.py).

E stays in natural units, because the best E can be zero, and that bound is finite here and infinite in ln E.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.laws.design import FLOOR, Design
from chinchilla_jax.laws.frames import Frame, SlopeFrame
from chinchilla_jax.laws.law import Floats, Law, Place, Places
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw, log_terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array

    from chinchilla_jax.laws.scaling_law import Values


@dataclasses.dataclass(frozen=True)
class Chinchilla(Law):
    """L = E + A N^-alpha + B D^-beta."""

    name: ClassVar[str] = "chinchilla"
    parameters: ClassVar[tuple[str, ...]] = PARAMETERS
    formula: ClassVar[str] = "E + A N^-alpha + B D^-beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, eq. 2"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (3, 4)
    bounded: ClassVar[tuple[int, ...]] = (FLOOR,)
    least: ClassVar[tuple[int, int, int]] = (3, 3, 6)
    grid_size: ClassVar[int] = 4500
    frame: ClassVar[Frame | None] = SlopeFrame(amplitude=0, floor=FLOOR, exponent=3)
    stacks: ClassVar[bool] = True

    @staticmethod
    def log_loss(theta: Array, place: Place, constants: Array) -> Array:
        """See `Law.log_loss`."""
        import jax.numpy as jnp

        a, b, floor, alpha, beta = theta
        u, v = place
        of_params, of_tokens = log_terms(a, b, alpha, beta, u, v)
        return jnp.log(floor + jnp.exp(of_params) + jnp.exp(of_tokens))

    def constants(self, design: Design) -> Floats:
        """No constants, (0,)."""
        return np.zeros(0)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """E, A, B, alpha, beta."""
        return {name: np.asarray(values) for name, values in self.fitted(theta, design).as_dict().items()}

    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """See `Law.internal`."""
        return self.theta(ScalingLaw(**natural), design)

    def starts(self, design: Design, count: int) -> Floats:
        """The published grid, or `count` of its points spread over it."""
        return self.theta_from_logs(grid_starts(count), design)

    def exchanged(self, theta: Floats) -> Floats | None:
        """See `Law.exchanged`."""
        return np.asarray(theta[..., [1, 0, 2, 4, 3]])

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """The law itself."""
        return self.fitted(theta, design)

    def fitted(self, theta: Floats, design: Design) -> ScalingLaw:
        """Law(s) in natural units of `theta` (..., 5)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)
        alpha, beta = alpha / design.params_scale, beta / design.tokens_scale
        with np.errstate(over="ignore"):
            fields = {
                "A": np.exp(a + alpha * design.params_location),
                "B": np.exp(b + beta * design.tokens_location),
                "alpha": alpha,
                "beta": beta,
            }
        for values in fields.values():
            if values.ndim:
                values.setflags(write=False)  # so that the law need not copy them
        return ScalingLaw(E=e, **fields)

    def theta(self, law: ScalingLaw, design: Design) -> Floats:
        """Internal coordinates of `law`, E = 0 included; (..., 5)."""
        with np.errstate(divide="ignore"):
            log_a, log_b = np.log(law.A), np.log(law.B)
        fields = np.broadcast_arrays(log_a, log_b, law.E, law.alpha, law.beta)
        return _standardised(*fields, design=design)

    def theta_from_logs(self, logs: NDArray[np.float64], design: Design) -> Floats:
        """Internal coordinates of (ln A, ln B, ln E, alpha, beta); (..., 5) to (..., 5)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(logs, dtype=np.float64), -1, 0)
        return _standardised(a, b, np.exp(e), alpha, beta, design=design)

    def log_losses(self, theta: Floats, places: Places, design: Design) -> Floats:
        """Ln of the predicted loss at `places`, (m,) each; theta (..., 5) to (..., m)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)[..., None]
        of_params, of_tokens = log_terms(a, b, alpha, beta, *places)
        with np.errstate(over="ignore", divide="ignore"):
            return np.log(np.exp(of_params) + np.exp(of_tokens) + e)

    def jacobian(self, theta: Floats, design: Design) -> Floats:
        """Derivative of `residuals` with respect to theta; theta (..., 5) to (..., n, 5)."""
        u, v = design.log_params, design.log_tokens
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)[..., None]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            of_params, of_tokens = (np.exp(term) for term in log_terms(a, b, alpha, beta, u, v))
            loss = of_params + of_tokens + e
            s, t = of_params / loss, of_tokens / loss
            return np.stack([s, t, 1.0 / loss, -u * s, -v * t], axis=-1)

    def curvature(self, theta: Floats, design: Design, factors: Floats) -> Floats:
        """Second derivative of sum_i factors_i r_i; theta (R, 5), factors (R, n) to (R, 5, 5)."""
        jacobian = self.jacobian(theta, design)
        found = -np.swapaxes(factors[..., None] * jacobian, 1, 2) @ jacobian
        # The predicted loss is a sum of exponentials: each term adds its share times a square.
        for j, k, place in ((0, 3, design.log_params), (1, 4, design.log_tokens)):
            pull = factors * jacobian[..., j]
            found[:, j, j] += pull.sum(axis=1)
            slope = np.sum(pull * place, axis=1)
            found[:, j, k] -= slope
            found[:, k, j] -= slope
            found[:, k, k] += np.sum(pull * place * place, axis=1)
        return np.asarray(found)


def _standardised(log_a: Any, log_b: Any, e: Any, alpha: Any, beta: Any, *, design: Design) -> Floats:
    return np.stack(
        [
            log_a - alpha * design.params_location,
            log_b - beta * design.tokens_location,
            e,
            alpha * design.params_scale,
            beta * design.tokens_scale,
        ],
        axis=-1,
    )


CHINCHILLA = Chinchilla()
"""The five-parameter law."""
