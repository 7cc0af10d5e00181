"""From the columns of a table to numbers: positive, finite and in plain units.

| code   | symbol | shape | unit                        |
|--------|--------|-------|-----------------------------|
| params | N      | (n,)  | parameters                  |
| tokens | D      | (n,)  | training tokens             |
| flops  | C      | (n,)  | training FLOP, C = 6 N D    |
| loss   | L      | (n,)  | nats per token              |

The unit of a column is what its owner has stated (`Table.units`), or what its name states, or the plain one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, UsageError, short
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.cells import MISSING_KINDS, Problem
from chinchilla_jax.datasets.meaning import meanings
from chinchilla_jax.datasets.number_styles import read_numbers
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.runs import QUANTITIES, third_quantity
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import PLAIN, Unit, read_unit
from chinchilla_jax.laws.compute import FLOP_FACTOR, training_flops

Floats = NDArray[np.float64]

_DERIVED = {
    "params": "flops / (6 * tokens)",
    "tokens": "flops / (6 * params)",
    "flops": "6 * params * tokens",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a table that hold quantities, as numbers.

    Attributes:
        positions: quantity to column position.
        units: the unit of each.
        arrays: the numbers of each in the plain unit, (n,).
        styles: how the numbers of some are written, such as "with decimal commas".
        stated: the quantities whose unit the owner or the cells state.
    """

    positions: Mapping[str, int]
    units: Mapping[str, Unit]
    arrays: dict[str, Floats]
    styles: Mapping[str, str]
    stated: frozenset[str]

    def with_loss(self, other: Columns) -> Columns:
        """These columns and the loss of others, which may be of fewer rows."""
        return Columns(
            {**self.positions, **other.positions},
            {**self.units, **other.units},
            {**self.arrays, **other.arrays},
            {**self.styles, **other.styles},
            self.stated | other.stated,
        )

    def record(self, table: Table) -> Source:
        """The table's record with these columns and their units."""
        given = table.bytes_per_token
        words = {quantity: unit.words(given) for quantity, unit in self.units.items()}
        source = dataclasses.replace(
            table.source,
            columns={
                quantity: table.header[self.positions[quantity]]
                for quantity in QUANTITIES
                if quantity in self.positions
            },
            units={quantity: text for quantity, text in words.items() if text},
            n_rows=len(table.rows) + sum(each.n for each in table.source.left_out),
        )
        for quantity, style in self.styles.items():
            source = source.noted(f"{quantity}: numbers {style}")
        loss = self.units.get("loss")
        if loss is not None and loss.per_byte and given is None:
            source = source.noted(
                f"the loss is in {loss.words(None)}: E, A and B of a law are in that unit, exponents and "
                "tokens per parameter are as in any; --bytes-per-token X converts it to nats per token"
            )
        return source


def read_columns(table: Table, positions: Mapping[str, int]) -> Columns:
    """The cells of these columns as numbers in plain units.

    Args:
        table: the table.
        positions: quantity to column position, as from `match_columns`.

    Raises:
        DataError: one line about the first group of like cells that are no positive finite numbers.
        UsageError: the owner has stated a unit, and the cells another.
    """
    arrays: dict[str, Floats] = {}
    units: dict[str, Unit] = {}
    styles: dict[str, str] = {}
    groups: dict[tuple[int, str], list[tuple[int, Problem]]] = {}
    named, stated = meanings(table.header), set(table.units)
    for quantity, position in positions.items():
        meaning = named[position]
        by_name = meaning.unit if meaning is not None and meaning.quantity == quantity else ""
        unit = table.units.get(quantity) or read_unit(quantity, by_name or PLAIN[quantity])
        numbers = read_numbers(table.column(position), unit)
        for row, problem in numbers.problems:
            groups.setdefault((position, problem.kind), []).append((row, problem))
        if numbers.own_units:
            unit = _own_unit(table, quantity, position)
            stated |= {quantity} if numbers.all_own else set()
        if numbers.style:
            styles[quantity] = numbers.style
        arrays[quantity] = unit.to_plain(numbers.values, table.bytes_per_token)
        units[quantity] = unit
    if groups:
        of_runs = "loss" in positions and len(positions) > 1
        raise DataError(_cells_message(table, groups, droppable=of_runs))
    if table.bytes_per_token is not None and "loss" in units and not units["loss"].per_byte:
        name = short(table.header[positions["loss"]])
        raise UsageError(
            f"{table.where}: bytes per token are for a loss in bits per byte, and {name} is read in "
            f"{units['loss'].name}; state --unit loss=bpb, or leave out --bytes-per-token"
        )
    if "loss" in units:
        _require_loss(table, positions["loss"], units["loss"], arrays["loss"])
    return Columns(dict(positions), units, arrays, styles, frozenset(stated))


