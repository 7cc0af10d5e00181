"""Which numbers are possible for a quantity of a training run, in its plain unit.

| quantity | least | most  | why                                                                    |
|----------|-------|-------|------------------------------------------------------------------------|
| params   | 1e4   | 1e13  | language models of fewer parameters are toys                           |
| tokens   | 1e6   | 1e15  | all text that is public is below 1e15 tokens                           |
| flops    | 6e10  | 6e28  | 6 N D of the least of both                                             |
| loss     | 0     | 12.5  | ln 250,000: what guessing among all tokens of a vocabulary costs (nats) |

A median outside is asked about. Single values may lie outside: a run that diverged has any loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

LEAST: Mapping[str, float] = MappingProxyType({"params": 1e4, "tokens": 1e6, "flops": 6e10, "loss": 0.0})
MOST: Mapping[str, float] = MappingProxyType({"params": 1e13, "tokens": 1e15, "flops": 6e28, "loss": 12.5})

TYPICAL: Mapping[str, float] = MappingProxyType({"params": 1e9, "tokens": 2e10, "flops": 1e20})
"""Of the runs that laws are fitted to, roughly, to tell units that differ by a thousand."""
TYPICAL_RATIO = 20.0
"""Tokens per parameter of many runs."""


def is_possible(quantity: str, value: float) -> bool:
    """Whether a run can have this value, in the plain unit."""
    return LEAST[quantity] <= value <= MOST[quantity]


def middle_of(values: ArrayLike) -> float:
    """The median of these numbers; infinite where it is beyond float64."""
    with np.errstate(all="ignore"):
        return float(np.median(np.asarray(values, np.float64)))
