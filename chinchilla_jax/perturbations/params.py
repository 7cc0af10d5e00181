"""The families of miscounted parameters.

| code           | symbol | shape | unit                                              |
|----------------|--------|-------|---------------------------------------------------|
| params         | N      | (n,)  | parameters (count) before                         |
| the result     | N~     | (n,)  | parameters (count) after                          |
| c              | c      | ()    | 1 (`Multiplicative`), parameters (`Additive`)     |
| s              | s      | ()    | 1                                                 |
| bias_centre    | mu     | ()    | parameters (count): exp(mean ln N), see below     |
| sigma          | sigma  | ()    | 1, standard deviation of ln(N~ / N)               |

Source: Schaeffer et al. 2025 (arXiv:2509.23963). Tokens, compute and loss stay as they are, as there.

A bias turns around mu, the geometric mean of the runs it is applied to. The published study takes the mean
over all 245 runs, before the five of highest loss are left out; a study therefore loads its runs with
`Runs.centre` set to the mean over the whole table. Perturbations move that centre like a model of its size.

Active parameters (`params_active`, of a mixture of experts) are miscounted by the same ratio as all, so that
their share stays; other further variables, such as `unique_tokens`, stay as they are under every family.

`coupled=True` is for tokens that were not counted but derived from compute and parameters (as in Besiroglu et
al. 2024, arXiv:2404.10102): a wrong parameter count then makes the tokens wrong as well, D~ = C / (6 N~),
with C and the loss as they are. The family is called "coupled_" and the name of the other. Two things follow:
whatever a composition did to the tokens before is lost; and where C is not 6 N D (a table with a compute of
its own, or counts that are not those of the tokens), D~ differs from D even at the neutral size.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, training_flops
from chinchilla_jax.perturbations.sized import Amount, Factor, Floats, Noise, Sized, bias_centre

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

COUPLED = "coupled_"
_DERIVED = 1e-9  # relative difference of C and 6 N D up to which D counts as derived from C


@dataclasses.dataclass(frozen=True)
class _OfParams(Sized):
    """A perturbation of the parameter counts.

    Attributes:
        coupled: whether the tokens follow (see the top of this file).
    """

    _of: ClassVar[str] = "params"
    coupled: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.coupled, bool):
            raise UsageError(f"{type(self).__name__}: coupled is {short(self.coupled)}; give True or False")
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
            runs.flops / FLOPS_PER_PARAM_TOKEN / params,
        )


def _derived(runs: Runs) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(runs.flops - training_flops(runs.params, runs.tokens)) <= _DERIVED * np.abs(runs.flops)


@dataclasses.dataclass(frozen=True)
class Multiplicative(_OfParams, Factor):
    """N~ = c N: every count wrong by one factor (see `Factor`).

    Example:
        >>> changed = cj.Multiplicative(0.9).apply(runs)
        >>> float(round((changed.params / runs.params).max(), 3))
        0.9
    """

    family: ClassVar[str] = "multiplicative"


@dataclasses.dataclass(frozen=True)
class Additive(_OfParams, Amount):
    """N~ = N + c: every count wrong by one amount, as when an embedding is forgotten (see `Amount`).

    Example:
        >>> changed = cj.Additive(1e8).apply(runs)
        >>> float(round((changed.params - runs.params).max() / 1e8, 3))
        1.0
    """

    family: ClassVar[str] = "additive"


@dataclasses.dataclass(frozen=True)
class SystematicBias(_OfParams):
    """N~ = mu (N/mu)^s: an error that grows with size.

    mu, the geometric mean of the counts or the `Runs.centre` that the runs name, is unchanged. Counts that
    are not all positive have no mean; every N~ is then NaN (INVALID).

    Attributes:
        s: the exponent, positive; 1 changes nothing (but the last digit of a count).

    Raises:
        UsageError: `s` is not a finite number above 0, or `coupled` not a bool.

    Example:
        >>> biased = cj.SystematicBias(0.9).apply(runs)
        >>> bool(biased.params.max() < runs.params.max())
        True
    """

    family: ClassVar[str] = "systematic_bias"
    _size: ClassVar[str] = "s"
    s: float

    @staticmethod
    def _check(what: str, value: object) -> float:
        return positive_number(what, value)

    def _perturb(self, runs: Runs, values: Floats, seed: int) -> Floats:
        mu = bias_centre(runs)
        return mu * (values / mu) ** self.s


@dataclasses.dataclass(frozen=True)
class LogNormalNoise(_OfParams, Noise):
    """N~ = N exp(delta), delta ~ Normal(0, sigma^2) for each run (see `Noise`); coupled, on the same draw.

    Example:
        >>> changed = cj.LogNormalNoise(0.1).apply(runs, seed=0)
        >>> float(round(np.log(changed.params / runs.params).std(), 2))
        0.1
    """

    family: ClassVar[str] = "log_normal_noise"
