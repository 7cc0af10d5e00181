"""Numbers on the page: few digits to read, all digits for the CSV."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from chinchilla_jax._util.digits import interval_texts
from chinchilla_jax._util.text import MINUS, NO_VALUE, number_text, scaled_number

_ALIKE = 100.0  # largest ratio of numbers of a column that get the same number of decimals


_PLAIN = frozenset({int, float, bool, str, type(None)})


def shown(value: Any, digits: int = 4) -> str:
    """A cell to read: numbers to `digits` significant digits, a missing value as a dash, text unchanged."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number_text(value, digits)
    return NO_VALUE if value is None else str(value)


def shown_column(values: Sequence[Any], digits: int = 4) -> list[str]:
    """The cells of a column: the same number of decimals in all if the numbers are of similar size."""
    sizes = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    alike = sizes and min(sizes) >= 1e-3 and max(sizes) < 1e5 and max(sizes) <= _ALIKE * min(sizes)
    if not alike:
        return [shown(value, digits) for value in values]
    typical = statistics.median(sizes)
    decimals = max(0, digits - 1 - math.floor(math.log10(typical)))
    return [
        f"{value:,.{decimals}f}".replace("-", MINUS)
        if isinstance(value, float) and math.isfinite(value)
        else shown(value, digits)
        for value in values
    ]


def answer_texts(quantity: str, values: Sequence[float], spread: float) -> list[str]:
    """Numbers of an answer to the digits that its interval supports, as the commands print them.

    Args:
        quantity: which one, as in `labels.QUANTITIES`.
        values: the estimate and what is beside it.
        spread: half of its interval, or its standard error.
    """
    texts = interval_texts(values, spread, quantity, 4 if quantity == "loss" else 3)
    return [
        re.sub("^-", MINUS, text) if math.isfinite(value) else shown(value)
        for value, text in zip(values, texts, strict=True)
    ]


def by_column(names: Sequence[str], rows: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """Rows of texts, one for each name, as the columns of a table; at least one row."""
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def half_width(low: float, high: float) -> float:
    """Half of an interval; NaN where an end is not finite."""
    return (float(high) - float(low)) / 2 if math.isfinite(low) and math.isfinite(high) else math.nan


def answer_text(quantity: str, value: float) -> str:
    """A number of an answer, and of the row that it links to: three digits, losses four."""
    counted = quantity in ("params", "tokens") and math.isfinite(value)
    return scaled_number(value, 3) if counted else shown(value, 4 if quantity == "loss" else 3)


def exact(value: Any) -> str:
    """A cell for a file: every digit of a float64, empty for a missing value."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def plain(value: Any) -> Any:
    """A cell of a DataFrame as a Python int, float, bool, str or None."""
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # Missing values of pandas.
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)
