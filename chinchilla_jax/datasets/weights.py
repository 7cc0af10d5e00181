"""Weights of runs, from a column of their table: how much each run counts in a fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, UsageError, closest, short
from chinchilla_jax.datasets.catalogue import dataset_names
from chinchilla_jax.datasets.foreign import one_experiment, unpack
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.datasets.states import finished_runs
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.validation import runs_from_table


def load_weights(
    source: str | os.PathLike[str],
    column: str = "weight",
    *,
    drop_highest_loss: int | None = None,
    columns: Mapping[str, str] | None = None,
    experiment: str | None = None,
) -> NDArray[np.float64]:
    """The weights (n,) of the runs that `load_runs` reads with the same arguments, in the same order.

    Args:
        source: path of a CSV, JSON Lines or Parquet file.
        column: name of the column with the weights: numbers of zero or more.
        drop_highest_loss: as for `load_runs`.
        columns: as for `load_runs`.
        experiment: as for `load_runs`.

    Raises:
        DataError: a cell is not a number of zero or more.
        UsageError: the table has no such column, or is an embedded one, without weights.
    """
    if str(source) in dataset_names():
        raise UsageError(
            f"weights: the embedded table {str(source)!r} has no column of weights; give an array in Python"
        )
    table = one_experiment(finished_runs(unpack(read_table(source, "load_weights"))), experiment)
    names = [name.strip() for name in table.header]
    if names.count(column) != 1:
        if column in names:
            raise UsageError(f"{table.where}: two columns are named {column!r}; rename one")
        near = closest(column, names)
        hint = f"did you mean {near!r}?" if near else f"the table has {', '.join(map(short, names[:8]))}"
        raise UsageError(f"{table.where}: no column of weights {short(column)}; {hint}")
    weights = _weights(table, names.index(column))
    dropped = drop_highest_loss or 0
    if not dropped:
        return weights
    runs = runs_from_table(table, name=table.where, counting="as_given", columns=columns)
    runs.drop_highest_loss(dropped)  # refuses what cannot be dropped
    kept = np.sort(np.argsort(runs.loss, kind="stable")[: len(runs) - dropped])
    return weights[kept]


def _weights(table: Table, position: int) -> NDArray[np.float64]:
    values = np.empty(len(table.rows))
    for row, cell in enumerate(table.column(position)):
        try:
            values[row] = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            values[row] = math.nan
        if not (math.isfinite(values[row]) and values[row] >= 0):
            raise DataError(
                f"{table.where}: {table.name_rows([row])}, column {short(table.header[position])}: "
                f"{short(cell)} is not a weight; give a number of zero or more"
            )
    return values
