"""From a `Table` to numbers that a law can be fitted to, or one line about the cell that prevents it.

| code   | symbol | shape | unit                        |
|--------|--------|-------|-----------------------------|
| params | N      | (n,)  | parameters                  |
| tokens | D      | (n,)  | training tokens             |
| flops  | C      | (n,)  | training FLOP, C = 6 N D    |
| loss   | L      | (n,)  | nats per token              |

Plain NumPy rather than a schema library: the messages name the line, the text of the cell and the remedy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, DataWarning, short
from chinchilla_jax._util.text import count_text
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.datasets.cells import MISSING_KINDS, Problem, parse_cell
from chinchilla_jax.datasets.columns import match_columns
from chinchilla_jax.datasets.group_columns import read_labels
from chinchilla_jax.datasets.runs import QUANTITIES, Runs, third_quantity
from chinchilla_jax.datasets.table import Table, show_text
from chinchilla_jax.datasets.suspicions import warn_of_units
from chinchilla_jax.laws.compute import training_flops

# The law has five parameters, so six distinct points are the fewest that test a fit.
MIN_DISTINCT_RUNS = 6
# FLOP counted in full (embeddings, attention, experts) stay within this factor of 6 N D; wrong units do not.
_FLOP_FACTOR = 3.0
_DERIVED = {
    "params": "flops / (6 * tokens)",
    "tokens": "flops / (6 * params)",
    "flops": "6 * params * tokens",
}


def runs_from_table(
    table: Table, *, name: str, counting: str, columns: Mapping[str, str] | None = None
) -> Runs:
    """Runs from a table whose cells, units and design were checked.

    Values in suspicious units are used as they are, with a `DataWarning`. `columns` is that of
    `match_columns`.

    Raises:
        DataError: naming the table, the rows, the column, the value and the remedy.
    """
    positions = match_columns(table.header, table.where, columns)
    require_rows(table, "add at least 6 runs")
    arrays = read_quantities(table, positions)
    n_rows = len(table.rows) + sum(each.n for each in table.source.left_out)
    columns_read = {
        quantity: table.header[positions[quantity]] for quantity in QUANTITIES if quantity in positions
    }
    runs = Runs(
        arrays["params"],
        arrays["tokens"],
        arrays["flops"],
        arrays["loss"],
        name=name,
        counting=counting,
        source=dataclasses.replace(table.source, columns=columns_read, n_rows=n_rows),
        labels=read_labels(table, set(positions.values())),
        rows=_row_names(table),
        row_word=table.row_word,
    )
    require_fittable(runs, table.where, table)
    warn_of_units(table.where, runs.params, runs.tokens, runs.loss, table.header[positions["loss"]])
    _warn_of_repeats(runs, table)
    return runs


def _row_names(table: Table) -> NDArray[np.object_]:
    names = np.empty(len(table.rows), object)
    names[:] = [show_text(str(row)) for row in table.rows]
    return names


def require_rows(table: Table, remedy: str) -> None:
    """Refuse a table without rows.

    Raises:
        DataError: it has none.
    """
    if not len(table.rows):
        found = ", ".join(short(name) for name in table.header[:8])
        raise DataError(f"{table.where}: no rows under the header ({found or 'no columns'}); {remedy}")


def read_quantities(table: Table, positions: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """The columns as numbers, (n,) each, with the third of params, tokens and flops from C = 6 N D.

    Args:
        table: the table.
        positions: quantity to column position, as from `match_columns`.

    Raises:
        DataError: a cell is not a positive finite number, or the three do not fit together.
    """
    arrays = parse_columns(table, positions)
    missing = [quantity for quantity in _DERIVED if quantity not in arrays]
    for quantity in missing:
        arrays[quantity] = _derive(table, quantity, arrays)
    if not missing:
        _require_consistent(table, positions, arrays)
    return arrays


def _warn_of_repeats(runs: Runs, table: Table) -> None:
    """Warn of rows that repeat the params, tokens and loss of another: most likely one run listed twice."""
    first: dict[tuple[float, ...], int] = {}
    rows = zip(runs.params.tolist(), runs.tokens.tolist(), runs.loss.tolist(), strict=True)
    repeats = [row for row, run in enumerate(rows) if first.setdefault(run, row) != row]
    if repeats:
        warn_user(
            f"{table.where}: {table.name_rows(repeats)}: same params, tokens and loss as another row; if it "
            "is the same run, delete the copy, or the run counts twice",
            DataWarning,
        )


def parse_columns(table: Table, positions: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """The cells of these columns as positive finite numbers.

    Raises:
        DataError: one line about the first group of like cells that are not.
    """
    arrays: dict[str, NDArray[np.float64]] = {}
    groups: dict[tuple[int, str], list[tuple[int, Problem]]] = {}
    for quantity, position in positions.items():
        values = np.empty(len(table.rows))
        for row, cell in enumerate(table.column(position)):
            parsed = parse_cell(cell, quantity)
            if isinstance(parsed, Problem):
                groups.setdefault((position, parsed.kind), []).append((row, parsed))
            else:
                values[row] = parsed
        arrays[quantity] = values
    if groups:
        of_runs = "loss" in positions and len(positions) > 1
        raise DataError(_cells_message(table, groups, droppable=of_runs))
    return arrays


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


def _derive(table: Table, quantity: str, arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    values = third_quantity(quantity, arrays)
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        used = _DERIVED[quantity]
        raise DataError(
            f"{table.where}: {table.name_rows(bad.tolist())}: {quantity} = {used} comes out as "
            f"{float(values[bad[0]])!r}; check the units of the two columns"
        )
    return values


def _require_consistent(
    table: Table, positions: Mapping[str, int], arrays: Mapping[str, NDArray[np.float64]]
) -> None:
    """Refuse FLOP that are not of the size of 6 N D: a unit or a column is wrong."""
    with np.errstate(all="ignore"):
        ratio = arrays["flops"] / training_flops(arrays["params"], arrays["tokens"])
    bad = np.flatnonzero(~((ratio <= _FLOP_FACTOR) & (ratio >= 1 / _FLOP_FACTOR)))
    if bad.size:
        column = short(table.header[positions["flops"]])
        found = f"{float(arrays['flops'][bad[0]]):g} is {ratio[bad[0]]:.3g} times 6 * params * tokens"
        raise DataError(
            f"{table.where}: {table.name_rows(bad.tolist())}, column {column}: {found}; check the units "
            f"of the three columns, or leave one out"
        )


def require_fittable(runs: Runs, where: str, table: Table | None = None) -> None:
    """Refuse runs that can determine no law.

    Args:
        runs: the runs, all values positive and finite.
        where: their name in the message.
        table: the table they come from, row by row, to name the rows that repeat others.

    Raises:
        DataError: fewer than 6 distinct (params, tokens), one model size only, or one token count only.
    """
    for quantity, values in (("params", runs.params), ("tokens", runs.tokens)):
        if len(runs) > 1 and np.all(values == values[0]):
            raise DataError(
                f"{where}: all {len(runs)} rows have the same {quantity} ({values[0]:g}), which leaves "
                f"open how the loss depends on them; add runs with other {quantity}"
            )
    seen: set[tuple[float, float]] = set()
    repeats: list[int] = []
    for row, point in enumerate(zip(runs.params.tolist(), runs.tokens.tolist(), strict=True)):
        if point in seen:
            repeats.append(row)
        seen.add(point)
    if len(seen) < MIN_DISTINCT_RUNS:
        which = (
            f" ({table.name_rows(repeats)} repeat the params and tokens of another)"
            if table and repeats
            else ""
        )
        raise DataError(
            f"{where}: {count_text(len(seen), 'distinct run')} in {count_text(len(runs), 'row')}{which}; "
            f"no law can be fitted to so few: give at least {MIN_DISTINCT_RUNS} runs that differ in params "
            "or tokens"
        )
