"""Training compute, C = 6 N D or as it was measured, and the budgets that people compare with.

| code         | symbol | unit                                                         |
|--------------|--------|--------------------------------------------------------------|
| params       | N      | parameters, count; of experts those that a token passes through |
| tokens       | D      | tokens, count                                                |
| flops        | C      | FLOP                                                         |
| coefficient  | c      | FLOP per params^a tokens^b                                   |
| params_power | a      | 1                                                            |
| tokens_power | b      | 1                                                            |
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.validation import positive_number

if TYPE_CHECKING:
    from chinchilla_jax.laws.measured_cost import CostEvidence

Values = TypeVar("Values", float, NDArray[np.float64])
_SMALLEST = float(np.finfo(np.float64).smallest_subnormal)

FLOPS_PER_PARAM_TOKEN = 6.0
"""Forward and backward pass (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""

FLOP_FACTOR = 3.0
"""From 6 N D, within which FLOP counted in full (embeddings, attention, experts) stay; wrong units do not."""

GOPHER_FLOPS = 5.76e23
"""Budget of Gopher and of Chinchilla (Hoffmann et al. 2022, arXiv:2203.15556, table 3)."""

RULE_OF_THUMB = 20.0
"""Tokens per parameter that Hoffmann et al. 2022 (arXiv:2203.15556) are quoted for."""

NEAR_RULE_OF_THUMB = (10.0, 40.0)
"""Within a factor of two of it."""


def params_times_tokens(flops: Values) -> Values:
    """N D = C / 6, positive where C is."""
    return np.maximum(flops / FLOPS_PER_PARAM_TOKEN, _SMALLEST)


def usual_budget(data: str, flops: NDArray[np.float64]) -> float:
    """The budget (FLOP) that a table is asked about unless another is named.

    Args:
        data: name of the table; "chinchilla" is asked about the budget of Gopher and Chinchilla.
        flops: compute of its runs, (n,); the largest, for other tables.
    """
    return GOPHER_FLOPS if data == "chinchilla" else float(flops.max())


def training_flops(params: Values, tokens: Values) -> Values:
    """C = 6 N D (FLOP)."""
    return FLOPS_PER_PARAM_TOKEN * params * tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What training costs: C = c N^a D^b FLOP; 6 N D without arguments.

    In the coordinates N^a and D^b every budget is the 6 N D of `as_6nd`, so that what has a closed form along
    6 N D has one along any such cost.

    Attributes:
        coefficient: c, positive.
        params_power: a, positive.
        tokens_power: b, positive.
        evidence: what the numbers were fitted to; None where they are given.

    Raises:
        UsageError: a number is not positive and finite.
    """

    coefficient: float = FLOPS_PER_PARAM_TOKEN
    params_power: float = 1.0
    tokens_power: float = 1.0
    evidence: CostEvidence | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        positive_number("Cost: coefficient", self.coefficient, remedy="give FLOP such as 6")
        for name in ("params_power", "tokens_power"):
            positive_number(f"Cost: {name}", getattr(self, name), remedy="give a power near 1")

    @property
    def is_6nd(self) -> bool:
        """Whether this is 6 N D itself."""
        return self == SIX_ND

    def is_as_measured(self, measured: Cost) -> bool:
        """Whether this is the cost that runs gave, and not one of a user with the same numbers."""
        return self.evidence is not None and self == measured

    def outer(self, axes: int) -> Cost:
        """Itself; a `CostDraws`, with so many axes more."""
        return self

    @property
    def formula(self) -> str:
        """As in "6.31 N D" or "2.13 N^1.046 D"."""
        if self.is_6nd:
            return "6 N D"
        powers = {"N": self.params_power, "D": self.tokens_power}
        factors = [name if power == 1 else f"{name}^{power:.4g}" for name, power in powers.items()]
        return " ".join([f"{self.coefficient:.4g}", *factors])

    def log_flops(self, log_params: ArrayLike, log_tokens: ArrayLike) -> Any:
        """Ln C from ln N and ln D."""
        return (
            np.log(self.coefficient)
            + self.params_power * np.asarray(log_params)
            + self.tokens_power * np.asarray(log_tokens)
        )

    def flops(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """C (FLOP) of N parameters on D tokens."""
        with np.errstate(over="ignore"):
            return np.asarray(self._of_params(params) * np.power(tokens, self.tokens_power))

    def tokens(self, flops: ArrayLike, params: ArrayLike) -> NDArray[np.float64]:
        """The tokens that C FLOP pay for at N parameters."""
        with np.errstate(over="ignore"):
            return np.asarray(np.power(np.divide(flops, self._of_params(params)), 1 / self.tokens_power))

    def params(self, flops: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """The parameters that C FLOP pay for on D tokens."""
        of_tokens = self.coefficient * np.power(tokens, self.tokens_power)
        with np.errstate(over="ignore"):
            return np.asarray(np.power(np.divide(flops, of_tokens), 1 / self.params_power))

    def _of_params(self, params: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(self.coefficient * np.power(params, self.params_power))

    def per_6nd(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """C / (6 N D)."""
        return self.flops(params, tokens) / SIX_ND.flops(params, tokens)

    @property
    def per_token(self) -> Cost:
        """The cost in proportion to tokens that describes the same compute best; usually this one."""
        evidence = self.evidence
        if self.tokens_power == 1.0:
            return self
        return SIX_ND if evidence is None or evidence.per_token is None else evidence.per_token

    def as_6nd(self, flops: ArrayLike) -> NDArray[np.float64]:
        """6 N^a D^b of a budget (FLOP)."""
        return np.asarray(flops, dtype=np.float64) * (FLOPS_PER_PARAM_TOKEN / self.coefficient)


SIX_ND = Cost()
"""C = 6 N D."""
