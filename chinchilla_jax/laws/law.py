"""What a law of the loss is to a solver: the log loss of one run, and where to begin.

Notation (theta is a law's own; u, v as in laws/design.py)
    u, v        (ln N - mean) / sd and (ln D - mean) / sd of one run; scalars
    place       (u, v, and the law's further variables in their own units) of one run; scalars
    theta       internal coordinates, conditioned for a solver; (..., p)
    constants   what the law takes from the runs and from its user, and no solver moves; (k,)
    natural     the parameters as a paper prints them, by name; each of the leading shape of theta

A law is a frozen value. Its log loss is a static function of (theta, place, constants) written with
jax.numpy; everything that a solver needs follows from it by automatic differentiation. A law may offer
closed forms instead, as the five-parameter law does in NumPy.
"""

from __future__ import annotations

import abc
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import list_text
from chinchilla_jax.laws.compute import training_flops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jax import Array

    from chinchilla_jax.laws.design import Design, RunColumns
    from chinchilla_jax.laws.fitted import FittedLaws
    from chinchilla_jax.laws.frames import Frame
    from chinchilla_jax.laws.scaling_law import ScalingLaw, Values

Floats = NDArray[np.float64]
Place: TypeAlias = "Sequence[Array]"
Places: TypeAlias = "Sequence[Floats]"


