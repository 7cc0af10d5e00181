"""How the cells of a printed table are written, by the names of its columns.

An estimate and the interval beside it have the digits that the interval supports; counts of parameters and
tokens are "73.2B", and FLOP "5.76e23".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from chinchilla_jax._util.digits import interval_texts
from chinchilla_jax._util.labels import HEADLINE, label_of, quantity_text
from chinchilla_jax._util.text import plain_number, visible

_ENDS = frozenset({"low", "high", "median"})
_ERRORS = frozenset({"standard_error", "standard error"})
_QUANTITY = "quantity"


def cell_texts(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    groups: Sequence[Sequence[int]],
    *,
    digits: int,
    quantities: Sequence[str] | None = None,
) -> list[list[str]]:
    """The cells as text; those that are text already stay.

    Args:
        header: names of the columns.
        rows: cells.
        groups: the columns of each estimate and its interval, as from `interval_columns`.
        digits: significant digits of numbers without an interval.
        quantities: what the intervals of each row are of; None goes by the names of the columns, and by the
            column "quantity" where there is one.
    """
    if quantities is None and _QUANTITY in header:
        quantities = [str(row[header.index(_QUANTITY)]) for row in rows]
    texts = [[_cell(name, cell, digits) for name, cell in zip(header, row, strict=True)] for row in rows]
    for group in groups:
        for number, row in enumerate(rows):
            values = [row[column] for column in group]
            if not all(isinstance(value, float | int) for value in values):
                continue
            quantity = header[group[0]] if quantities is None else quantities[number]
            spread = _spread({header[column]: float(row[column]) for column in group})
            for column, text in zip(group, interval_texts(values, spread, quantity, digits), strict=True):
                texts[number][column] = text
    return texts


def interval_columns(header: Sequence[str], keys: int) -> list[list[int]]:
    """The columns of each estimate and its interval: those named "low" or "high", and what is before them.

    Args:
        header: names of the columns.
        keys: how many of the first columns identify a row.
    """
    groups: list[list[int]] = []
    for column, name in enumerate(header):
        if column < keys or not _ENDS.intersection(name.replace("_", " ").split()):
            if name == HEADLINE:  # a single law has no interval
                groups.append([column])
            continue
        if groups and groups[-1][-1] == column - 1:
            groups[-1].append(column)
            continue
        first = column - 1
        while first > keys and header[first] in _ERRORS:
            first -= 1
        if groups and groups[-1] == [first]:
            groups.pop()
        groups.append(list(range(max(first, keys), column + 1)))
    return groups


def _cell(name: str, cell: Any, digits: int) -> str:
    if isinstance(cell, str):
        return visible(cell)
    label = label_of(name)
    if isinstance(cell, float) and (label.is_count or label.unit == "FLOP"):
        return quantity_text(name, cell)
    return plain_number(cell, digits)


def _spread(row: dict[str, float]) -> float:
    """The uncertainty of an estimate: its standard error, or half its interval; NaN for none."""
    for name in _ERRORS & set(row):
        if math.isfinite(row[name]):
            return row[name]
    low, high = (
        next((value for name, value in row.items() if end in name.replace("_", " ").split()), math.nan)
        for end in ("low", "high")
    )
    if math.isfinite(high - low):
        return (high - low) / 2
    return abs(next(iter(row.values())) - low)
