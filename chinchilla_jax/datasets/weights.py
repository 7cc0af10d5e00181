"""Weights of runs, from a column of their table: how much each run counts in a fit."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, UsageError, short
from chinchilla_jax.datasets.catalogue import figure_names
from chinchilla_jax.datasets.load import load_runs

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs


def load_weights(
    source: str | os.PathLike[str], column: str = "weight", **reading: Any
) -> NDArray[np.float64]:
    """The weights (n,) of the runs that `load_runs` reads with the same arguments, in the same order.

    Args:
        source: path of a table.
        column: name of the column with the weights: numbers of zero or more.
        reading: as for `load_runs`.

    Raises:
        DataError: a cell is not a number of zero or more.
        UsageError: the table has no such column, or is an embedded one, without weights.
    """
    if str(source) in figure_names():
        raise UsageError(
            f"weights: the embedded table {str(source)!r} has no column of weights; give an array in Python"
        )
    asked = tuple(dict.fromkeys((*reading.pop("groups", ()), column)))
    return _weights(load_runs(source, groups=asked, **reading), column)


def _weights(runs: Runs, column: str) -> NDArray[np.float64]:
    values = np.empty(len(runs))
    for run, cell in enumerate(runs.groups[column].tolist()):
        try:
            values[run] = float(cell)
        except ValueError:
            values[run] = math.nan
        if not (math.isfinite(values[run]) and values[run] >= 0):
            raise DataError(
                f"{runs.name}: {runs.name_row(run)}, column {short(column)}: {short(cell)} is not a weight; "
                "give a number of zero or more"
            )
    return values
