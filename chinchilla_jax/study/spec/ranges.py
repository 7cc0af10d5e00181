"""Ranges of numbers in a spec: `{logspace = [first, last, count]}` and `{linspace = [...]}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, closest
from chinchilla_jax._util.validation import whole_number

_RANGES = ("linspace", "logspace")
_LARGEST_COUNT = 100_000


def expand_ranges(values: Any) -> Any:
    """A list with each range replaced by its numbers; a range alone becomes its list.

    Anything else is returned unchanged, for the checks of the field to judge.

    Raises:
        UsageError: a range that cannot be read.
    """
    if isinstance(values, Mapping):
        return _numbers(values)
    if not isinstance(values, list | tuple):
        return values
    found: list[Any] = []
    for item in values:
        found.extend(_numbers(item) if isinstance(item, Mapping) else [item])
    return found


def _numbers(table: Mapping[Any, Any]) -> list[float]:
    kinds = [name for name in _RANGES if name in table]
    unknown = [name for name in table if name not in (*_RANGES, "negative")]
    negative = table.get("negative", False)
    ends = table[kinds[0]] if len(kinds) == 1 else None
    if (
        unknown
        or not isinstance(negative, bool)
        or not isinstance(ends, list | tuple)
        or len(ends) != 3
        or any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends)
    ):
        near = closest(str(unknown[0]), (*_RANGES, "negative")) if unknown else None
        hint = f"did you mean {near!r}? " if near else ""
        raise UsageError(
            f"{hint}a range is {{logspace = [first, last, count]}} (exponents of ten) or "
            "{linspace = [first, last, count]}, with negative = true for the negatives"
        )
    count = whole_number("count of a range", ends[2], low=1, high=_LARGEST_COUNT)
    first, last = (_float(end) for end in ends[:2])
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = getattr(np, kinds[0])(first, last, count)
    return [-float(number) if negative else float(number) for number in numbers]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
