"""Checks that a field of a spec is what it must be, and the one line that says so when it is not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short

# int64, the range of an integer in TOML, in most readers of JSON and in Parquet.
_MAX_INT = 2**63 - 1


def whole(what: str, value: object, *, low: int, high: int = _MAX_INT) -> int:
    """`value` as an int from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        power = (high + 1).bit_length() - 1
        raise UsageError(f"{what}: {short(value)}; give a whole number from {low} to 2^{power} - 1")
    return int(value)


def numbers(
    what: str, values: Any, *, at_least: int = 0, low: float = -math.inf, high: float = math.inf
) -> tuple[float, ...]:
    """Finite plain floats strictly between `low` and `high`."""
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
        raise UsageError(f"{what}: {short(values)}; give a list of numbers")
    if len(values) < at_least:
        raise UsageError(f"{what}: the list is empty; give at least {at_least} number")
    found = []
    for value in values:
        real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        number = _float(value) if real else math.nan
        if not (math.isfinite(number) and low < number < high):
            bounds = [f"above {low:g}"] * math.isfinite(low) + [f"below {high:g}"] * math.isfinite(high)
            raise UsageError(f"{what}: {short(value)}; give finite numbers {' and '.join(bounds)}".rstrip())
        found.append(number + 0.0)  # so that -0.0, equal to 0.0, is not another condition
    return tuple(found)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def increasing(what: str, values: tuple[float, ...]) -> tuple[float, ...]:
    """`values`, which must rise from each to the next."""
    for first, second in itertools.pairwise(values):
        if not first < second:
            raise UsageError(f"{what}: {second!r} follows {first!r}; give each number once, in rising order")
    return values
