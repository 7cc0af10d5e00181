"""What a functional form of the loss is to the solver: the log loss of one run, and where to begin.

Notation (theta is a form's own; u, v as in solvers/design.py)
    u, v        (ln N - mean) / sd and (ln D - mean) / sd of one run; scalars
    theta       internal coordinates, conditioned for a solver; (..., p)
    constants   what the form takes from the runs and from its user, and no solver moves; (k,)
    natural     the parameters as a paper prints them, by name; each of the leading shape of theta

A form is a frozen value. Its log loss is a static function of (theta, u, v, constants) written with
jax.numpy; everything that a solver needs follows from it by automatic differentiation.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    from jax import Array

    from chinchilla_jax.laws.design import Design

Floats = NDArray[np.float64]


class Form(abc.ABC):
    """A functional form L(N, D) with p parameters.

    Attributes:
        name: how it is called in tables and on the command line.
        parameters: names of the natural parameters, p of them.
        formula: the form in a line.
        source: paper and equation.
        amplitudes: positions in theta whose derivative is the share of a term: a term whose share vanishes at
            every run is no longer determined.
        exponents: positions of standardised exponents, which must not run off.
        bounded: positions that cannot go below zero (an irreducible loss).
        least: fewest distinct sizes, token counts, and both together, that can determine the parameters.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    formula: ClassVar[str]
    source: ClassVar[str]
    amplitudes: ClassVar[tuple[int, ...]]
    exponents: ClassVar[tuple[int, ...]]
    bounded: ClassVar[tuple[int, ...]] = ()
    least: ClassVar[tuple[int, int, int]] = (2, 2, 5)

    @staticmethod
    @abc.abstractmethod
    def log_loss(theta: Array, u: Array, v: Array, constants: Array) -> Array:
        """Ln of the predicted loss of one run; theta (p,), u and v scalars, constants (k,)."""

    @abc.abstractmethod
    def constants(self, design: Design) -> Floats:
        """Constants (k,) of this form on these runs."""

    @abc.abstractmethod
    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """The natural parameters at theta (..., p)."""

    @abc.abstractmethod
    def internal(self, natural: dict[str, float], design: Design) -> Floats:
        """Theta (p,) of natural parameters; the inverse of `natural`."""

    @abc.abstractmethod
    def starts(self, design: Design, count: int) -> Floats:
        """Starting points (count, p), spread over what is plausible."""

    def embed(self, theta: Floats) -> Floats | None:
        """A start from theta (5,) of the five-parameter law on the same runs; None where it says nothing."""
        return None

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """A law with the same optimal allocation at theta (..., p), where there is a closed form."""
        return None

    @property
    def size(self) -> int:
        """Number of parameters p."""
        return len(self.parameters)
