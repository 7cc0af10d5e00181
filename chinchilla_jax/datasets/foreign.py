"""Tables as other tools write them: exports of Weights & Biases, and tables of several experiments.

| written by                               | columns                                                    |
|------------------------------------------|------------------------------------------------------------|
| the `chinchilla` toolkit (`df.csv`)      | C, N, D, loss, perhaps others                              |
| Open-Athena's IsoFLOP tables             | source, dataset, model, condition, experiment, tokens,     |
|                                          | params, budget, loss                                       |
| Weights & Biases, table of runs          | Name, State, ..., configuration and summary by name        |
| Weights & Biases, public API             | name, config, summary (a dictionary as text in a cell)     |

(kyo-takano/chinchilla, `chinchilla/database.py`; Open-Athena/scaling-law-analysis, `data/isoflops`;
docs.wandb.ai, "Import and export data".) The first needs nothing but its column names.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping

from chinchilla_jax._util.errors import DataError, DataWarning, UsageError, closest, short
from chinchilla_jax.datasets.json_lines import flattened
from chinchilla_jax.datasets.reading import Table

_DICTIONARIES = ("config", "summary")
_UNFINISHED = frozenset({"crashed", "failed", "killed", "running", "preempted", "preempting", "pending"})
_EXPERIMENT = "experiment"


def unpack(table: Table) -> Table:
    """An export of Weights & Biases as a plain table; any other table as it is.

    Dictionaries in the columns "config" and "summary" become columns "config.<name>" and "summary.<name>".
    Runs whose column "State" says that they did not finish are left out, with a warning that counts them.

    Raises:
        DataError: a cell that should hold a dictionary holds something else, or no run has finished.
    """
    return _finished(_dictionaries(table))


def one_experiment(table: Table, experiment: str | None) -> Table:
    """The rows of one experiment.

    Args:
        table: any table.
        experiment: the text in its column "experiment"; None for a table that has no such column, or one
            experiment only.

    Raises:
        DataError: the table has several experiments, and none was chosen.
        UsageError: there is no such experiment, or no such column.
    """
    position = _position(table, _EXPERIMENT)
    if position is None:
        if experiment is None:
            return table
        raise UsageError(
            f"experiment={short(experiment)}: {table.where} has no column 'experiment'; leave it out"
        )
    cells = [str(cell).strip() for cell in table.column(position)]
    names = list(dict.fromkeys(cells))
    if experiment is None:
        if len(names) <= 1:
            return table
        listed = ", ".join(short(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        raise DataError(
            f"{table.where}: column 'experiment' names {len(names)} experiments ({listed}), and one law "
            "cannot stand for all; choose one with experiment=... (--experiment on the command line), or "
            "delete the column to pool them"
        )
    if experiment not in names:
        near = closest(experiment, names)
        hint = (
            f"did you mean {near!r}?" if near else f"there are {', '.join(short(name) for name in names[:8])}"
        )
        raise UsageError(f"{table.where}: no experiment {short(experiment)}; {hint}")
    return table.take([row for row, name in enumerate(cells) if name == experiment])


def _dictionaries(table: Table) -> Table:
    positions = {name: _position(table, name) for name in _DICTIONARIES}
    if None in positions.values():
        return table
    records: list[dict[str, object]] = [{} for _ in table.rows]
    for name, position in positions.items():
        assert position is not None
        for row, cell in enumerate(table.column(position)):
            records[row] |= flattened(_dictionary(cell, table, row, name), f"{name}.")
    added = list(dict.fromkeys(field for record in records for field in record))
    kept = [i for i in range(len(table.header)) if i not in positions.values()]

    def column(place: int) -> list[object]:
        if place < len(kept):
            return list(table.column(kept[place]))
        return [record.get(added[place - len(kept)]) for record in records]

    header = (*(table.header[i] for i in kept), *added)
    return Table(table.where, header, column, table.rows, table.row_word)


def _dictionary(cell: object, table: Table, row: int, name: str) -> Mapping[str, object]:
    value = cell
    if isinstance(cell, str):
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            try:
                # Python's way of writing a dictionary, in which nan is a name and no literal.
                value = ast.literal_eval(re.sub(r"(?<![\w'\"])-?(nan|inf)(?![\w'\"])", "None", cell))
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                value = None
    if not isinstance(value, Mapping):
        raise DataError(
            f"{table.where}: {table.name_rows([row])}, column {short(name)}: {short(cell)} is no dictionary "
            "as Weights & Biases exports it; export the runs again, or rename the column"
        )
    return value


def _finished(table: Table) -> Table:
    position = _position(table, "state")
    if position is None:
        return table
    states = [str(cell).strip().casefold() for cell in table.column(position)]
    left = [row for row, state in enumerate(states) if state in _UNFINISHED]
    if not left:
        return table
    if len(left) == len(states):
        raise DataError(f"{table.where}: no run has finished (column {short(table.header[position])})")
    warnings.warn(
        f"{table.where}: left out {len(left)} of {len(states)} runs that did not finish "
        f"({table.name_rows(left)}; column {short(table.header[position])})",
        DataWarning,
        stacklevel=2,
    )
    return table.take([row for row, state in enumerate(states) if state not in _UNFINISHED])


def _position(table: Table, name: str) -> int | None:
    """Where the column of this name is, case aside."""
    for position, each in enumerate(table.header):
        if each.strip().casefold() == name:
            return position
    return None
