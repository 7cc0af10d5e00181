"""Values that are probably in another unit than they are taken for: asked about, or warned of.

| quantity | suspicious                       | what it likely is                                       |
|----------|----------------------------------|---------------------------------------------------------|
| params   | median below 1e4                 | thousands, millions or billions                         |
| tokens   | median below 1e6                 | the unit that brings tokens per parameter nearest to 20 |
| flops    | median below 6e10, or impossible | the unit that brings tokens per parameter nearest to 20 |
|          | with the other counts            |                                                         |
| loss     | median above 12.5                | perplexity, the exponential of the loss                 |
| any      | some rows impossible, others far | two units in one column                                 |
|          | from them and possible           |                                                         |

The fit is the same in any unit of params and tokens (A and B absorb the unit); tokens per parameter and FLOP
are not. A unit that the table's owner has stated is not questioned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, DataWarning, short
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.datasets.possible import nearest_unit
from chinchilla_jax.datasets.quantities import Columns
from chinchilla_jax.datasets.ranges import LEAST, MOST, TYPICAL, TYPICAL_RATIO, is_possible, middle_of
from chinchilla_jax.datasets.runs import third_quantity
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import FACTORS, PLAIN
from chinchilla_jax.laws.compute import FLOP_FACTOR, training_flops

Floats: TypeAlias = NDArray[np.float64]

_COUNTS = ("params", "tokens", "flops")
_NOUNS = {"params": "parameters", "tokens": "tokens"}
_GAP = 300.0  # between rows in one unit and rows in another, at least
_MIXED_SHARE = 0.1  # of rows whose loss looks like perplexity, above which they are no run that diverged


def require_clear_units(table: Table, columns: Columns) -> None:
    """Ask for the unit of a column whose numbers no run can have in the unit that they are taken for.

    Raises:
        DataError: one line with the option that answers the question.

    Warns:
        DataWarning: single losses are too high for nats.
    """
    free = {q: values for q, values in columns.arrays.items() if q in _COUNTS and q not in columns.stated}
    for quantity, values in free.items():
        _require_one_unit(table, columns, quantity, values)
    questions = _questions({q: columns.arrays[q] for q in _COUNTS if q in columns.arrays}, free)
    if questions:
        raise DataError(f"{table.where}: {_asked(columns, table, questions)}")
    if "loss" in columns.arrays and "loss" not in table.units and not columns.units["loss"].per_byte:
        _check_loss(table, columns.positions["loss"], columns.arrays["loss"])


def _questions(
    given: Mapping[str, Floats], free: Mapping[str, Floats]
) -> dict[str, tuple[float, str | None]]:
    """The quantities in doubt, each with its median and the unit that it is likely in."""
    middle = {quantity: middle_of(values) for quantity, values in given.items()}
    sure = {q: value for q, value in middle.items() if q not in free or is_possible(q, value)}
    found: dict[str, tuple[float, str | None]] = {}
    for quantity in _COUNTS:
        if quantity in given and quantity not in sure:
            unit = nearest_unit(quantity, middle[quantity], _usual(quantity, sure))
            found[quantity] = (middle[quantity], unit)
            if unit is not None:
                sure[quantity] = middle[quantity] * FACTORS[quantity][unit]
    if found or "flops" not in free:
        return found
    # Each is possible by itself, and the three are not: FLOP have more units than counts have.
    if len(given) == 2:
        (third,) = (quantity for quantity in _COUNTS if quantity not in given)
        if is_possible(third, middle_of(third_quantity(third, given))):
            return {}
        return {"flops": (middle["flops"], nearest_unit("flops", middle["flops"], _usual("flops", sure)))}
    with np.errstate(all="ignore"):
        logs = np.log(given["flops"] / training_flops(given["params"], given["tokens"]))
        log = middle_of(logs)
        apart = np.abs(logs - log).max()
    if not abs(log) > math.log(FLOP_FACTOR) or not apart <= math.log(FLOP_FACTOR):
        return {}
    ratio = math.exp(log)
    unit = nearest_unit("flops", middle["flops"], middle["flops"] / ratio)
    if unit is None or abs(math.log(FACTORS["flops"][unit] * ratio)) > math.log(FLOP_FACTOR):
        return {}
    return {"flops": (middle["flops"], unit)}


def _usual(quantity: str, sure: Mapping[str, float]) -> float:
    """What the quantity usually is beside these others, at 20 tokens per parameter."""
    if quantity == "params":
        if "tokens" in sure:
            return sure["tokens"] / TYPICAL_RATIO
        return math.sqrt(sure["flops"] / (6 * TYPICAL_RATIO)) if "flops" in sure else TYPICAL["params"]
    if quantity == "tokens":
        if "params" in sure:
            return sure["params"] * TYPICAL_RATIO
        return math.sqrt(sure["flops"] * TYPICAL_RATIO / 6) if "flops" in sure else TYPICAL["tokens"]
    if "params" in sure:
        return 6 * sure["params"] * sure.get("tokens", TYPICAL_RATIO * sure["params"])
    return 6 * sure["tokens"] * sure["tokens"] / TYPICAL_RATIO if "tokens" in sure else TYPICAL["flops"]


def _asked(columns: Columns, table: Table, questions: Mapping[str, tuple[float, str | None]]) -> str:
    parts, told, kept = [], [], []
    for quantity, (value, likely) in questions.items():
        name = table.header[columns.positions[quantity]].strip()
        stated = columns.units[quantity]
        column = "" if name == quantity else f" (column {short(name)})"
        as_what = "" if stated.is_plain else f", as {stated.name},"
        looks = "no run has" if likely is None else f"looks like {_in_words(quantity, likely)}"
        parts.append(f"{quantity}{column}{as_what} has a median of {value:.4g}, which {looks}")
        # A name that states a unit which the numbers contradict: they are plain, then.
        other = PLAIN[quantity] if likely is None else likely
        told.append(f"--unit {quantity}={other}")
        kept.append(f"--unit {quantity}={PLAIN[quantity] if stated.is_plain else stated.name}")
    rest = "" if told == kept else f"{' '.join(told)} if so, or "
    right = "it is" if len(kept) == 1 else "they are"
    options = f"{rest}{' '.join(kept)} if {right} right as {right}"
    return f"{'; '.join(parts)}; pass {options} (units={{...}} in load_runs and specs)"


def _in_words(quantity: str, unit: str) -> str:
    return f"{unit} of {_NOUNS[quantity]}" if quantity in _NOUNS else unit


def _require_one_unit(table: Table, columns: Columns, quantity: str, values: Floats) -> None:
    """Refuse a column of which some rows are in another unit than the others."""
    for far in (values < LEAST[quantity], values > MOST[quantity]):
        if not far.any() or far.all():
            continue
        inside = values[~far]
        gap = max(inside.min() / values[far].max(), values[far].min() / inside.max())
        if gap >= _GAP:
            raise DataError(_two_units(table, columns, quantity, values, far))


def _two_units(table: Table, columns: Columns, quantity: str, values: Floats, far: NDArray[np.bool_]) -> str:
    factor = columns.units[quantity].factor
    few = far if 2 * far.sum() <= len(far) else ~far
    rows = np.flatnonzero(few).tolist()
    found, others = (_range(values[each] / factor) for each in (few, ~few))
    return (
        f"{table.where}: {table.name_rows(rows)}, column {short(table.header[columns.positions[quantity]])}: "
        f"{found} beside {others} in the other rows: two units in one column; write all in one unit (or pass "
        f"--unit {quantity}={columns.units[quantity].name} if it is one)"
    )


def _range(values: Floats) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _check_loss(table: Table, position: int, loss: Floats) -> None:
    name = table.header[position].strip()
    column = "loss" if name == "loss" else f"loss (column {short(name)})"
    high = loss > MOST["loss"]
    if not high.any():
        return
    if middle_of(loss) > MOST["loss"]:
        raise DataError(
            f"{table.where}: {column} has a median of {middle_of(loss):.4g}, which looks like perplexity "
            "and not loss; pass --unit loss=perplexity if so, or --unit loss=nats if it is right as it is "
            "(units={...} in load_runs and specs)"
        )
    rows = np.flatnonzero(high).tolist()
    inside, logs = loss[~high], np.log(loss[high])
    alike = logs.min() >= inside.min() / 1.5 and logs.max() <= inside.max() * 1.5
    if alike and high.sum() >= max(2, _MIXED_SHARE * len(loss)):
        raise DataError(
            f"{table.where}: {table.name_rows(rows)}, column {short(name)}: {_range(loss[high])} beside "
            f"{_range(inside)} in the other rows: perplexity and loss in one column; write all in one (or "
            "pass --unit loss=nats if it is one)"
        )
    warn_user(
        f"{table.where}: {table.name_rows(rows)}: a loss of {_range(loss[high])} nats per token is more than "
        "guessing costs; a run that diverged, or perplexity (--unit loss=perplexity)",
        DataWarning,
    )


def warn_of_units(where: str, params: Floats, tokens: Floats, loss: Floats | None = None) -> None:
    """Issue one `DataWarning` per quantity that looks like another unit; values are unchanged.

    Args:
        where: the table's name in messages.
        params: positive and finite, (n,), n at least 1.
        tokens: likewise.
        loss: of any number of runs; None for none.
    """
    given = {"params": params, "tokens": tokens}
    for quantity, (value, likely) in _questions(given, given).items():
        looks = "no run has" if likely is None else f"looks like {_in_words(quantity, likely)}"
        factor = "" if likely is None else f"; if so, multiply them by {FACTORS[quantity][likely]:g}"
        warn_user(f"{where}: {quantity} has a median of {value:.4g}, which {looks}{factor}", DataWarning)
    if loss is not None and loss.size and loss.max() > MOST["loss"]:
        warn_user(
            f"{where}: loss reaches {loss.max():.4g}, which looks like perplexity and not loss; if so, take "
            "the natural logarithm",
            DataWarning,
        )
