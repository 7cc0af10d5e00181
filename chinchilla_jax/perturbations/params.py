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

`coupled=True` is what happens where nobody counted the tokens, and they were derived from the compute and
the parameters (as those of Besiroglu et al. 2024, arXiv:2404.10102, were): a parameter count that is wrong
then makes the tokens wrong as well, D~ = C / (6 N~), with C and the loss as they are. The family is called
"coupled_" and the name of the other. Two things follow from what D~ is: whatever a composition did to the
tokens before is lost; and where C is not 6 N D (a table with a compute of its own, or counts that are not
those of the tokens), D~ differs from D even at the size that leaves N as it is.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.perturbations.sized import Amount, Factor, Floats, Noise, Sized, geometric_mean

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

COUPLED = "coupled_"
_FLOPS_PER_PARAM_TOKEN = 6.0  # as in law.py, to the right of here
_DERIVED = 1e-9  # relative difference of C and 6 N D up to which D counts as derived from C


class _OfParams(Sized):
    """A perturbation of the parameter counts; `coupled` is the last field of each."""

    _of: ClassVar[str] = "params"
    coupled: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.coupled, bool):
            raise UsageError(
                f"{type(self).__name__}: coupled = {short(self.coupled)} is not usable; give True or False"
            )
        if self.coupled:
            object.__setattr__(self, "family", COUPLED + type(self).family)

    def apply(self, runs: Runs, seed: int = 0) -> Runs:
        changed = super().apply(runs, seed)
        if not self.coupled:
            return changed
        return dataclasses.replace(changed, tokens=tokens_from_flops(runs, changed.params))


def tokens_derived(runs: Runs) -> bool:
    """Whether the tokens of every run are C / (6 N), as far as the numbers can say (to 1e-9)."""
    return bool(np.all(_derived(runs)))


def tokens_from_flops(runs: Runs, params: Floats) -> Floats:
    """Tokens D~ = C / (6 N~) with other parameter counts N~, shape (n,).

    Where C is 6 N D, the same is computed as D (N / N~), which gives back every bit of D where N~ is N.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the solver reports bad counts
        return np.where(
            _derived(runs),
            runs.tokens * (runs.params / params),
            runs.flops / _FLOPS_PER_PARAM_TOKEN / params,
        )


def _derived(runs: Runs) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        flops = _FLOPS_PER_PARAM_TOKEN * runs.params * runs.tokens
        return np.abs(runs.flops - flops) <= _DERIVED * np.abs(runs.flops)


@dataclasses.dataclass(frozen=True)
class Multiplicative(_OfParams, Factor):
    """N~ = c N: every count wrong by one factor.

    Attributes:
        c: the factor, any finite number (one that is not positive makes every count unusable: INVALID).
        coupled: whether the tokens follow, see the head of this file.

    Raises:
        UsageError: `c` is not a finite number, or `coupled` not a bool.
    """

    family: ClassVar[str] = "multiplicative"
    c: float
    coupled: bool = dataclasses.field(default=False, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Additive(_OfParams, Amount):
    """N~ = N + c: every count wrong by one amount, as when an embedding is forgotten.

    Attributes:
        c: the amount (parameters), any finite number; a negative one may make small counts unusable
            (INVALID).
        coupled: whether the tokens follow, see the head of this file.

    Raises:
        UsageError: `c` is not a finite number, or `coupled` not a bool.
    """

    family: ClassVar[str] = "additive"
    c: float
    coupled: bool = dataclasses.field(default=False, kw_only=True)


@dataclasses.dataclass(frozen=True)
class SystematicBias(_OfParams):
    """N~ = mu (N/mu)^s: an error that grows with size; mu is the geometric mean of the counts it is given.

    The geometric mean stays what it was. Counts that are not all positive have none, so every N~ is then NaN
    (INVALID).

    Attributes:
        s: the exponent, positive; 1 changes nothing (but the last digit of a count).
        coupled: whether the tokens follow, see the head of this file.

    Raises:
        UsageError: `s` is not a finite number above 0, or `coupled` not a bool.
    """

    family: ClassVar[str] = "systematic_bias"
    _size: ClassVar[str] = "s"
    _least: ClassVar[float] = math.ulp(0.0)  # the smallest positive number
    _allowed: ClassVar[str] = "a finite number above 0"
    s: float
    coupled: bool = dataclasses.field(default=False, kw_only=True)

    def _perturb(self, values: Floats, seed: int) -> Floats:
        mu = geometric_mean(values)
        return mu * (values / mu) ** self.s


@dataclasses.dataclass(frozen=True)
class LogNormalNoise(Noise, _OfParams):
    """N~ = N exp(delta), delta ~ Normal(0, sigma^2) independently for each run; see `Noise` for the draw.

    Attributes:
        sigma: standard deviation of ln(N~ / N), not negative.
        repeat: which draw, 0, 1, ...
        coupled: whether the tokens follow, see the head of this file; the draw is the same.

    Raises:
        UsageError: `sigma` is not a finite number >= 0, `repeat` not a whole number >= 0, or `coupled` not a
            bool.
    """

    family: ClassVar[str] = "log_normal_noise"
    sigma: float
    repeat: int = 0
    coupled: bool = dataclasses.field(default=False, kw_only=True)