def read_quantities(table: Table, positions: Mapping[str, int]) -> dict[str, Floats]:
    """The columns as numbers, (n,) each, with the third of params, tokens and flops from C = 6 N D.

    Args:
        table: the table.
        positions: quantity to column position, as from `match_columns`.

    Raises:
        DataError: a cell is not a positive finite number, or the three do not fit together.
    """
    return complete(table, read_columns(table, positions))


def complete(table: Table, columns: Columns) -> dict[str, Floats]:
    """The arrays of the columns, with the third of params, tokens and flops; see `read_quantities`."""
    arrays = dict(columns.arrays)
    missing = [quantity for quantity in _DERIVED if quantity not in arrays]
    for quantity in missing:
        arrays[quantity] = _derive(table, quantity, arrays)
    if not missing:
        _require_consistent(table, columns.positions, arrays)
    return arrays


def _own_unit(table: Table, quantity: str, position: int) -> Unit:
    told = table.units.get(quantity)
    if told is not None and not told.is_plain:
        raise UsageError(
            f"{table.where}: the cells of column {short(table.header[position])} state their unit; leave out "
            f"--unit {quantity}={told.name}"
        )
    return Unit(quantity, PLAIN[quantity])


def _require_loss(table: Table, position: int, unit: Unit, loss: Floats) -> None:
    bad = np.flatnonzero(~(np.isfinite(loss) & (loss > 0)))
    if bad.size:
        raise DataError(
            f"{table.where}: {table.name_rows(bad.tolist())}, column {short(table.header[position])}: a "
            f"{unit.name} of 1 or less; correct it, or state another unit, as in --unit loss=nats"
        )


def _cells_message(
    table: Table, groups: Mapping[tuple[int, str], list[tuple[int, Problem]]], *, droppable: bool
) -> str:
    """One line about the first group of like cells in the table, with the number of all others."""
    (position, _), group = min(groups.items(), key=lambda item: (item[1][0][0], item[0][0]))
    first_row, problem = group[0]
    rows = table.name_rows([row for row, _ in group])
    first = f" ({table.name_rows([first_row])})" if len(group) > 1 else ""
    others = sum(len(other) for other in groups.values()) - len(group)
    more = f" ({count_text(others, 'other cell')} in this table cannot be used either)" if others else ""
    fault = f"{problem.shown}{first} {problem.fault}"
    option = ", or pass --drop-missing" if droppable and problem.kind in MISSING_KINDS else ""
    column = short(table.header[position])
    return f"{table.where}: {rows}, column {column}: {fault}; {problem.remedy}{option}{more}"


def _derive(table: Table, quantity: str, arrays: Mapping[str, Floats]) -> Floats:
    values = third_quantity(quantity, arrays)
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        used = _DERIVED[quantity]
        raise DataError(
            f"{table.where}: {table.name_rows(bad.tolist())}: {quantity} = {used} comes out as "
            f"{float(values[bad[0]])!r}; check the units of the two columns"
        )
    return values


def _require_consistent(table: Table, positions: Mapping[str, int], arrays: Mapping[str, Floats]) -> None:
    """Refuse FLOP that are not of the size of 6 N D: a unit or a column is wrong."""
    with np.errstate(all="ignore"):
        ratio = arrays["flops"] / training_flops(arrays["params"], arrays["tokens"])
    bad = np.flatnonzero(~((ratio <= FLOP_FACTOR) & (ratio >= 1 / FLOP_FACTOR)))
    if bad.size:
        column = short(table.header[positions["flops"]])
        found = f"{float(arrays['flops'][bad[0]]):g} is {ratio[bad[0]]:.3g} times 6 * params * tokens"
        raise DataError(
            f"{table.where}: {table.name_rows(bad.tolist())}, column {column}: {found}; check the units "
            f"of the three columns, or leave one out, as in --column flops="
        )
