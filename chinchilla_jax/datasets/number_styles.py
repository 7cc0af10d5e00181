"""How the numbers of a column are written: 1.3B, 1,234,567 or 2,34, read where the cells agree on a meaning.

| written            | read as                                                                         |
|--------------------|---------------------------------------------------------------------------------|
| 70M, 1.3B, 3T      | a count with its own unit; a bare number beside them has to be possible as it is |
| 2.1 EFLOP          | FLOP, with its own unit                                                         |
| 1 234 567, 1'234   | thousands separators                                                            |
| 1,234,567  1,234.5 | thousands separators, if no cell of the column says otherwise                   |
| 1.234.567  2,34    | a decimal comma (and thousands points), if no cell says otherwise               |
| 2,345              | one of the two: by the other cells, or by which is a possible number            |
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.datasets.cells import NUMBER, SMALLEST, Problem, parse_cell
from chinchilla_jax.datasets.ranges import LEAST, is_possible, middle_of
from chinchilla_jax.datasets.units import Unit, read_unit

_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
# The spaces and apostrophes that separate thousands, which are nothing else.
_SPACED = re.compile(r"[+-]?[0-9]{1,3}(?:[' _\u00a0\u202f\u2019][0-9]{3})+(?:[.,][0-9]+)?")
_COMMA_THOUSANDS = re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(?:,[0-9]{{3}})+(?:\.[0-9]*)?{_EXPONENT}")
_POINT_THOUSANDS = re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}})+(?:,[0-9]*)?{_EXPONENT}")
_COMMA_DECIMAL = re.compile(rf"[+-]?[0-9]*,[0-9]+{_EXPONENT}")
_WITH_UNIT = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+) ?([a-zA-Z][a-zA-Z/ -]*)")
_LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "g": 1e9, "t": 1e12, "tn": 1e12}
_FLOP_LETTERS = _LETTERS | {"p": 1e15, "e": 1e18, "z": 1e21}


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a column.

    Attributes:
        values: (n,) float64; NaN where there is a problem.
        problems: row and problem of each cell that is no positive finite number.
        style: how they are written, in a few words; "" for plain numbers.
        own_units: whether cells state their unit.
        all_own: whether each of them does.
    """

    values: NDArray[np.float64]
    problems: tuple[tuple[int, Problem], ...]
    style: str = ""
    own_units: bool = False
    all_own: bool = False


def read_numbers(cells: Sequence[object], unit: Unit) -> Numbers:
    """The numbers in the cells of a column in `unit`, not converted."""
    quantity = unit.quantity
    if (plain_values := _plain_values(cells)) is not None:
        return Numbers(plain_values, ())
    texts = {row: cell.strip() for row, cell in enumerate(cells) if isinstance(cell, str)}
    odd = {row: text for row, text in texts.items() if text and not NUMBER.fullmatch(text)}
    with_units = {row: value for row, text in odd.items() if (value := _value_with_unit(text, quantity))}
    style = ""
    plain: dict[int, str] = {}
    if not with_units:
        style, plain = _by_separators(texts, odd, unit)
    values = np.full(len(cells), np.nan)
    problems = []
    for row, cell in enumerate(cells):
        parsed = parse_cell(plain.get(row, with_units.get(row, cell)), quantity)
        if (
            with_units
            and row not in with_units
            and not isinstance(parsed, Problem)
            and parsed < LEAST[quantity]
        ):
            example = short(odd[next(iter(with_units))])
            parsed = Problem(
                "bare", short(cell), f"has no unit, where other cells have one, such as {example}", "add it"
            )
        if isinstance(parsed, Problem):
            problems.append((row, parsed))
        else:
            values[row] = parsed
    if with_units:
        style = f"such as {short(odd[next(iter(with_units))])}"
    all_own = bool(with_units) and len(with_units) == len(cells) - len(problems)
    return Numbers(values, tuple(problems), style, bool(with_units), all_own)


def _plain_values(cells: Sequence[object]) -> NDArray[np.float64] | None:
    """The values where all cells are plain, usable numbers, or texts of them; None where any is not."""
    if not all(isinstance(cell, str) for cell in cells):
        if not all(type(cell) is float or type(cell) is int for cell in cells):
            return None
    elif not all(NUMBER.fullmatch(cell.strip()) for cell in cells):  # type: ignore[attr-defined]
        return None
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))  # type: ignore[arg-type]
    except (OverflowError, ValueError):  # beyond float64; separators of ASCII, which strip takes for blanks
        return None
    return values if np.all((values >= SMALLEST) & (values < np.inf)) else None


def _value_with_unit(text: str, quantity: str) -> float | None:
    """The plain number that a text such as "1.3B" or "2 EFLOP" stands for, or None."""
    match = _WITH_UNIT.fullmatch(text)
    if match is None or quantity == "loss":
        return None
    word = match[2].strip()
    letters = _FLOP_LETTERS if quantity == "flops" else _LETTERS
    factor = letters.get(word.casefold())
    if factor is None:
        try:
            factor = read_unit(quantity, word).factor
        except UsageError:
            return None
    # In one rounding: 2.3B is 2300000000.
    exponent = round(np.log10(factor))
    mantissa = match[1]
    if factor == 10.0**exponent and "e" not in mantissa.casefold():
        return float(f"{mantissa}e{exponent}")
    return float(mantissa) * factor


def _by_separators(texts: dict[int, str], odd: dict[int, str], unit: Unit) -> tuple[str, dict[int, str]]:
    """The style of the column's separators, and its cells without them, by row."""
    spaced = {
        row: re.sub(r"[' _\u00a0\u202f\u2019]", "", text)
        for row, text in odd.items()
        if _SPACED.fullmatch(text)
    }
    rest = {row: text for row, text in odd.items() if row not in spaced}
    marked = {
        row: text
        for row, text in rest.items()
        if _COMMA_THOUSANDS.fullmatch(text)
        or _POINT_THOUSANDS.fullmatch(text)
        or _COMMA_DECIMAL.fullmatch(text)
    }
    if not marked:
        return ("with thousands separators" if spaced else ""), spaced
    # Every number of the column has a say: 1.5 beside 2,345 shows that the comma is not decimal.
    numbers = {row: text for row, text in texts.items() if NUMBER.fullmatch(text)} | marked
    by_point = {row: _decimal_point(text) for row, text in numbers.items()}
    by_comma = {row: _decimal_comma(text) for row, text in numbers.items()}
    readings = [
        (style, {row: text for row, text in found.items() if text is not None})
        for style, found in (("with thousands separators", by_point), ("with decimal commas", by_comma))
        if None not in found.values()
    ]
    readings = [
        (style, found) for style, found in readings if _are_possible([found[row] for row in marked], unit)
    ]
    if len(readings) != 1:
        return "", spaced
    style, found = readings[0]
    return style, spaced | found


def _decimal_point(text: str) -> str | None:
    if _COMMA_THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    return text if NUMBER.fullmatch(text) else None


def _decimal_comma(text: str) -> str | None:
    if _POINT_THOUSANDS.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    if _COMMA_DECIMAL.fullmatch(text):
        return text.replace(",", ".")
    return text if NUMBER.fullmatch(text) and "." not in text else None


def _are_possible(texts: Sequence[str], unit: Unit) -> bool:
    """Whether the median of these numbers is possible in the unit."""
    middle = np.array([middle_of([float(text) for text in texts])])
    return is_possible(unit.quantity, float(unit.to_plain(middle)[0]))
