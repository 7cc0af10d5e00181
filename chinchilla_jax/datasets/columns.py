"""Which column of a table holds which quantity: what is certain is read, what is not is asked.

A column is read for a quantity where its name is plain (see `meaning`) and no other name is. A second
plain name, active parameters beside others, and an evaluation beside the training loss are a question. Names
of variants ("params_non_embedding", "loss_dclm") are proposed where nothing else holds the quantity, and
otherwise mentioned; the only loss is read whatever it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError, closest, short, unknown_name
from chinchilla_jax._util.text import list_text
from chinchilla_jax.datasets.column_questions import Cells, missing_message, require_one
from chinchilla_jax.datasets.meaning import (
    Meaning,
    meanings,
)
from chinchilla_jax.datasets.possible import is_text, plain_numbers, possible_unit
from chinchilla_jax.datasets.runs import QUANTITIES

if TYPE_CHECKING:
    from chinchilla_jax.datasets.table import Table

_MOST_OPTIONS = 4
_ROUNDING = 0.005  # relative, within which two columns hold the same numbers
_COUNTS = ("params", "tokens", "flops")


def match_columns(
    header: Sequence[str],
    where: str,
    columns: Mapping[str, str] | None = None,
    *,
    quantities: Sequence[str] = QUANTITIES,
    cells: Cells | None = None,
    by_option: bool = True,
    reserved: Collection[int] = (),
) -> dict[str, int]:
    """Position of the column of each quantity.

    Args:
        header: column names in the order of the table.
        where: the table's name in messages.
        columns: quantity to the name of the column that holds it, where the name alone does not tell; "" for
            a quantity that is not to be read, although the table has it.
        quantities: which to look for; columns of others are ignored. Of params, tokens and flops two are
            enough.
        cells: the cells of the column at a position, so that a column whose values are impossible is no
            candidate; None where they are not known.
        by_option: whether a question can be answered by `columns`; otherwise by renaming.
        reserved: positions that are read for something else, unless `columns` names them.

    Returns:
        Quantity to column position.

    Raises:
        DataError: a column is missing, or two columns may hold the same quantity.
        UsageError: `columns` names an unknown quantity or a column that the table does not have.
    """
    columns = read_columns(columns)
    wanted = [quantity for quantity in quantities if columns.get(quantity) != ""]
    columns = {quantity: name for quantity, name in columns.items() if name}
    positions = _chosen(header, where, columns)
    free = _candidates(header, cells, {*positions.values(), *reserved})
    for quantity, plain in _plain(wanted, free, positions, cells).items():
        plain = _in_one_unit(plain, free, cells)
        require_one(header, where, quantity, plain, free, by_option)
        positions[quantity] = plain[0]
    if "loss" in quantities and "loss" not in positions:
        # Whatever it is the loss of, there is no other.
        only = [place for place, meaning in free.items() if meaning.quantity == "loss"]
        positions |= {"loss": only[0]} if len(only) == 1 else {}
    missing = [quantity for quantity in quantities if quantity not in positions]
    counts = [quantity for quantity in missing if quantity != "loss"]
    if len(counts) < 2:  # two of three are enough
        missing = [quantity for quantity in missing if quantity == "loss"]
    if missing:
        raise DataError(missing_message(header, where, missing, free, cells, by_option))
    return positions


def match_table(
    table: Table,
    columns: Mapping[str, str] | None = None,
    *,
    quantities: Sequence[str] = QUANTITIES,
    by_option: bool = True,
) -> dict[str, int]:
    """`match_columns` for a table."""
    return match_columns(
        table.header,
        table.where,
        columns,
        quantities=quantities,
        cells=table.column,
        by_option=by_option,
        reserved=table.reserved,
    )


def mention_others(
    table: Table, positions: Mapping[str, int], columns: Mapping[str, str] | None = None
) -> Table:
    """The table with a note of variants that were not read, of quantities that `columns` does not name."""
    taken = {*positions.values(), *table.reserved}
    free = {
        place: meaning
        for place, meaning in _candidates(table.header, table.column, taken).items()
        if possible_unit(meaning, table.column(place)) == ""
    }
    found = [
        f"{quantity} {list_text([short(table.header[place]) for place in others], _MOST_OPTIONS)}"
        for quantity in positions
        if quantity not in (columns or {})
        and (others := [place for place, meaning in free.items() if meaning.quantity == quantity])
    ]
    if not found:
        return table
    return table.note(f"other columns for {', '.join(found)}: --column QUANTITY=NAME reads another")


def _candidates(header: Sequence[str], cells: Cells | None, taken: set[int]) -> dict[int, Meaning]:
    """The columns whose names speak of a quantity, by position, without those whose values are impossible."""
    return {
        place: meaning
        for place, meaning in enumerate(meanings(header))
        if meaning is not None
        and place not in taken
        and (meaning.plain or cells is None or possible_unit(meaning, cells(place)) is not None)
    }


def _plain(
    quantities: Sequence[str], free: Mapping[int, Meaning], told: Mapping[str, int], cells: Cells | None
) -> dict[str, list[int]]:
    """The columns of plain names for each quantity not told, without texts that are not needed.

    A column "compute" may hold names of machines, and "model_size" those of sizes.
    """
    found: dict[str, list[int]] = {}
    for quantity in quantities:
        plain = [place for place, meaning in free.items() if meaning.quantity == quantity and meaning.plain]
        if quantity not in told and plain:
            found[quantity] = plain if cells is None or len(plain) == 1 else _best_of(plain, free, cells)
    if cells is not None and len({*found, *told} & set(_COUNTS)) == len(_COUNTS):
        for quantity in [name for name in _COUNTS if name in found and is_text(cells(found[name][0]))][:1]:
            del found[quantity]
    return found


def _best_of(places: list[int], free: Mapping[int, Meaning], cells: Cells) -> list[int]:
    """The columns whose numbers the quantity can have, or else those that hold numbers, or else all.

    A column "L" may count layers, and "budget" dollars.
    """
    possible = [place for place in places if possible_unit(free[place], cells(place)) == ""]
    return possible or [place for place in places if not is_text(cells(place))] or places


def _in_one_unit(places: list[int], free: Mapping[int, Meaning], cells: Cells | None) -> list[int]:
    """One column of several that hold the same numbers in units of their own, the plain one if any."""
    units = [free[place].unit for place in places]
    if cells is None or len(places) == 1 or len(set(units)) < len(units):
        return places
    numbers = [plain_numbers(free[place], cells(place)) for place in places]
    same = all(np.allclose(each, numbers[0], rtol=_ROUNDING, atol=0, equal_nan=True) for each in numbers[1:])
    return [places[units.index("") if "" in units else 0]] if same else places


def read_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """The argument `columns` of `match_columns`, checked.

    Raises:
        UsageError: it is no mapping from quantities to names, or leaves out the loss.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns.values()):
        raise UsageError(
            f"columns is {short(columns)}; give the name of a column for each quantity, such as "
            "{'loss': 'val/loss'}"
        )
    for quantity, name in columns.items():
        if quantity not in QUANTITIES:
            raise unknown_name("quantity in columns", quantity, QUANTITIES)
        if quantity == "loss" and not name:
            raise UsageError("columns: the loss cannot be left out; name its column, such as 'val/loss'")
    return dict(columns)


def _chosen(header: Sequence[str], where: str, columns: Mapping[str, str]) -> dict[str, int]:
    positions = {}
    names = [name.strip() for name in header]
    for quantity, name in columns.items():
        if names.count(name) != 1:
            near = closest(name, names)
            hint = f"did you mean {near!r}?" if near else f"the table has {', '.join(map(short, names[:8]))}"
            found = "two columns are" if name in names else "no column is"
            raise UsageError(f"{where}: {found} named {short(name)}; {hint}")
        positions[quantity] = names.index(name)
    return positions
