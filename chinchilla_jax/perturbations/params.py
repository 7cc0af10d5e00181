"""The families of miscounted parameters.

| code           | symbol | shape | unit                                              |
|----------------|--------|-------|---------------------------------------------------|
| params         | N      | (n,)  | parameters (count) before                         |
| the result     | N~     | (n,)  | parameters (count) after                          |
| c              | c      | ()    | 1 (`Multiplicative`), parameters (`Additive`)     |
| s              | s      | ()    | 1                                                 |
| geometric_mean | mu     | ()    | parameters (count): exp(mean ln N)                |
| sigma          | sigma  | ()    | 1, standard deviation of ln(N~ / N)               |

Source: Schaeffer et al. 2025 (arXiv:2509.23963). Tokens, compute and loss stay as they are, as there.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax.errors import UsageError, short
from chinchilla_jax.perturbations.base import Perturbation, whole_number

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs


class _OfParams(Perturbation):
    """A perturbation of the parameter counts alone, with one number: the first field of the dataclass."""

    _size: ClassVar[str]
    _least: ClassVar[float] = -math.inf
    _allowed: ClassVar[str] = "a finite number"

    def __post_init__(self) -> None:
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
        number: float = getattr(self, self._size)
        return number

    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        seed = whole_number("seed", seed)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the solver reports bad counts
            return runs.with_params(self._perturb(runs.params, seed))

    @abc.abstractmethod
    def _perturb(self, params: NDArray[np.float64], seed: int) -> NDArray[np.float64]: ...


@dataclasses.dataclass(frozen=True)
class Multiplicative(_OfParams):
    """N~ = c N: every count wrong by one factor.

    Attributes:
        c: the factor, any finite number (one that is not positive makes every count unusable: INVALID).

    Raises:
        UsageError: `c` is not a finite number.
    """

    family: ClassVar[str] = "multiplicative"
    _size: ClassVar[str] = "c"
    c: float

    def _perturb(self, params: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        return self.c * params


@dataclasses.dataclass(frozen=True)
class Additive(_OfParams):
    """N~ = N + c: every count wrong by one amount, as when an embedding is forgotten.

    Attributes:
        c: the amount (parameters), any finite number; a negative one may make small counts unusable
            (INVALID).

    Raises:
        UsageError: `c` is not a finite number.
    """

    family: ClassVar[str] = "additive"
    _size: ClassVar[str] = "c"
    c: float

    def _perturb(self, params: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        return params + self.c


@dataclasses.dataclass(frozen=True)
class SystematicBias(_OfParams):
    """N~ = mu (N/mu)^s: an error that grows with size; mu is the geometric mean of the counts it is given.

    The geometric mean stays what it was. Counts that are not all positive have none, so every N~ is then NaN
    (INVALID).

    Attributes:
        s: the exponent, positive; 1 changes nothing.

    Raises:
        UsageError: `s` is not a finite number above 0.
    """

    family: ClassVar[str] = "systematic_bias"
    _size: ClassVar[str] = "s"
    _least: ClassVar[float] = math.ulp(0.0)  # the smallest positive number
    _allowed: ClassVar[str] = "a finite number above 0"
    s: float

    def _perturb(self, params: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        mu = geometric_mean(params)
        return mu * (params / mu) ** self.s


@dataclasses.dataclass(frozen=True)
class LogNormalNoise(_OfParams):
    """N~ = N exp(delta), delta ~ Normal(0, sigma^2) independently for each run.

    Two runs of one model get two errors, as in the study. The draw's key is SHA-256 of (seed, condition id),
    so it depends on nothing else: not on the order of conditions, nor on what else is drawn. In a
    composition, two noises of one sigma need different repeats; with the same, the same draw is applied
    twice.

    Attributes:
        sigma: standard deviation of ln(N~ / N), not negative.
        repeat: which draw, 0, 1, ...

    Raises:
        UsageError: `sigma` is not a finite number >= 0, or `repeat` not a whole number >= 0.
    """

    family: ClassVar[str] = "log_normal_noise"
    _size: ClassVar[str] = "sigma"
    _least: ClassVar[float] = 0.0
    _allowed: ClassVar[str] = "a finite number >= 0"
    sigma: float
    repeat: int = 0

    def __post_init__(self) -> None:
        """Check and convert the fields."""
        super().__post_init__()
        object.__setattr__(self, "repeat", whole_number("LogNormalNoise: repeat", self.repeat))

    @property
    def condition(self) -> str:
        """`log_normal_noise=sigma#repeat`."""
        return f"{self.family}={self.sigma!r}#{self.repeat}"

    def draw(self, n_runs: int, seed: int = 0) -> NDArray[np.float64]:
        """The standard normal numbers behind this noise, shape (n,): delta is sigma times these."""
        text = f"chinchilla_jax {self.family} seed={whole_number('seed', seed)} {self.condition}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")  # Philox takes 128 bits
        return np.random.Generator(np.random.Philox(key=key)).standard_normal(n_runs)

    def _perturb(self, params: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        return params * np.exp(self.sigma * self.draw(len(params), seed))


def geometric_mean(params: ArrayLike) -> float:
    """exp(mean ln N) (count); NaN when a count is not positive or there is none."""
    counts = np.asarray(params, dtype=np.float64)
    if not counts.size or not np.all(counts > 0):
        return math.nan
    return float(np.exp(np.mean(np.log(counts))))
