"""Whether the cells of a column can be what its name says, and in which unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.datasets.cells import MISSING_KINDS
from chinchilla_jax.datasets.meaning import Meaning
from chinchilla_jax.datasets.number_styles import read_numbers
from chinchilla_jax.datasets.ranges import LEAST, MOST, TYPICAL, is_possible, middle_of
from chinchilla_jax.datasets.units import FACTORS, PLAIN, Unit, read_unit

_MOST_CELLS = 1000  # that are looked at, evenly spread over the column


def possible_unit(meaning: Meaning, cells: Sequence[object]) -> str | None:
    """The unit to ask for, so that the cells are numbers that the quantity can have.

    Returns:
        "" if they are such numbers in the unit that the name states, or in the plain one; the name of another
        unit in which they would be; None if most are no numbers, or in no unit. A few cells that are none,
        such as "diverged", do not decide what a column holds.
    """
    plain = PLAIN[meaning.quantity]
    stated = read_unit(meaning.quantity, meaning.unit or plain)
    numbers = read_numbers(cells[:: -(-len(cells) // _MOST_CELLS)] if len(cells) else cells, stated)
    values = numbers.values[np.isfinite(numbers.values)]
    if values.size <= sum(problem.kind not in MISSING_KINDS for _, problem in numbers.problems):
        return None
    middle = middle_of(values)
    if numbers.own_units:
        stated = Unit(meaning.quantity, plain)
    if meaning.quantity == "loss":
        return "" if 0 < float(stated.to_plain(np.array([middle]))[0]) <= MOST["loss"] else None
    if is_possible(meaning.quantity, middle * stated.factor):
        return ""
    sure = (meaning.plain or meaning.active) and not meaning.unit
    return nearest_unit(meaning.quantity, middle) if sure and middle < LEAST[meaning.quantity] else None


def plain_numbers(meaning: Meaning, cells: Sequence[object]) -> NDArray[np.float64]:
    """The numbers of a column in the plain unit, (n,); NaN where there is none."""
    unit = read_unit(meaning.quantity, meaning.unit or PLAIN[meaning.quantity])
    numbers = read_numbers(cells, unit)
    return numbers.values if numbers.own_units else unit.to_plain(numbers.values)


def is_text(cells: Sequence[object]) -> bool:
    """Whether the cells that hold anything are texts without a digit."""
    found = False
    for cell in cells:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            continue
        if not isinstance(cell, str) or any(letter.isdigit() for letter in cell):
            return False
        found = True
    return found


def nearest_unit(quantity: str, value: float, typical: float | None = None) -> str | None:
    """The unit of params, tokens or flops that brings `value` nearest to a usual one; None if none can be.

    Args:
        quantity: which.
        value: a number of the column, such as its median.
        typical: what a usual one is, in the plain unit; None for that of a language model.
    """
    goal = TYPICAL[quantity] if typical is None or not 0 < typical < math.inf else typical
    possible = {
        name: abs(math.log(value * factor) - math.log(goal))
        for name, factor in FACTORS[quantity].items()
        if is_possible(quantity, value * factor)
    }
    return min(possible, key=lambda name: possible[name]) if possible else None
