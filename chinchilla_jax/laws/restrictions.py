"""Two restrictions of the five-parameter law: equal exponents, and an irreducible loss that is given.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import non_negative_number
from chinchilla_jax.laws.chinchilla import CHINCHILLA
from chinchilla_jax.laws.design import FLOOR
from chinchilla_jax.laws.frames import Frame, SlopeFrame
from chinchilla_jax.laws.law import Floats, Law, Place
from chinchilla_jax.laws.scaling_law import log_terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.scaling_law import ScalingLaw, Values


@dataclasses.dataclass(frozen=True)
class EqualExponents(Law):
    """L = E + A N^-alpha + B D^-alpha: tokens per parameter are the same at every budget.

    theta is (a', b', E, alpha'), alpha' = alpha sd(ln N); constants: sd(ln D) / sd(ln N).
    """

    name: ClassVar[str] = "equal_exponents"
    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha")
    formula: ClassVar[str] = "E + A N^-alpha + B D^-alpha"
    source: ClassVar[str] = "Hoffmann et al. 2022, eq. 2, with alpha = beta"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (3,)
    bounded: ClassVar[tuple[int, ...]] = (FLOOR,)
    frame: ClassVar[Frame | None] = SlopeFrame(amplitude=0, floor=FLOOR, exponent=3)

    @staticmethod
    def log_loss(theta: Array, place: Place, constants: Array) -> Array:
        """See `Law.log_loss`."""
        import jax.numpy as jnp

        a, b, floor, alpha = theta
        u, v = place
        of_params, of_tokens = log_terms(a, b, alpha, alpha * constants[0], u, v)
        return jnp.log(floor + jnp.exp(of_params) + jnp.exp(of_tokens))

    def constants(self, design: Design) -> Floats:
        """sd(ln D) / sd(ln N), (1,)."""
        return np.array([design.tokens_scale / design.params_scale])

    def full(self, theta: Floats, design: Design) -> Floats:
        """The same law as a five-parameter one, (..., 5)."""
        return np.concatenate([theta, theta[..., 3:] * self.constants(design)[0]], axis=-1)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """E, A, B, alpha."""
        found = CHINCHILLA.natural(self.full(theta, design), design)
        return {name: found[name] for name in self.parameters}

    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """See `Law.internal`."""
        return CHINCHILLA.internal({**natural, "beta": natural["alpha"]}, design)[..., :4]

    def starts(self, design: Design, count: int) -> Floats:
        """Spread over the published grid."""
        return CHINCHILLA.starts(design, count)[:, :4]

    def embed(self, theta: Floats, design: Design) -> Floats:
        """The law with the exponent of the parameters in both places."""
        return theta[:4]

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw:
        """The same law as a five-parameter one."""
        return CHINCHILLA.fitted(self.full(theta, design), design)


@dataclasses.dataclass(frozen=True)
class FixedFloor(Law):
    """L = E + A N^-alpha + B D^-beta with the irreducible loss E given.

    theta is (a', b', alpha', beta'); constants: E.

    Attributes:
        floor: E (nats per token), zero or more; the published 1.69 of Hoffmann et al. 2022 by default.
    """

    name: ClassVar[str] = "fixed_floor"
    parameters: ClassVar[tuple[str, ...]] = ("A", "B", "alpha", "beta")
    formula: ClassVar[str] = "E given: E + A N^-alpha + B D^-beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, eq. 2, with E given"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (2, 3)
    floor: float = 1.69

    def __post_init__(self) -> None:
        """Refuse an irreducible loss that has no meaning."""
        non_negative_number("FixedFloor: floor", self.floor, remedy="give zero or more nats per token")

    def require(self, design: Design) -> None:
        """See `Law.require`.

        Raises:
            UsageError: E is not below every loss, which both terms only add to.
        """
        lowest = float(np.exp(design.log_loss.min()))
        if self.floor >= lowest:
            raise UsageError(
                f"fixed_floor: E = {self.floor:g} is not below the lowest loss of the table, {lowest:.4g}; "
                "give a smaller one (--floor, or FixedFloor(floor=...) in Python)"
            )

    @staticmethod
    def log_loss(theta: Array, place: Place, constants: Array) -> Array:
        """See `Law.log_loss`."""
        import jax.numpy as jnp
        from jax import lax

        a, b, alpha, beta = theta
        u, v = place
        # In logarithms: without a floor a lane may well pass through tiny losses.
        of_params, of_tokens = log_terms(a, b, alpha, beta, u, v)
        largest = lax.stop_gradient(jnp.maximum(of_params, of_tokens))  # its derivatives cancel
        rest = jnp.exp(of_params - largest) + jnp.exp(of_tokens - largest)
        return largest + jnp.log(rest + constants[0] * jnp.exp(-largest))

    def constants(self, design: Design) -> Floats:
        """E, (1,)."""
        return np.array([self.floor])

    def full(self, theta: Floats) -> Floats:
        """The same law as a five-parameter one, (..., 5)."""
        floor = np.full((*np.shape(theta)[:-1], 1), self.floor)
        return np.concatenate([theta[..., :2], floor, theta[..., 2:]], axis=-1)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """A, B, alpha, beta."""
        found = CHINCHILLA.natural(self.full(theta), design)
        return {name: found[name] for name in self.parameters}

    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """See `Law.internal`."""
        return np.delete(CHINCHILLA.internal({"E": self.floor, **natural}, design), FLOOR, axis=-1)

    def starts(self, design: Design, count: int) -> Floats:
        """Spread over the published grid."""
        return np.delete(CHINCHILLA.starts(design, count), FLOOR, axis=1)

    def embed(self, theta: Floats, design: Design) -> Floats:
        """The law without its floor."""
        return np.delete(theta, FLOOR)

    def exchanged(self, theta: Floats) -> Floats:
        """See `Law.exchanged`."""
        return np.asarray(theta[..., [1, 0, 3, 2]])

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw:
        """The same law as a five-parameter one."""
        return CHINCHILLA.fitted(self.full(theta), design)
