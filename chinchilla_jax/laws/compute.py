"""Training compute of dense transformers, C = 6 N D, and the budgets that people compare with.

| code   | symbol | unit              |
|--------|--------|-------------------|
| params | N      | parameters, count |
| tokens | D      | tokens, count     |
| flops  | C      | FLOP              |
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Values = TypeVar("Values", float, NDArray[np.float64])
_SMALLEST = float(np.finfo(np.float64).smallest_subnormal)

FLOPS_PER_PARAM_TOKEN = 6.0
"""Forward and backward pass (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""

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
