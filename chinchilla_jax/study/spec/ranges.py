"""Ranges of numbers in a spec: `{logspace = [first, last, count]}` and `{linspace = [...]}`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, closest
from chinchilla_jax._util.limits import NUMBERS
from chinchilla_jax._util.validation import whole_number

_RANGES = ("linspace", "logspace")


def expand_ranges(values: Any) -> Any:
    """A list with each range replaced by its numbers; a range alone becomes its list.

    Anything else is returned unchanged, for the checks of the field to judge.

    Raises:
        UsageError: a range that cannot be read, or more numbers in all than `_util.limits` allows.
    """
    if isinstance(values, Mapping):
        return expand_ranges([values])
    if not isinstance(values, list | tuple):
        return values
    items = [_read(item) if isinstance(item, Mapping) else item for item in values]
    count = sum(item.count if isinstance(item, _Range) else 1 for item in items)
    NUMBERS.require("a list", count)
    found: list[Any] = []
    for item in items:
        found.extend(item.numbers() if isinstance(item, _Range) else [item])
    return found


@dataclasses.dataclass(frozen=True)
class _Range:
    """`count` numbers from `first` to `last`, spaced as the function of this name in NumPy does."""

    kind: str
    first: float
    last: float
    count: int
    negative: bool

    def numbers(self) -> list[float]:
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = getattr(np, self.kind)(self.first, self.last, self.count)
        return [-float(number) if self.negative else float(number) for number in numbers]


def _read(table: Mapping[Any, Any]) -> _Range:
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
    count = whole_number("count of a range", ends[2], low=1)
    first, last = (_float(end) for end in ends[:2])
    return _Range(kinds[0], first, last, count, negative)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
