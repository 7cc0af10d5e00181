"""Tables from other tools: exports of Weights & Biases, and tables that hold several experiments.

| written by                               | columns                                                    |
|------------------------------------------|------------------------------------------------------------|
| the `chinchilla` toolkit (`df.csv`)      | C, N, D, loss, perhaps others                              |
| Open-Athena's IsoFLOP tables             | source, dataset, model, condition, experiment, tokens,     |
|                                          | params, budget, loss                                       |
| Weights & Biases, table of runs          | Name, State, ..., configuration and summary by name        |
| Weights & Biases, public API             | name, config, summary (a dictionary as text in a cell)     |

(kyo-takano/chinchilla, `chinchilla/database.py`; Open-Athena/scaling-law-analysis, `data/isoflops`;
docs.wandb.ai, "Import and export data".) The first needs only its column names.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Mapping

from chinchilla_jax._util.errors import DataError, UsageError, closest, short
from chinchilla_jax.datasets.readers.json_text import flattened
from chinchilla_jax.datasets.table import Table

_DICTIONARIES = ("config", "summary")
_EXPERIMENT = "experiment"


def unpack(table: Table) -> Table:
    """An export of Weights & Biases as a plain table; any other table as it is.

    Dictionaries in the columns "config" and "summary" become columns "config.<name>" and "summary.<name>".

    Raises:
        DataError: a cell that should hold a dictionary does not.
    """
    positions = {name: table.find(name) for name in _DICTIONARIES}
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
    return dataclasses.replace(table, header=header, column=column)


def one_experiment(table: Table, experiment: str | None) -> Table:
    """The rows of one experiment.

    Args:
        table: any table.
        experiment: the text in its column "experiment"; None for a table without that column, or with a
            single experiment.

    Raises:
        DataError: the table has several experiments, and none was chosen.
        UsageError: the table has no such experiment, or no such column.
    """
    position = table.find(_EXPERIMENT)
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
            f"{table.where}: column 'experiment' names {len(names)} experiments ({listed}); choose one with "
            "experiment=... (--experiment on the command line), or delete the column to fit one law to all"
        )
    if experiment not in names:
        near = closest(experiment, names)
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(short(name) for name in names[:8])}"
        raise UsageError(f"{table.where}: no experiment {short(experiment)}; {hint}")
    return table.leave_out(
        [row for row, name in enumerate(cells) if name != experiment],
        f"not of experiment {short(experiment)}",
    )


def _dictionary(cell: object, table: Table, row: int, name: str) -> Mapping[str, object]:
    value = cell
    if isinstance(cell, str):
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            try:
                # A dictionary as Python prints it, where nan is a name and not a literal.
                value = ast.literal_eval(re.sub(r"(?<![\w'\"])-?(nan|inf)(?![\w'\"])", "None", cell))
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                value = None
    if not isinstance(value, Mapping):
        raise DataError(
            f"{table.where}: {table.name_rows([row])}, column {short(name)}: {short(cell)} is not a "
            "dictionary as exported by Weights & Biases; export the runs again, or rename the column"
        )
    return value
