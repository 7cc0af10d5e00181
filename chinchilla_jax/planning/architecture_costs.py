"""The cost of training models of a family, counted from their architectures.

| code      | symbol | shape | unit                                                    |
|-----------|--------|-------|---------------------------------------------------------|
| params    | N      | (m,)  | parameters, count                                       |
| per_token | C/D    | (m,)  | training FLOP per token, see flops.py                   |
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.architectures import chinchilla_architectures
from chinchilla_jax.datasets.counting import COUNTING_RULES, Architecture
from chinchilla_jax.datasets.meaning import normalise
from chinchilla_jax.datasets.number_styles import read_numbers
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import Unit
from chinchilla_jax.laws.compute import Cost
from chinchilla_jax.laws.measured_cost import fit_cost
from chinchilla_jax.planning.flops import CHINCHILLA_SEQ_LEN, flop_count

EMBEDDED = "chinchilla_architectures"
_DIMENSIONS = tuple(field.name for field in dataclasses.fields(Architecture))
_OPTIONAL = {"vocab_size": 32_168, "seq_len": CHINCHILLA_SEQ_LEN}


def read_architecture_cost(path: str | os.PathLike[str]) -> Cost:
    """The cost that describes the architectures of a table best, see measured_cost.py.

    Args:
        path: a table of any kind that `load_runs` reads, with a row per model and the columns d_model,
            ffw_size, kv_size, n_heads and n_layers; if need be vocab_size (32,168 without it), seq_len
            (2,048) and params, which are counted by the standard rule without it. Or
            "chinchilla_architectures" for the 50 models of Hoffmann et al. 2022.

    Raises:
        DataError: the table cannot be read, lacks a column, or a cell is not a positive number.
        UsageError: a dimension is not a whole number.
    """
    if path == EMBEDDED:
        reported = np.asarray(chinchilla_architectures().reported_params, np.float64)
        return embedded_cost(reported, np.arange(len(reported)))
    table = read_table(path, "read_architecture_cost")
    count = len(table.rows)
    dimensions = {name: _numbers(table, name, _OPTIONAL.get(name)) for name in _DIMENSIONS}
    architecture = Architecture(**{name: values.astype(np.int64) for name, values in dimensions.items()})
    seq_len = _numbers(table, "seq_len", CHINCHILLA_SEQ_LEN).astype(np.int64)
    params = (
        np.asarray(COUNTING_RULES["standard"](architecture), np.float64)
        if table.find("params") is None
        else _numbers(table, "params", None)
    )
    return fit_cost(
        params,
        np.ones(count),
        flop_count(architecture, seq_len).training,
        f"the FLOP of {count_text(count, 'architecture')} of {table.where}",
    )


def embedded_cost(params: NDArray[np.float64], models: NDArray[np.integer]) -> Cost:
    """The cost that describes some of the 50 models of Hoffmann et al. 2022 best.

    Args:
        params: how many parameters they are said to have, (m,).
        models: their positions in `chinchilla_architectures`, (m,).
    """
    per_token = flop_count(chinchilla_architectures().architecture).training[models]
    return fit_cost(params, np.ones(len(params)), per_token, f"the FLOP of {len(params)} architectures")


def _numbers(table: Table, name: str, default: float | None) -> NDArray[np.float64]:
    position = table.find(normalise(name))
    if position is None:
        if default is None:
            raise DataError(
                f"{table.where}: no column {name!r}; a table of architectures needs "
                f"{', '.join(each for each in _DIMENSIONS if each not in _OPTIONAL)}"
            )
        return np.full(len(table.rows), float(default))
    values = read_numbers(table.column(position), Unit("params", "count")).values
    bad = np.flatnonzero(~((values > 0) & np.isfinite(values)))
    if len(bad):
        raise DataError(
            f"{table.where}: {table.name_rows(bad.tolist())}, column {name!r}: no positive number; fill it in"
        )
    return np.asarray(values, np.float64)
