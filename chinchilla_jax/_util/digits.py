"""Numbers to the digits that their uncertainty supports: two significant digits of the uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chinchilla_jax._util.labels import label_of, quantity_text
from chinchilla_jax._util.text import SCALES, short_exponent

_DIGITS_OF_SPREAD = 2
_LEAST, _MOST = 2, 6  # significant digits of a number that is not within its spread of 0
_ROUNDING = 1e-9  # a spread of less, as a share of the numbers, is that of arithmetic
_PLAIN = (1e-4, 1e6)  # sizes of numbers that are written without an exponent


def interval_texts(values: Sequence[float], spread: float, quantity: str = "", digits: int = 4) -> list[str]:
    """An estimate and what is beside it, such as an interval, all to the same decimal place.

    Args:
        values: any numbers of one quantity.
        spread: the uncertainty, such as a standard error or half an interval; where it is not a number
            above 0, each value has `digits`.
        quantity: the name of the quantity, as in `labels.QUANTITIES`: counts are "73.2B", FLOP "5.76e23", and
            shares that are shown in % are multiplied by 100.
        digits: significant digits where there is no spread.
    """
    label = label_of(quantity)
    largest = max(map(abs, filter(math.isfinite, values)), default=0.0)
    if not (math.isfinite(spread) and spread > _ROUNDING * largest):
        return [quantity_text(quantity, value, digits) for value in values]
    if label.unit == "%":
        values, spread, largest = [100.0 * value for value in values], 100.0 * spread, 100.0 * largest
    place = decimal_place(spread)
    if label.is_count:
        return [_scaled(value, place) for value in values]
    finite = [value for value in values if math.isfinite(value)]
    crosses = min(finite, default=1.0) < 0 < max(finite, default=1.0)
    if label.unit == "FLOP" or not _PLAIN[0] <= largest < _PLAIN[1]:
        return [_with_exponent(value, place) for value in values]
    return [_fixed(value, place if crosses else _place_of(value, place)) for value in values]


def decimal_place(spread: float) -> int:
    """The power of ten of the last digit that a spread supports: -3 for 0.0161, 1 for 569.

    Args:
        spread: positive and finite.
    """
    return int(f"{spread:.{_DIGITS_OF_SPREAD - 1}e}".partition("e")[2]) - (_DIGITS_OF_SPREAD - 1)


def _place_of(value: float, place: int) -> int:
    """The place to which a value is shown: `place`, unless that leaves too few digits of it, or too many."""
    if value == 0 or not math.isfinite(value):
        return place
    size = math.floor(math.log10(abs(value)))
    return size + 1 - min(max(size - place + 1, _LEAST), _MOST)


def _scaled(value: float, place: int) -> str:
    """A count: "9.57B"; under a thousand a plain number."""
    place = _place_of(value, place)
    rounded = _rounded(value, place)
    for size, letter in SCALES:
        if size <= abs(rounded) < 1e15:
            return f"{rounded / size:.{max(round(math.log10(size)) - place, 0)}f}{letter}"
    return _with_exponent(value, place) if abs(rounded) >= 1e15 else _fixed(value, place)


def _with_exponent(value: float, place: int) -> str:
    if value == 0 or not math.isfinite(value):
        return _fixed(value, 0)
    place = _place_of(value, place)
    return short_exponent(f"{value:.{math.floor(math.log10(abs(value))) - place}e}")


def _fixed(value: float, place: int) -> str:
    if not math.isfinite(value):
        return "-" if math.isnan(value) else f"{value:g}"
    return f"{_rounded(value, place):.{max(-place, 0)}f}"


def _rounded(value: float, place: int) -> float:
    """Without a sign where nothing is left."""
    return round(value, -place) + 0.0 if math.isfinite(value) else value
