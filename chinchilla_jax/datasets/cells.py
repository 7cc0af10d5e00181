"""One cell of a table: a finite positive number, or a sentence about what it is instead.

Cells are parsed here and not by a table library: a library silently turns "NA", "1_000" or "1,5" into
something else, and the message could no longer quote the value that was wrong.
"""

from __future__ import annotations

import dataclasses
import decimal
import math
import numbers
import re
import sys

from chinchilla_jax._util.errors import short

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_MISSING = re.compile(r"[+-]?nan|#?n/?a|none|null|missing|-+|\?+|\.", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:[,' _\u00a0\u202f][0-9]{3})+(?:\.[0-9]*)?")
_DECIMAL_COMMA = re.compile(r"([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)")

# Below it numbers lose their digits, and their reciprocals are infinite.
SMALLEST = sys.float_info.min

_EXAMPLE = {"params": "7e10", "tokens": "1.4e12", "flops": "5.76e23", "loss": "2.1"}
_POSITIVE = {
    "params": "parameters are a positive count",
    "tokens": "tokens are a positive count",
    "flops": "training FLOP is positive",
    "loss": "loss is positive, in nats per token (not its logarithm, nor a log-likelihood)",
}
_FILL_OR_DELETE = "fill it in or delete the row"
MISSING_KINDS = ("empty", "missing")
"""Kinds of problems that `drop_missing` leaves out."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a cell cannot be used, to be read as "<shown> <fault>; <remedy>"; like cells share their `kind`."""

    kind: str
    shown: str
    fault: str
    remedy: str


def parse_cell(value: object, quantity: str) -> float | Problem:
    """The cell's value as a finite positive float, or what is wrong with it.

    Args:
        value: text (from CSV) or any object (from Parquet or a DataFrame).
        quantity: "params", "tokens", "flops" or "loss": what the column holds, for the remedy.
    """
    if isinstance(value, str):
        return _parse_text(value.strip(), quantity)
    if _is_missing(value):
        return _missing(short(value))
    if isinstance(value, numbers.Real | decimal.Decimal) and not isinstance(value, bool):
        try:
            return _check(float(value), short(float(value)), quantity)
        except OverflowError:
            return _too_large(short(value), quantity)
        except ValueError:  # decimal's signalling NaN
            return _missing(short(value))
    return Problem("text", f"{short(value)} ({type(value).__name__})", "is not a number", _plain(quantity))


def cell_text(value: object) -> str:
    """The cell as text without spaces around it; "" for a missing value."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return "" if is_nan or _is_missing(value) else str(value).strip()


def _is_missing(value: object) -> bool:
    # The missing values of pandas raise when compared, so they are recognised by the name of their type.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _parse_text(text: str, quantity: str) -> float | Problem:
    if not text:
        return Problem("empty", "the cell", "is empty", _FILL_OR_DELETE)
    if NUMBER.fullmatch(text):
        value = float(text)
        if SMALLEST <= value < math.inf:
            return value
        if math.isinf(value):
            return _too_large(short(text), quantity)
        if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
            return _too_small(short(text), quantity)
        return _check(value, short(text), quantity)
    shown = short(text)
    if _MISSING.fullmatch(text):
        return _missing(shown)
    if _INFINITE.fullmatch(text):
        return _check(math.inf, shown, quantity)
    return Problem("text", shown, "is not a number", _text_remedy(text, quantity))


def _check(value: float, shown: str, quantity: str) -> float | Problem:
    if math.isnan(value):
        return _missing(shown)
    if math.isinf(value):
        return Problem(
            "infinite",
            shown,
            "is infinite",
            f"{_POSITIVE[quantity]} and finite; correct it or delete the row",
        )
    if value <= 0:
        sign = "zero" if value == 0 else "negative"
        return Problem(sign, shown, f"is {sign}", f"{_POSITIVE[quantity]}; correct it or delete the row")
    return value if value >= SMALLEST else _too_small(shown, quantity)


def _missing(shown: str) -> Problem:
    return Problem("missing", shown, "marks a missing value", _FILL_OR_DELETE)


def _too_small(shown: str, quantity: str) -> Problem:
    return Problem("too small", shown, "is too small for a float64", f"{_POSITIVE[quantity]}; correct it")


def _too_large(shown: str, quantity: str) -> Problem:
    return Problem(
        "too large", shown, "is too large for a float64", f"{_POSITIVE[quantity]} and finite; correct it"
    )


def _plain(quantity: str) -> str:
    return f"write a plain number such as {_EXAMPLE[quantity]}, or leave the row out"


def _text_remedy(text: str, quantity: str) -> str:
    if len(text) > 40:
        return _plain(quantity)
    digits = re.sub("[^0-9.+-]", "", text)
    comma = _DECIMAL_COMMA.fullmatch(text)
    thousands = _THOUSANDS.fullmatch(text)
    # "2,345" reads both ways: as a loss it can only be 2.345, as a count only its owner knows.
    if comma and (quantity == "loss" or not thousands or text.lstrip("+-").startswith("0")):
        return f"use a decimal point: {comma[1]}.{comma[2]}"
    if comma and thousands:
        return f"write {digits} or {comma[1]}.{comma[2]}, whichever is meant"
    if thousands:
        return f"write it without separators: {digits}"
    return _plain(quantity)
