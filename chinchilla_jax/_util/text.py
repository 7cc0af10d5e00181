"""Numbers, counts, durations and sizes as text for a reader.

`number_text` is typeset (a true minus, superscripts, an infinity sign) for figures and pages;
`plain_number` is ASCII for terminals. Parameters and tokens are "73.2B" by `scaled_number`, FLOP "5.76e23"
by `flops_text`. Text for a machine (JSON, CSV) is not formatted here.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Escapes, because several of these look like ASCII characters.
MINUS, TIMES, INFINITY, NO_VALUE = "\u2212", "\u00d7", "\u221e", "\u2013"
SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
"""The letters of counts, largest first."""
_SUPERSCRIPT = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def number_text(value: float, digits: int | None = None, *, as_power: bool = False) -> str:
    """A number for a figure or a page: "1,234", "0.15", "5.76 x 10^23" with real superscripts.

    Args:
        value: any number; NaN becomes a dash. Whole numbers of type int keep all their digits.
        digits: significant digits to round to first; None for four, or three before a power of ten.
        as_power: write a power of ten even where the number is neither large nor small.
    """
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return INFINITY if value > 0 else MINUS + INFINITY
    if digits is not None:
        value = float(f"{value:.{digits}g}")
    if value == 0 or (1e-3 <= abs(value) < 1e5 and not as_power):
        text = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        return text.replace("-", MINUS)
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = value / 10.0**exponent
    power = "10" + str(exponent).translate(_SUPERSCRIPT)
    return power if abs(mantissa - 1) < 1e-6 else f"{mantissa:.3g}".replace("-", MINUS) + TIMES + power


def plain_number(value: Any, digits: int = 6) -> str:
    """A number for a terminal: `digits` significant digits; int with commas; NaN as a dash."""
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else short_exponent(f"{value:.{digits}g}")


def flops_text(value: float, digits: int = 3) -> str:
    """An amount of compute as the field writes it, without its unit: "5.76e23", "1e21"."""
    return plain_number(float(value), digits)


def exact_flops_text(value: float) -> str:
    """`flops_text` with as many digits as tell it from every other amount: "1e21", "1.001e21"."""
    texts = (flops_text(value, digits) for digits in range(3, 18))
    return next(text for text in texts if float(text) == value)


def width_text(value: float) -> str:
    """The width of an interval to three digits, trailing zeros included: "0.200", "0.0831", "12.5"."""
    return plain_number(value) if not math.isfinite(value) else short_exponent(f"{value:#.3g}").rstrip(".")


def short_exponent(text: str) -> str:
    """A number of Python's without what its exponent does not need: "5.76e23" for "5.76e+23"."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def visible(text: str, keep: str = "") -> str:
    r"""A text with every character that does not print written as an escape, such as \x1b or \u202e.

    Names of files and columns may hold commands to the terminal, marks that turn the line around, or line
    breaks. Spaces of all widths become plain ones.

    Args:
        text: from anywhere.
        keep: characters that stay as they are, such as the line break of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else " "
        if unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def scaled_number(value: float, digits: int = 4) -> str:
    """A number of parameters or tokens where people read it: "546K", "97.18B", "1.7T".

    Those under a thousand, and from 1e15 on, are as by `plain_number`.
    """
    rounded = float(f"{value:.{digits}g}")
    for size, letter in SCALES:
        if size <= rounded < 1e15:
            return f"{rounded / size:.{max(digits, 3)}g}{letter}"  # "280M", not "2.8e+02M"
    return plain_number(value, digits)


def count_text(n: int, noun: str, plural: str | None = None) -> str:
    """How many of something: "1 condition", "1,080 conditions", "2 losses".

    Args:
        n: the count.
        noun: in the singular.
        plural: where it is not the noun with an s.
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts by name without those that are 0: "3,998 CONVERGED, 2 UNIDENTIFIED"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def list_text(items: Sequence[str], most: int | None = None, *, conjunction: str = "and") -> str:
    """A list in a sentence: "a", "a and b", "a, b and c".

    Args:
        items: at least one.
        most: if given, name at most this many: "a, b and 3 more".
        conjunction: the word before the last item.
    """
    items = list(items)
    if most is not None and len(items) > most:
        items = [*items[:most], f"{len(items) - most:,} more"]
    *others, last = items
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def duration_text(seconds: float) -> str:
    """A duration: "0.05 s", "5.0 s", "87 s", "12 min", "3.4 h"."""
    if seconds < 120:
        digits = 2 if seconds < 1 else 1 if seconds < 10 else 0
        return f"{seconds:.{digits}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def size_text(n_bytes: float) -> str:
    """A size on disk or in memory, in decimal units: "12 kB", "1.5 MB", "52 MB", "1.4 GB"."""
    if n_bytes < 1e6:
        return f"{max(n_bytes / 1e3, 1):.0f} kB"
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:.{int(n_bytes < 1e7)}f} MB"
    return f"{n_bytes / 1e9:,.1f} GB"


def speed_text(rate: float, unit: str) -> str:
    """A rate in units per second: "23,100 fits/s"."""
    digits = 0 if rate >= 10 else 1
    return f"{rate:,.{digits}f} {unit}/s"


def time_left_text(remaining: int, rate: float) -> str:
    """How long `remaining` units take at `rate`: "1:05 left", "? left" before the first unit is done."""
    if remaining <= 0:
        return "0:00 left"
    if not rate > 0:
        return "? left"
    minutes, seconds = divmod(round(remaining / rate), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"


def warnings_text(warnings: Sequence[str]) -> str:
    """How many warnings a result has, for its repr: "; 2 warnings", or "" for none."""
    count = len(warnings)
    return f"; {count} warning{'s' * (count > 1)}" if count else ""
