"""Compute-optimal tokens per parameter of many laws as curves in compute, whatever the law.

| code   | symbol           | shape  | unit                                                    |
|--------|------------------|--------|---------------------------------------------------------|
| ratios | ln D_opt / N_opt | (R, k) | of each law at each budget; NaN without an optimum      |
| slopes |                  | (R,)   | decades of tokens per parameter per decade of compute   |

Where the optimum is a power of compute, the logarithm is a line and its slope exact: (alpha - beta)/(alpha +
beta) for the five-parameter law. Elsewhere the slope is that of the decade around one budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax.laws.compute import params_times_tokens

if TYPE_CHECKING:
    from chinchilla_jax.laws.fitted import FittedLaws

_HALF_DECADE = 10**0.5


def log_ratios(laws: FittedLaws, flops: ArrayLike) -> NDArray[np.float64]:
    """Ln tokens per parameter of the laws (R,) at budgets (k,) in FLOP; NaN where it is not finite."""
    budgets = np.asarray(flops, dtype=np.float64)
    line = laws.log_ratio_line()
    if line is None:
        with np.errstate(divide="ignore"):
            found = np.log(np.asarray(laws.tokens_per_param(budgets)))
    else:
        found = line[0][:, None] + line[1][:, None] * np.log(params_times_tokens(budgets))
    return np.where(np.isfinite(found), found, np.nan)


def ratio_slopes(laws: FittedLaws, flops: float) -> NDArray[np.float64]:
    """Slopes of the laws (R,), around a budget (FLOP) where they are no lines; NaN without an optimum."""
    line = laws.log_ratio_line()
    if line is not None:
        return np.where(np.isfinite(line[0]), line[1], np.nan)
    ends = log_ratios(laws, [flops / _HALF_DECADE, flops * _HALF_DECADE])
    return np.asarray((ends[:, 1] - ends[:, 0]) / np.log(10.0))
