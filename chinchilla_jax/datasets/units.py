"""Values that can be fitted and are still likely to be in another unit than plain counts and nats.

| quantity | suspicious           | what it likely is                                                   |
|----------|----------------------|---------------------------------------------------------------------|
| params   | median below 1e4     | thousands, millions or billions: whichever puts the models near 1e9 |
| tokens   | median below 1e6     | that unit which leaves tokens per parameter nearest to 20           |
| loss     | largest above 20     | perplexity, the exponential of the loss                             |
| loss     | a name with "bits"   | bits, 1/ln 2 times the nats                                         |
| loss     | a name with "ppl"    | perplexity                                                          |

The fit is the same in any unit of params and tokens (A and B take up the unit); what is compared across
budgets, tokens per parameter and FLOP, is not.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from statistics import median

from chinchilla_jax._util.errors import DataWarning, short
from chinchilla_jax.datasets.runs import Runs

# Values do not tell bits from nats of a harder text; names do.
_BITS = frozenset({"bit", "bits", "bpb", "bpc", "bpt", "bpw", "log2"})
_PERPLEXITY = frozenset({"ppl", "perplexity"})
FEWEST_PARAMS, FEWEST_TOKENS, HIGHEST_LOSS = 1e4, 1e6, 20.0
_TYPICAL_PARAMS, _TYPICAL_RATIO = 1e9, 20.0
_UNITS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}


def warn_of_units(runs: Runs, where: str, loss_name: str = "loss") -> None:
    """Give one `DataWarning` per quantity that looks like another unit; values stay as they are.

    Args:
        runs: positive and finite values.
        where: the table's name in messages.
        loss_name: of the column that holds the loss.
    """
    params, tokens = median(runs.params.tolist()), median(runs.tokens.tolist())
    unit = 1.0
    if params < FEWEST_PARAMS:
        unit = _nearest(params, _TYPICAL_PARAMS, _UNITS)
        _warn(where, "params", params, f"{_UNITS[unit]} of parameters", f"multiply them by {unit:g}")
    if tokens < FEWEST_TOKENS:
        unit = _nearest(tokens, _TYPICAL_RATIO * params * unit, _UNITS)
        _warn(where, "tokens", tokens, f"{_UNITS[unit]} of tokens", f"multiply them by {unit:g}")
    highest = float(runs.loss.max())
    words = set(re.split(r"[\W_]+", loss_name.casefold()))
    if words & _BITS:
        _say(
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
            what="is as high as",
        )


def _nearest(value: float, typical: float, units: Iterable[float]) -> float:
    return min(units, key=lambda unit: abs(math.log(value * unit / typical)))


def _warn(
    where: str, quantity: str, value: float, likely: str, remedy: str, what: str = "has a median of"
) -> None:
    _say(f"{where}: {quantity} {what} {value:.4g}, which looks like {likely}; if so, {remedy}")


def _say(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=4)
