"""Warnings about values that can be fitted but are probably not plain counts and nats.

| quantity | suspicious           | what it likely is                                                   |
|----------|----------------------|---------------------------------------------------------------------|
| params   | median below 1e4     | thousands, millions or billions: whichever puts the models near 1e9 |
| tokens   | median below 1e6     | the unit that brings tokens per parameter nearest to 20             |
| loss     | largest above 20     | perplexity, the exponential of the loss                             |
| loss     | a name with "bits"   | bits, 1/ln 2 times the nats                                         |
| loss     | a name with "ppl"    | perplexity                                                          |

The fit is the same in any unit of params and tokens (A and B absorb the unit); tokens per parameter and FLOP
are not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from statistics import median
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataWarning, short
from chinchilla_jax._util.user_warning import warn_user

Floats: TypeAlias = NDArray[np.float64]

# The values of bits look like nats of a harder text, so only the column name can tell.
_BITS = frozenset({"bit", "bits", "bpb", "bpc", "bpt", "bpw", "log2"})
_PERPLEXITY = frozenset({"ppl", "perplexity"})
FEWEST_PARAMS, FEWEST_TOKENS, HIGHEST_LOSS = 1e4, 1e6, 20.0
_TYPICAL_PARAMS, _TYPICAL_RATIO = 1e9, 20.0
_UNITS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}


def warn_of_units(
    where: str, params: Floats, tokens: Floats, loss: Floats | None = None, loss_name: str = "loss"
) -> None:
    """Issue one `DataWarning` per quantity that looks like another unit; values are unchanged.

    Args:
        where: the table's name in messages.
        params: positive and finite, (n,), n at least 1.
        tokens: likewise.
        loss: of any number of runs; None for none.
        loss_name: name of the column that holds the loss.
    """
    size, length = median(params.tolist()), median(tokens.tolist())
    unit = 1.0
    if size < FEWEST_PARAMS:
        unit = _nearest(size, _TYPICAL_PARAMS, _UNITS)
        _warn(where, "params", size, f"{_UNITS[unit]} of parameters", f"multiply them by {unit:g}")
    if length < FEWEST_TOKENS:
        unit = _nearest(length, _TYPICAL_RATIO * size * unit, _UNITS)
        _warn(where, "tokens", length, f"{_UNITS[unit]} of tokens", f"multiply them by {unit:g}")
    if loss is None or not loss.size:
        return
    highest = float(loss.max())
    words = set(re.split(r"[\W_]+", loss_name.casefold()))
    if words & _BITS:
        _issue(
            f"{where}: column {short(loss_name)} looks like bits; if so, multiply it by 0.6931 (ln 2) for "
            "nats (as it is, E, A and B come out in bits, and the exponents and tokens per parameter are the "
            "same)"
        )
    if highest > HIGHEST_LOSS or words & _PERPLEXITY:
        _warn(
            where,
            "loss",
            highest,
            "perplexity and not loss",
            "take the natural logarithm",
            what="reaches",
        )


def _nearest(value: float, typical: float, units: Iterable[float]) -> float:
    return min(units, key=lambda unit: abs(math.log(value * unit / typical)))


def _warn(
    where: str, quantity: str, value: float, likely: str, remedy: str, what: str = "has a median of"
) -> None:
    _issue(f"{where}: {quantity} {what} {value:.4g}, which looks like {likely}; if so, {remedy}")


def _issue(text: str) -> None:
    warn_user(text, DataWarning)
