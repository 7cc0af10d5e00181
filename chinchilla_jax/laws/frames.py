"""Coordinates in which a law's valley is straight: what a law may offer to the solver for any law.

Notation (one lane; theta of p coordinates)
    phi    the frame's coordinates of the same law; p of them
    k, m   slope A alpha' and level A + E of a parameter term exp(a' - alpha' u) + E

When alpha is small, A N^-alpha + E is close to (A + E) - A alpha ln N: only the level and the slope are well
determined, and the objective has a long curved valley along which alpha falls while A rises and E falls. A
Newton step in (a', E, alpha') is tangent to that valley and leaves it after a short way. In (ln k, m, alpha')
the valley is nearly a straight line. With a Huber zone of 1e-3 lanes would crawl for hundreds of steps: under
strong log-normal noise this takes the mean number of steps of the five-parameter law from about 60 (many
lanes never finishing) to about 12.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax import Array

SMALLEST_EXPONENT = 1e-3  # of alpha' where the slope frame applies
_LARGEST_RATIO = 0.7  # of a step: the change of ln k, and of alpha' relative to it


class Frame(abc.ABC):
    """Coordinates phi of a law; all functions are of p scalars or arrays of one shape."""

    @abc.abstractmethod
    def applies(self, theta: Sequence[Array]) -> Array:
        """Where these coordinates exist."""

    @abc.abstractmethod
    def safe(self, theta: Sequence[Array], applies: Array) -> list[Array]:
        """Theta, and something harmless where the frame does not apply."""

    @abc.abstractmethod
    def enter(self, theta: Sequence[Array]) -> list[Array]:
        """Phi at theta."""

    @abc.abstractmethod
    def leave(self, phi: Sequence[Array]) -> list[Array]:
        """Theta at phi, with `jax.numpy`."""

    @abc.abstractmethod
    def step_limits(self, theta: Sequence[Array]) -> dict[int, Array]:
        """The longest step, by coordinate of phi, that the quadratic model can mean; others are left out."""

    @abc.abstractmethod
    def longest(self, theta: Sequence[Array], step: Sequence[Array]) -> Array:
        """The length, relative to `step` in phi, up to which `leave` has a meaning."""


@dataclasses.dataclass(frozen=True)
class SlopeFrame(Frame):
    """(ln k, m) in the place of (a', E).

    Attributes:
        amplitude: position of a' = ln A.
        floor: position of E.
        exponent: position of alpha'.
    """

    amplitude: int
    floor: int
    exponent: int

    def applies(self, theta: Sequence[Array]) -> Array:
        """Where alpha' is positive and E is off its bound."""
        return (theta[self.exponent] > SMALLEST_EXPONENT) & (theta[self.floor] > 0)

    def safe(self, theta: Sequence[Array], applies: Array) -> list[Array]:
        """See `Frame.safe`."""
        import jax.numpy as jnp

        found = list(theta)
        for place, value in ((self.amplitude, 0.0), (self.exponent, 1.0)):
            found[place] = jnp.where(applies, theta[place], value)
        return found

    def enter(self, theta: Sequence[Array]) -> list[Array]:
        """See `Frame.enter`."""
        import jax.numpy as jnp

        found, a = list(theta), theta[self.amplitude]
        found[self.amplitude] = a + jnp.log(theta[self.exponent])
        found[self.floor] = theta[self.floor] + jnp.exp(a)
        return found

    def leave(self, phi: Sequence[Array]) -> list[Array]:
        """See `Frame.leave`."""
        import jax.numpy as jnp

        found = list(phi)
        a = phi[self.amplitude] - jnp.log(phi[self.exponent])
        found[self.amplitude] = a
        found[self.floor] = phi[self.floor] - jnp.exp(a)
        return found

    def step_limits(self, theta: Sequence[Array]) -> dict[int, Array]:
        """See `Frame.step_limits`."""
        alpha = theta[self.exponent]
        return {self.amplitude: 0.0 * alpha + _LARGEST_RATIO, self.exponent: _LARGEST_RATIO * alpha}

    def longest(self, theta: Sequence[Array], step: Sequence[Array]) -> Array:
        """As far as alpha' falls to a tenth."""
        import jax.numpy as jnp

        fall = -step[self.exponent]
        falls = fall > 0
        return jnp.where(falls, 0.9 * theta[self.exponent] / jnp.where(falls, fall, 1.0), jnp.inf)
