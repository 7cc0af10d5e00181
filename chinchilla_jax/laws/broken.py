"""The five-parameter law with one smooth bend in either term.

Source: Caballero et al. 2022, "Broken Neural Scaling Laws" (arXiv:2210.14891), eq. 1:
b x^-c0 (1 + (x/d)^(1/f))^(-c f) passes from exponent c0 to c0 + c around x = d, over about 4 f in ln x.
Written with alpha = c0 + c/2, the exponent at the break, this is b' x^-alpha cosh(ln(x/d) / 2f)^(-c f), since
1 + y = 2 sqrt(y) cosh(ln(y)/2): the same curve, with the bend c apart from the slope alpha.

Break and sharpness are given and not fitted: at c = 0, where the five-parameter law lies, they would have no
meaning, and no test of c = 0 its usual distribution.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.laws.chinchilla import CHINCHILLA
from chinchilla_jax.laws.design import FLOOR
from chinchilla_jax.laws.frames import Frame, SlopeFrame
from chinchilla_jax.laws.law import Floats, Law, Place
from chinchilla_jax.laws.scaling_law import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.scaling_law import Values

_BENDS = (0.0, 0.3, -0.3)  # of the starts, standardised


@dataclasses.dataclass(frozen=True)
class Broken(Law):
    """The five-parameter law with one smooth bend in either term.

    theta is (a', b', E, alpha', beta', c', k'), exponents and bends in units of 1/sd; constants, first for N
    and then for D: the break in standardised logarithms, sd/2f and f/sd.

    Attributes:
        sharpness: f, the source's name, though a smaller f is a sharper bend: the exponent passes from
            alpha - c/2 to alpha + c/2 over about 4 f in ln N. Positive.
        params_break: N_b, where the parameter term bends; None for the geometric mean of the runs.
        tokens_break: D_b, where the token term bends; None for the geometric mean.
    """

    name: ClassVar[str] = "broken"
    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "bend_N", "bend_D")
    formula: ClassVar[str] = "E + A N^-alpha cosh(ln(N/N_b)/2f)^-cf + B D^-beta cosh(ln(D/D_b)/2f)^-kf"
    source: ClassVar[str] = "Caballero et al. 2022, eq. 1, one break in each term"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (3, 4, 5, 6)
    bounded: ClassVar[tuple[int, ...]] = (FLOOR,)
    least: ClassVar[tuple[int, int, int]] = (4, 4, 8)
    frame: ClassVar[Frame | None] = SlopeFrame(amplitude=0, floor=FLOOR, exponent=3)
    sharpness: float = 1.0
    params_break: float | None = None
    tokens_break: float | None = None

    def __post_init__(self) -> None:
        """Refuse fields that have no meaning."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                positive_number(f"Broken: {field.name}", value)

    @staticmethod
    def log_loss(theta: Array, place: Place, constants: Array) -> Array:
        """See `Law.log_loss`."""
        import jax.numpy as jnp

        a, b, floor, alpha, beta, bend_n, bend_d = theta
        u, v = place
        at_n, steep_n, soft_n, at_d, steep_d, soft_d = constants

        def log_cosh(z: Array) -> Array:
            return jnp.logaddexp(z, -z) - math.log(2.0)

        of_params = a - alpha * u - bend_n * soft_n * log_cosh(steep_n * (u - at_n))
        of_tokens = b - beta * v - bend_d * soft_d * log_cosh(steep_d * (v - at_d))
        return jnp.log(floor + jnp.exp(of_params) + jnp.exp(of_tokens))

    def constants(self, design: Design) -> Floats:
        """For N and for D: the break, sd/2f and f/sd; (6,)."""
        parts = []
        for where, location, scale in (
            (self.params_break, design.params_location, design.params_scale),
            (self.tokens_break, design.tokens_location, design.tokens_scale),
        ):
            at = 0.0 if where is None else (math.log(where) - location) / scale
            parts += [at, scale / (2 * self.sharpness), self.sharpness / scale]
        return np.array(parts)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """E, A, B, alpha and beta at the breaks, and the bends."""
        return {
            **CHINCHILLA.natural(theta[..., :5], design),
            "bend_N": theta[..., 5] / design.params_scale,
            "bend_D": theta[..., 6] / design.tokens_scale,
        }

    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """See `Law.internal`."""
        five = CHINCHILLA.internal({name: natural[name] for name in PARAMETERS}, design)
        scales = {"bend_N": design.params_scale, "bend_D": design.tokens_scale}
        bends = np.stack([np.asarray(natural[name] * scale) for name, scale in scales.items()], axis=-1)
        return np.concatenate([five, bends], axis=-1)

    def starts(self, design: Design, count: int) -> Floats:
        """The published grid, with and without bends."""
        bends = [[_BENDS[i % 3], _BENDS[i // 3 % 3]] for i in range(count)]
        return np.concatenate([CHINCHILLA.starts(design, count), bends], axis=1)

    def embed(self, theta: Floats, design: Design) -> Floats:
        """The law without bends."""
        return np.concatenate([theta, np.zeros(2)])
