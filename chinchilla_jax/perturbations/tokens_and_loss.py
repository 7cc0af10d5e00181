"""The families of miscounted tokens and of misread losses; all other quantities stay as they are.

| code            | symbol | shape | unit                                                                 |
|-----------------|--------|-------|----------------------------------------------------------------------|
| tokens          | D      | (n,)  | training tokens (count); D~ after the perturbation                   |
| loss            | L      | (n,)  | nats per token; L~ after the perturbation                            |
| c (a factor)    | c      | ()    | 1                                                                    |
| c (an amount)   | c      | ()    | tokens or nats per token                                             |
| sigma           | sigma  | ()    | 1, standard deviation of ln(D~ / D) or ln(L~ / L)                    |

Tokens: another tokenizer counts a text by another factor; padding, or a first phase that the log leaves out,
adds an amount. Schaeffer et al. 2025 (arXiv:2509.23963) ask for such errors and do not study them.

Losses: a factor is another unit (bits, or nats per byte), an offset another test set or tokenizer, noise the
reading of points off a figure, as in Besiroglu et al. 2024 (arXiv:2404.10102).

The classes take the field and raise the errors of the class in `sized.py` that they are made from.
"""

from __future__ import annotations

from typing import ClassVar

from chinchilla_jax.perturbations.sized import Amount, Factor, Noise


class TokensMultiplicative(Factor):
    """D~ = c D: every count of tokens wrong by one factor.

    Example:
        >>> changed = cj.TokensMultiplicative(0.9).apply(runs)
        >>> float(round((changed.tokens / runs.tokens).max(), 3))
        0.9
    """

    family: ClassVar[str] = "tokens_multiplicative"
    _of: ClassVar[str] = "tokens"


class TokensAdditive(Amount):
    """D~ = D + c: every count of tokens wrong by one amount (tokens).

    Example:
        >>> changed = cj.TokensAdditive(1e9).apply(runs)
        >>> float(round((changed.tokens - runs.tokens).max() / 1e9, 3))
        1.0
    """

    family: ClassVar[str] = "tokens_additive"
    _of: ClassVar[str] = "tokens"


class TokensLogNormalNoise(Noise):
    """D~ = D exp(delta), delta ~ Normal(0, sigma^2) for each run.

    Example:
        >>> changed = cj.TokensLogNormalNoise(0.1).apply(runs, seed=0)
        >>> float(round(np.log(changed.tokens / runs.tokens).std(), 2))
        0.1
    """

    family: ClassVar[str] = "tokens_log_normal_noise"
    _of: ClassVar[str] = "tokens"


class LossMultiplicative(Factor):
    """L~ = c L: every loss wrong by one factor.

    Example:
        >>> changed = cj.LossMultiplicative(1.01).apply(runs)
        >>> float(round((changed.loss / runs.loss).max(), 3))
        1.01
    """

    family: ClassVar[str] = "loss_multiplicative"
    _of: ClassVar[str] = "loss"


class LossOffset(Amount):
    """L~ = L + c: every loss wrong by one amount (nats per token).

    Example:
        >>> changed = cj.LossOffset(0.05).apply(runs)
        >>> float(round((changed.loss - runs.loss).max(), 3))
        0.05
    """

    family: ClassVar[str] = "loss_offset"
    _of: ClassVar[str] = "loss"


class LossLogNormalNoise(Noise):
    """L~ = L exp(delta), delta ~ Normal(0, sigma^2) for each run: a relative error.

    Example:
        >>> changed = cj.LossLogNormalNoise(0.01).apply(runs, seed=0)
        >>> float(round(np.log(changed.loss / runs.loss).std(), 3))
        0.01
    """

    family: ClassVar[str] = "loss_log_normal_noise"
    _of: ClassVar[str] = "loss"
