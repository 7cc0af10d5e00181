"""The contract of a perturbation, the identity, and composition."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from chinchilla_jax._util.validation import seed_number

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs


class Perturbation(abc.ABC):
    """A named map from runs to runs, with a size.

    The result may hold counts that are zero, negative, NaN or infinite; the solver reports such runs as
    INVALID. Subclasses are frozen dataclasses.
    """

    family: ClassVar[str]
    repeat: int = 0
    """Which of several random draws of one size this is; 0 for families without randomness."""

    @property
    @abc.abstractmethod
    def value(self) -> float:
        """Size within the family: the number in the condition id (NaN for a composition of several)."""

    @property
    def condition(self) -> str:
        """Id of this perturbation in tables and seeds: `family=repr(value)`."""
        return f"{self.family}={self.value!r}"

    @abc.abstractmethod
    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        """The perturbed runs, as a new value.

        Args:
            runs: the runs before.
            seed: seed of the random families, a whole number from 0 to 2^32 - 1; the others ignore it.

        Raises:
            UsageError: `seed` is not such a number.
        """

    def __or__(self, other: Perturbation) -> Perturbation:
        """`p | q` applies p, then q to its result. Associative; `Identity()` is neutral."""
        if not isinstance(other, Perturbation):
            return NotImplemented
        parts = (*_parts(self), *_parts(other))
        return parts[0] if len(parts) == 1 else Composition(parts) if parts else Identity()


@dataclasses.dataclass(frozen=True)
class Identity(Perturbation):
    """No error: the runs unchanged."""

    family: ClassVar[str] = "identity"

    @property
    def value(self) -> float:
        """0: no error at all."""
        return 0.0

    @property
    def condition(self) -> str:
        """`identity`, without a value."""
        return self.family

    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        """`runs`."""
        seed_number(seed)
        return runs


@dataclasses.dataclass(frozen=True)
class Composition(Perturbation):
    """Several perturbations, applied from left to right; made by `p | q`, which keeps `parts` flat.

    Attributes:
        parts: two or more perturbations, none of them a composition or an identity.
    """

    family: ClassVar[str] = "composition"
    parts: tuple[Perturbation, ...]

    @property
    def value(self) -> float:
        """NaN: several sizes, each in its part of the condition id."""
        return math.nan

    @property
    def condition(self) -> str:
        """The parts' ids joined by "|"."""
        return "|".join(part.condition for part in self.parts)

    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        """The runs after every part in turn; each part gets the result of those before it."""
        for part in self.parts:
            runs = part.apply(runs, seed)
        return runs


def _parts(perturbation: Perturbation) -> tuple[Perturbation, ...]:
    if isinstance(perturbation, Composition):
        return perturbation.parts
    return () if isinstance(perturbation, Identity) else (perturbation,)
