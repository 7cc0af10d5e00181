"""The law of Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.5, which has no irreducible loss."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax.laws.chinchilla import CHINCHILLA
from chinchilla_jax.laws.law import Floats, Law, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.scaling_law import ScalingLaw, Values


@dataclasses.dataclass(frozen=True)
class Kaplan(Law):
    """L = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D: no irreducible loss.

    theta is (x', y', p', ln alpha_D) of alpha_D ln(exp(x' - p' u) + exp(y' - sd v)), p' = sd(ln N)
    alpha_N / alpha_D; constants: sd(ln D).
    """

    name: ClassVar[str] = "kaplan"
    parameters: ClassVar[tuple[str, ...]] = ("N_c", "D_c", "alpha_N", "alpha_D")
    formula: ClassVar[str] = "((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D"
    source: ClassVar[str] = "Kaplan et al. 2020, eq. 1.5"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (2, 3)
    additive: ClassVar[bool] = False

    @staticmethod
    def log_loss(theta: Array, place: Place, constants: Array) -> Array:
        """See `Law.log_loss`."""
        import jax.numpy as jnp

        x, y, ratio, log_alpha = theta
        u, v = place
        return jnp.exp(log_alpha) * jnp.logaddexp(x - ratio * u, y - constants[0] * v)

    def constants(self, design: Design) -> Floats:
        """The exponent of D inside the power is one: sd(ln D) in the units of v."""
        return np.array([design.tokens_scale])

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """N_c and D_c (counts), alpha_N, alpha_D."""
        x, y, ratio, log_alpha = np.moveaxis(theta, -1, 0)
        power = ratio / design.params_scale
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            alpha = np.exp(log_alpha)
            return {
                "N_c": np.exp(x / power + design.params_location),
                "D_c": np.exp(y + design.tokens_location),
                "alpha_N": power * alpha,
                "alpha_D": alpha,
            }

    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """See `Law.internal`."""
        power = np.asarray(natural["alpha_N"] / natural["alpha_D"])
        return np.stack(
            [
                power * (np.log(natural["N_c"]) - design.params_location),
                np.log(natural["D_c"]) - design.tokens_location,
                power * design.params_scale,
                np.log(natural["alpha_D"]),
            ],
            axis=-1,
        )

    def starts(self, design: Design, count: int) -> Floats:
        """Exponents from 0.03 to 0.8, and how the loss of the middle run divides between the terms."""
        exponents = np.geomspace(0.03, 0.8, 5)
        kinds = [(n, d, s) for s in (0.5, 0.15, 0.85) for n in exponents for d in exponents]
        level = float(np.mean(design.log_loss))
        points = []
        for i in range(count):
            alpha_n, alpha_d, share = kinds[(i * 29) % len(kinds)]
            inside = level / alpha_d
            points.append(
                (
                    inside + math.log(share),
                    inside + math.log1p(-share),
                    alpha_n / alpha_d * design.params_scale,
                    math.log(alpha_d),
                )
            )
        return np.array(points)

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw:
        """The inside of the power, which has its minimum where the power has: a law with E = 0, beta = 1."""
        x, y, ratio, _ = np.moveaxis(theta, -1, 0)
        return CHINCHILLA.fitted(np.stack([x, y, 0 * x, ratio, 0 * x + design.tokens_scale], axis=-1), design)
