"""What the families share: a size, the quantity of the runs that it changes, and counter-based noise."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.validation import finite_number, non_negative_number, seed_number, whole_number
from chinchilla_jax.perturbations.base import Perturbation

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

Floats = NDArray[np.float64]

COUNTS = ("params_active",)
"""Further variables that count parameters: they are miscounted by the same ratio as `params`."""


class Sized(Perturbation):
    """A perturbation of one quantity of the runs by one number.

    Subclasses say which quantity (`_of`), which field holds the number (`_size`), and how it is checked.
    """

    _of: ClassVar[str]
    _size: ClassVar[str]

    def __post_init__(self) -> None:
        """Check the size and make it a plain float."""
        number = self._check(f"{type(self).__name__}: {self._size}", getattr(self, self._size))
        # Adding 0.0 turns -0.0 into 0.0, so that one size has one condition id.
        object.__setattr__(self, self._size, number + 0.0)

    @property
    def value(self) -> float:
        """The size, as in the condition id."""
        number: float = getattr(self, self._size)
        return number

    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        """See `Perturbation.apply`."""
        seed = seed_number(seed)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the solver reports bad counts
            values: dict[str, Any] = {self._of: self._perturb(runs, getattr(runs, self._of), seed)}
            if self._of == "params":
                values |= self._beside(runs, values["params"])
        return dataclasses.replace(runs, **values)

    def _beside(self, runs: Runs, params: Floats) -> dict[str, Any]:
        """What else changes with the parameter counts: the centre, and other counts of parameters."""
        found: dict[str, Any] = {}
        if runs.centre is not None:
            found["centre"] = self._moved(runs.centre)
        counts = [name for name in COUNTS if name in runs.variables]
        if counts:
            ratio = params / runs.params
            found["variables"] = {
                name: values * ratio if name in counts else values for name, values in runs.variables.items()
            }
        return found

    @staticmethod
    def _check(what: str, value: object) -> float:
        return finite_number(what, value)

    @abc.abstractmethod
    def _perturb(self, runs: Runs, values: Floats, seed: int) -> Floats: ...

    def _moved(self, centre: float) -> float:
        """What becomes of `Runs.centre`: the same as of a model of that size, on average over the noise."""
        return centre


@dataclasses.dataclass(frozen=True)
class Factor(Sized):
    """Every value times c.

    Attributes:
        c: the factor, any finite number; one that is not positive makes every run INVALID.

    Raises:
        UsageError: `c` is not a finite number.
    """

    _size: ClassVar[str] = "c"
    c: float

    def _perturb(self, runs: Runs, values: Floats, seed: int) -> Floats:
        return self.c * values

    def _moved(self, centre: float) -> float:
        return self.c * centre


@dataclasses.dataclass(frozen=True)
class Amount(Sized):
    """Every value plus c.

    Attributes:
        c: the amount, any finite number, in the unit of the values; a negative one may make small values
            unusable (INVALID).

    Raises:
        UsageError: `c` is not a finite number.
    """

    _size: ClassVar[str] = "c"
    c: float

    def _perturb(self, runs: Runs, values: Floats, seed: int) -> Floats:
        return values + self.c

    def _moved(self, centre: float) -> float:
        return centre + self.c


@dataclasses.dataclass(frozen=True)
class Noise(Sized):
    """Every value times exp(delta), delta ~ Normal(0, sigma^2) independently for each run.

    Two runs of one model get two errors, as in the study. The key of the draw is SHA-256 of (seed, condition
    id), so it does not depend on the order of conditions or on what else is drawn. In a composition, two
    noises of one family and one sigma need different repeats; otherwise the same draw is applied twice.

    Attributes:
        sigma: standard deviation of the logarithm of the ratio, not negative.
        repeat: which draw, 0, 1, ...

    Raises:
        UsageError: `sigma` is not a finite number >= 0, or `repeat` not a whole number >= 0.
    """

    _size: ClassVar[str] = "sigma"
    sigma: float
    repeat: int = 0

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
        # The family of the class, not "coupled_...": noise with and without recomputed tokens is compared on
        # the same draws.
        family = type(self).family
        condition = f"{family}={self.sigma!r}#{self.repeat}"
        text = f"chinchilla_jax {family} seed={seed_number(seed)} {condition}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")  # Philox takes 128 bits
        return np.random.Generator(np.random.Philox(key=key)).standard_normal(n_runs)

    @staticmethod
    def _check(what: str, value: object) -> float:
        return non_negative_number(what, value)

    def _perturb(self, runs: Runs, values: Floats, seed: int) -> Floats:
        return values * np.exp(self.sigma * self.draw(len(values), seed))


def geometric_mean(counts: ArrayLike) -> float:
    """exp(mean ln N) (count); NaN when a count is not positive or there is none."""
    values = np.asarray(counts, dtype=np.float64)
    if not values.size or not np.all(values > 0):
        return math.nan
    with np.errstate(over="ignore"):
        return float(np.exp(np.mean(np.log(values))))


def bias_centre(runs: Runs) -> float:
    """mu, the count (parameters) that a systematic bias leaves as it is; NaN when a count is not positive.

    The geometric mean of the counts, unless `runs.centre` names another.
    """
    own = geometric_mean(runs.params)
    return own if runs.centre is None or math.isnan(own) else runs.centre
