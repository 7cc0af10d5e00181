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
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, DataWarning, short
from chinchilla_jax._util.text import count_text
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.datasets.columns import match_table, mention_others
from chinchilla_jax.datasets.expert_columns import note_experts
from chinchilla_jax.datasets.group_columns import read_labels
from chinchilla_jax.datasets.jumps import require_no_jump
from chinchilla_jax.datasets.quantities import complete, read_columns
from chinchilla_jax.datasets.repetition import note_repetition
from chinchilla_jax.datasets.runs import Runs
from chinchilla_jax.datasets.suspicions import require_clear_units
from chinchilla_jax.datasets.table import Table, show_text
from chinchilla_jax.datasets.variable_columns import variable_columns, variable_positions, variable_unit

# The law has five parameters, so six distinct points are the fewest that test a fit.
MIN_DISTINCT_RUNS = 6


def runs_from_table(
    table: Table,
    *,
    name: str,
    counting: str,
    columns: Mapping[str, str] | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Runs:
    """Runs from a table whose cells, units and design were checked.

    `columns` is that of `match_columns`, `variables` that of `variable_columns`.

    Raises:
        DataError: naming the table, the rows, the column, the value and the remedy.
    """
    positions = match_table(table, columns)
    require_rows(table, "add at least 6 runs")
    read = read_columns(table, positions)
    own = counting == "as_given"
    if own:
        with np.errstate(over="ignore"):  # medians of values near the end of float64
            require_clear_units(table, read)
    arrays = complete(table, read)
    if own:
        table = mention_others(table, positions, columns)
        if not variables:
            table = note_experts(note_repetition(table, arrays["tokens"], read), arrays["tokens"])
    source = read.record(table)
    places = variable_positions(table, variables)
    taken = {name: table.header[i].strip() for name, i in places.items()}
    units = {name: text for name, i in places.items() if (text := variable_unit(table, name, i).words(None))}
    source = dataclasses.replace(source, columns={**source.columns, **taken}, units={**source.units, **units})
    runs = Runs(
        arrays["params"],
        arrays["tokens"],
        arrays["flops"],
        arrays["loss"],
        name=name,
        counting=counting,
        source=source,
        labels=read_labels(table, set(positions.values())),
        variables=variable_columns(table, variables),
        rows=_row_names(table),
        row_word=table.row_word,
    )
    require_fittable(runs, table.where, table)
    if own:
        require_no_jump(table, read, runs)
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


def require_fittable(runs: Runs, where: str, table: Table | None = None) -> None:
    """Refuse runs that can determine no law; of runs with further variables, the law says what it needs.

    Args:
        runs: the runs, all values positive and finite.
        where: their name in the message.
        table: the table they come from, row by row, to name the rows that repeat others.

    Raises:
        DataError: fewer than 6 distinct (params, tokens), one model size only, or one token count only.
    """
    for quantity, values in (("params", runs.params), ("tokens", runs.tokens)):
        if len(runs) > 1 and np.all(values == values[0]) and not runs.variables:
            raise DataError(
                f"{where}: all {len(runs)} rows have the same {quantity} ({values[0]:g}), which leaves "
                f"open how the loss depends on them; add runs with other {quantity}"
            )
    seen: set[tuple[float, ...]] = set()
    repeats: list[int] = []
    columns = (runs.params, runs.tokens, *runs.variables.values())
    for row, point in enumerate(zip(*(values.tolist() for values in columns), strict=True)):
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