class Law(abc.ABC):
    """A law L(N, D) with p parameters.

    Attributes:
        name: as in tables and on the command line.
        variables: what it predicts the loss of a run from; params and tokens come first.
        parameters: names of the natural parameters, p of them.
        formula: the law in a line.
        source: paper and equation.
        amplitudes: positions in theta whose derivative is the share of a term: a term whose share vanishes at
            every run is no longer determined.
        exponents: positions of standardised exponents, which must not run off.
        bounded: positions that cannot go below zero (an irreducible loss).
        least: fewest distinct sizes, token counts, and both together, that can determine the parameters.
        exchangeable: whether two of its terms exchange places where runs are on a line of ln D in ln N, so
            that such runs do not determine it (laws/separation.py).
        limits: what the law is, in words, where a parameter has run off: by its name and inf, -inf or 0.
        defaults: values of further variables where a prediction does not give them.
        has_optimum: whether it says which N and D are best for a budget.
        additive: whether every derivative of the loss is a function of the size plus one of the token count.
        grid_size: points of the law's own grid of starts.
        frame: coordinates in which the law's valley is straight, see laws/frames.py; None for its own.
        stacks: whether `residuals`, `jacobian`, `curvature` and `natural` take runs that differ by lane
            (`Design.stacked`); the closed forms in NumPy do.
    """

    name: ClassVar[str]
    variables: ClassVar[tuple[str, ...]] = ("params", "tokens")
    parameters: ClassVar[tuple[str, ...]]
    formula: ClassVar[str]
    source: ClassVar[str]
    amplitudes: ClassVar[tuple[int, ...]]
    exponents: ClassVar[tuple[int, ...]]
    bounded: ClassVar[tuple[int, ...]] = ()
    least: ClassVar[tuple[int, int, int]] = (2, 2, 5)
    exchangeable: ClassVar[bool] = True
    limits: ClassVar[Mapping[tuple[str, float], str]] = MappingProxyType({})
    defaults: ClassVar[Mapping[str, float]] = MappingProxyType({})
    has_optimum: ClassVar[bool] = True
    additive: ClassVar[bool] = True
    grid_size: ClassVar[int] = 32
    frame: ClassVar[Frame | None] = None
    stacks: ClassVar[bool] = False

    @staticmethod
    @abc.abstractmethod
    def log_loss(theta: Array, place: Place, constants: Array) -> Array:
        """Ln of the predicted loss of one run; `place` scalars, constants (k,).

        Theta is p scalars, in an array or in a list: a law that unpacks it is fitted faster.
        """

    @abc.abstractmethod
    def constants(self, design: Design) -> Floats:
        """Constants (k,) of this law on these runs."""

    @abc.abstractmethod
    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """The natural parameters at theta (..., p)."""

    @abc.abstractmethod
    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """Theta (..., p) of natural parameters, each of the leading shape; the inverse of `natural`."""

    @abc.abstractmethod
    def starts(self, design: Design, count: int) -> Floats:
        """Starting points (count, p), spread over what is plausible."""

    def require(self, design: Design) -> None:
        """Refuse runs that this law cannot describe, whatever its parameters; by default none.

        Raises:
            UsageError: one line with the remedy.
        """
        return

    def embed(self, theta: Floats, design: Design) -> Floats | None:
        """A start from theta (5,) of the five-parameter law on these runs; None if it suggests none."""
        return None

    def exchanged(self, theta: Floats) -> Floats | None:
        """Theta (..., p) of the law with its terms exchanged, where u and v agree; None if there is none."""
        return None

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """A five-parameter law with the same optimal allocation at theta (..., p), if there is one."""
        return None

    def fitted(self, theta: Floats, design: Design) -> FittedLaws:
        """The law(s) at theta (..., p), as a value that predicts."""
        from chinchilla_jax.laws.fitted import FittedLaw

        return FittedLaw(model=self, design=design, theta=theta)

    def log_losses(self, theta: Floats, places: Places, design: Design) -> Floats:
        """Ln of the predicted loss at `places`, (m,) each; theta (..., p) to (..., m)."""
        from chinchilla_jax.laws.prediction import predicted_log_losses

        return predicted_log_losses(self, theta, places, self.constants(design))

    def residuals(self, theta: Floats, design: Design) -> Floats:
        """Log predicted minus log observed loss of every run; theta (..., p) to (..., n)."""
        return self.log_losses(theta, design.places, design) - design.log_loss

    def jacobian(self, theta: Floats, design: Design) -> Floats:
        """Derivative of `residuals` with respect to theta; theta (..., p) to (..., n, p)."""
        from chinchilla_jax.laws.prediction import log_loss_jacobian

        return log_loss_jacobian(self, theta, design.places, self.constants(design))

    def curvature(self, theta: Floats, design: Design, factors: Floats) -> Floats:
        """Second derivative of sum_i factors_i r_i; theta (R, p), factors (R, n) to (R, p, p)."""
        from chinchilla_jax.laws.prediction import log_loss_curvature

        return log_loss_curvature(self, theta, design.places, self.constants(design), factors)

    @property
    def columns(self) -> tuple[str, ...]:
        """The further variables that a table must have; training FLOP every table has."""
        return tuple(name for name in self.variables[2:] if name != "flops")

    def design(self, runs: RunColumns) -> Design:
        """The runs as this law's solvers see them.

        Raises:
            UsageError: the runs lack a variable of the law.
        """
        from chinchilla_jax.laws.design import Design

        return Design.from_runs(runs, self.variables[2:])

    def further(self, given: Mapping[str, ArrayLike], params: Floats, tokens: Floats) -> tuple[Floats, ...]:
        """Values of the further variables where a loss is predicted, in order, each broadcast to the counts.

        What is not given is the law's default, and training FLOP are 6 N D.

        Raises:
            UsageError: a variable is missing, or the law has none of that name.
        """
        names = self.variables[2:]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise UsageError(
                f"law {self.name} has no variable {unknown[0]!r}; it predicts from "
                f"{list_text(self.variables)}"
            )
        if not names:
            return ()
        values: dict[str, ArrayLike] = {"flops": training_flops(params, tokens), **self.defaults, **given}
        missing = [name for name in names if name not in values]
        if missing:
            raise UsageError(f"law {self.name} needs {list_text(missing)} to predict; give {missing[0]}=")
        shape = np.broadcast_shapes(params.shape, tokens.shape)
        return tuple(np.broadcast_to(np.asarray(values[name], np.float64), shape) for name in names)

    @property
    def size(self) -> int:
        """Number of parameters p."""
        return len(self.parameters)
