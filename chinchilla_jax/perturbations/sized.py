"""What the families share: one size, one quantity of the runs that they change, and counter-based noise."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, whole_number
from chinchilla_jax.perturbations.base import Perturbation

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

Floats = NDArray[np.float64]


class Sized(Perturbation):
    """A perturbation of one quantity of the runs, with one number: the first field of the dataclass.

    Subclasses say which quantity (`_of`), which field holds the number, and what it may be.
    """

    _of: ClassVar[str]
    _size: ClassVar[str]
    _least: ClassVar[float] = -math.inf
    _allowed: ClassVar[str] = "a finite number"

    def __post_init__(self) -> None:
        """Check the size and make it a plain float."""
        given = getattr(self, self._size)
        array = np.asarray(given)
        readable = array.ndim == 0 and array.dtype.kind in "iuf"
        # A plain float, so that its repr in the condition id is one; adding 0.0 turns -0.0 into 0.0.
        number = float(array) + 0.0 if readable else math.nan
        if not (math.isfinite(number) and number >= self._least):
            raise UsageError(
                f"{type(self).__name__}: {self._size} = {short(given)} is not usable; give {self._allowed}"
            )
        object.__setattr__(self, self._size, number)

    @property
    def value(self) -> float:
        """The size, as it stands in the condition id."""
        number: float = getattr(self, self._size)
        return number

    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        """See `Perturbation.apply`."""
        seed = whole_number("seed", seed)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the solver reports bad counts
            changed = self._perturb(getattr(runs, self._of), seed)
        values: dict[str, Any] = {self._of: changed}
        return dataclasses.replace(runs, **values)

    @abc.abstractmethod
    def _perturb(self, values: Floats, seed: int) -> Floats: ...


class Factor(Sized):
    """Every value times c."""

    _size: ClassVar[str] = "c"
    c: float

    def _perturb(self, values: Floats, seed: int) -> Floats:
        return self.c * values


class Amount(Sized):
    """Every value plus c."""

    _size: ClassVar[str] = "c"
    c: float

    def _perturb(self, values: Floats, seed: int) -> Floats:
        return values + self.c


class Noise(Sized):
    """Every value times exp(delta), delta ~ Normal(0, sigma^2) independently for each run.

    Two runs of one model get two errors, as in the study. The draw's key is SHA-256 of (seed, condition id),
    so it depends on nothing else: not on the order of conditions, nor on what else is drawn. In a
    composition, two noises of one family and one sigma need different repeats; with the same, the same draw
    is applied twice.
    """

    _size: ClassVar[str] = "sigma"
    _least: ClassVar[float] = 0.0
    _allowed: ClassVar[str] = "a finite number >= 0"
    sigma: float

    def __post_init__(self) -> None:
        """Check and convert the fields."""
        super().__post_init__()
        object.__setattr__(self, "repeat", whole_number(f"{type(self).__name__}: repeat", self.repeat))

    @property
    def condition(self) -> str:
        """`family=sigma#repeat`."""
        return f"{self.family}={self.sigma!r}#{self.repeat}"

    def draw(self, n_runs: int, seed: int = 0) -> Floats:
        """The standard normal numbers behind this noise, shape (n,): delta is sigma times these."""
        # By the family of the class: tokens that are recomputed do not change what befell the parameters, so
        # that noise with and without is compared on the same draws.
        family = type(self).family
        condition = f"{family}={self.sigma!r}#{self.repeat}"
        text = f"chinchilla_jax {family} seed={whole_number('seed', seed)} {condition}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")  # Philox takes 128 bits
        return np.random.Generator(np.random.Philox(key=key)).standard_normal(n_runs)

    def _perturb(self, values: Floats, seed: int) -> Floats:
        return values * np.exp(self.sigma * self.draw(len(values), seed))


def geometric_mean(counts: ArrayLike) -> float:
    """exp(mean ln N) (count); NaN when a count is not positive or there is none."""
    values = np.asarray(counts, dtype=np.float64)
    if not values.size or not np.all(values > 0):
        return math.nan
    return float(np.exp(np.mean(np.log(values))))
