"""Checks of single arguments: each returns the value in its plain type, or raises one line that names it.

`what` is the name of the argument, as in "resamples" or "Huber: delta". `remedy` says what to give instead
and replaces the default.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.limits import RESAMPLES, WORKERS, Limit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# int64: the range of an integer in TOML, in most readers of JSON and in Parquet.
LARGEST_INTEGER = 2**63 - 1
LARGEST_SEED = 2**32 - 1


def whole_number(
    what: str, value: object, *, low: int = 0, high: int = LARGEST_INTEGER, remedy: str = ""
) -> int:
    """`value` as an int from `low` to `high`; booleans and whole floats are refused.

    Raises:
        UsageError: it is not.
    """
    if (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, int | np.integer)
        or not low <= value <= high
    ):
        above = f"of at least {low}" if high == LARGEST_INTEGER else f"from {low} to {_shown(high)}"
        raise UsageError(f"{what} is {short(value)}; {remedy or f'give a whole number {above}'}")
    return int(value)


def limited_number(what: str, value: object, limit: Limit, *, low: int = 1) -> int:
    """`value` as an int from `low` to the limit, which can be raised on purpose.

    Raises:
        UsageError: it is not.
    """
    number = whole_number(what, value, low=low)
    limit.require(what, number)
    return number


def resample_count(what: str, value: object, *, low: int = 2) -> int:
    """A number of resamples as an int from `low` to the limit of resamples."""
    return limited_number(what, value, RESAMPLES, low=low)


def worker_count(value: object) -> int:
    """A number of workers as an int from 1 to the limit of workers."""
    return limited_number("workers", value, WORKERS)


def require_type(what: str, value: object, kind: type | tuple[type, ...], remedy: str) -> None:
    """Refuse a value that is not of a type.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{what} is {short(value)}; {remedy}")


def seed_number(value: object) -> int:
    """A seed as an int from 0 to 2^32 - 1."""
    return whole_number("seed", value, high=LARGEST_SEED)


def positive_number(what: str, value: object, *, remedy: str = "") -> float:
    """`value` as a positive finite float.

    Raises:
        UsageError: it is not.
    """
    number = _real(value)
    if not 0 < number < math.inf:
        raise UsageError(f"{what} is {_number_text(value)}; {remedy or 'give a positive finite number'}")
    return number


def non_negative_number(what: str, value: object, *, remedy: str = "") -> float:
    """`value` as a finite float of zero or more.

    Raises:
        UsageError: it is not.
    """
    number = _real(value)
    if not 0 <= number < math.inf:
        raise UsageError(f"{what} is {_number_text(value)}; {remedy or 'give a finite number, zero or more'}")
    return number


def finite_number(what: str, value: object, *, remedy: str = "") -> float:
    """`value` as a finite float.

    Raises:
        UsageError: it is not.
    """
    number = _real(value)
    if not math.isfinite(number):
        raise UsageError(f"{what} is {_number_text(value)}; {remedy or 'give a finite number'}")
    return number


def share(what: str, value: object) -> float:
    """`value` as a number from 0 to 1, both included.

    Raises:
        UsageError: it is none; the message begins with `what`.
    """
    number = finite_number(what, value, remedy="give a number from 0 to 1")
    if not 0 <= number <= 1:
        raise UsageError(f"{what} is {_number_text(value)}; give a number from 0 to 1")
    return number


def probability(what: str, value: object) -> float:
    """`value` as a float strictly between 0 and 1.

    Raises:
        UsageError: it is not.
    """
    number = _real(value)
    if not 0 < number < 1:
        raise UsageError(
            f"{what} is {_number_text(value)}, not a probability; give a number between 0 and 1, such as 0.8"
        )
    return number


def positive_array(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """`values` as a float64 array of positive finite numbers, of any shape.

    Raises:
        UsageError: it is not; the line counts the offenders and shows the first.
    """
    array = real_array(what, values)
    bad = ~((array > 0) & (array < np.inf))
    if bad.any():
        raise UsageError(
            f"{what}: {bad.sum()} of {array.size} not positive and finite (first {array[bad][0]!s}); "
            "give positive numbers"
        )
    return array


def whole_array(
    what: str, values: ArrayLike, *, low: int = 0, high: int = LARGEST_INTEGER, remedy: str = ""
) -> NDArray[np.int64]:
    """`values` as a new int64 array of whole numbers from `low` to `high`, of any shape but not empty.

    Raises:
        UsageError: it is not; booleans and whole floats are refused.
    """
    try:
        array = np.array(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iu" or not array.size or np.any(array < low) or np.any(array > high):
        raise UsageError(f"{what} is {short(values)}; {remedy or f'give whole numbers of at least {low}'}")
    return array.astype(np.int64)


def real_array(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """`values` as a float64 array, NaN and infinities included.

    Raises:
        UsageError: it holds something other than real numbers.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iuf":
        raise UsageError(
            f"{what} = {short(values)} is not a number or an array of numbers; give real numbers"
        )
    return array.astype(np.float64, copy=False)


def _real(value: object) -> float:
    """`value` as a float; NaN where it is no real number, infinite where it is beyond float64."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _number_text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else short(value)


def _shown(bound: int) -> str:
    """Bounds of machine integers as powers of two, others as they are."""
    power = (bound + 1).bit_length() - 1
    return f"2^{power} - 1" if power >= 16 and bound + 1 == 2**power else f"{bound}"
