"""Tables in memory: DataFrames, Arrow, NumPy records, mappings of arrays, sequences of mappings.

Nothing is imported that the caller has not imported: a table of a library can only exist if it was.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError, short
from chinchilla_jax.datasets.readers.arrow import from_arrow
from chinchilla_jax.datasets.readers.json_text import table_of_document, table_of_records, unequal_lengths
from chinchilla_jax.datasets.table import Table

if TYPE_CHECKING:
    import pandas as pd


def holds_table(source: object) -> bool:
    """Whether an object is of a type that holds a table; nothing of it is consumed."""
    if isinstance(source, type):
        return False
    if isinstance(source, list | tuple):
        return not source or isinstance(_record(source[0]), Mapping)
    if isinstance(source, np.ndarray) and source.dtype == object and source.ndim == 1:
        return holds_table(source.tolist())
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.Series | pandas.Index):
        return False
    return isinstance(source, Mapping | np.ndarray) or _speaks_arrow(source) or _is_lazy(source)


def from_memory(source: Any) -> Table:
    """The table that an object holds, for which `holds_table` is true.

    Raises:
        DataError: it cannot be used.
        UsageError: it has no rows yet.
    """
    where = type(source).__name__
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return from_frame(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, where)
    if _speaks_arrow(source):
        return from_arrow(source, where)
    if _is_lazy(source):
        raise UsageError(f"a {where} has no rows yet; give what its collect() returns")
    if isinstance(source, Mapping):
        return _from_mapping(source, where)
    return _from_records(source, where)


def _speaks_arrow(source: object) -> bool:
    return hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")


def _is_lazy(source: object) -> bool:
    return type(source).__name__ == "LazyFrame" and hasattr(source, "collect")


def from_frame(frame: pd.DataFrame) -> Table:
    """A view of a DataFrame; rows are named by their index labels, and levels with a name are columns."""
    header = [str(name) for name in frame.columns]
    levels = {
        str(name): level
        for level, name in enumerate(frame.index.names)
        if name is not None and str(name) not in header
    }

    def column(position: int) -> list[object]:
        if position < len(header):
            return list(frame.iloc[:, position].tolist())
        level = list(levels.values())[position - len(header)]
        return list(frame.index.get_level_values(level).tolist())

    return Table("DataFrame", (*header, *levels), column, frame.index.tolist(), row_word="index")


def _from_array(array: np.ndarray[Any, Any], where: str) -> Table:
    if array.dtype.names is None:
        if array.dtype == object and array.ndim == 1:
            return _from_records(array.tolist(), where)
        raise DataError(
            f"{where}: an array of shape {array.shape} has no column names; give a dict of arrays, such as "
            '{"params": ..., "tokens": ..., "loss": ...}'
        )
    if array.ndim != 1:
        raise DataError(f"{where}: records of shape {array.shape}; give one record per run, shape (n,)")
    names = array.dtype.names
    return Table(where, names, lambda i: array[names[i]].tolist(), range(len(array)), "index")


def _from_mapping(source: Mapping[Any, Any], where: str) -> Table:
    if not source:
        raise DataError(f"{where}: it is empty; give columns such as params, tokens, loss")
    if any(isinstance(each, Mapping) or _holds_mappings(each) for each in source.values()):
        return table_of_document(source, where, "index")
    columns = {str(name): _cells(values, str(name), where) for name, values in source.items()}
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        raise unequal_lengths(where, lengths)
    cells = list(columns.values())
    return Table(where, tuple(columns), cells.__getitem__, range(len(cells[0])), "index")


def _holds_mappings(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _cells(values: Any, name: str, where: str) -> list[object]:
    """One value per run, from any kind of array."""
    converted = values
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(values, method):
            converted = getattr(values, method)()
            break
    # The order of a set is not that of the runs.
    if isinstance(converted, str | bytes | Set | Mapping) or not isinstance(converted, Iterable):
        raise DataError(f"{where}: column {short(name)} is {short(values)}; give one value per run, in order")
    return [_plain(cell) for cell in converted]


def _from_records(source: Sequence[Any], where: str) -> Table:
    if not source:
        raise DataError(f"{where}: it is empty; give one dict per run")
    records = [_record(each) for each in source]
    return table_of_records(records, range(len(records)), where, "index")


def _record(value: Any) -> Any:
    """A mapping of plain values, from a mapping, a named tuple or a dataclass; others as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if not isinstance(value, Mapping):
        return value
    return {str(name): _plain(cell) for name, cell in value.items()}


def _plain(cell: Any) -> object:
    """A number from an array without dimensions, as JAX and PyTorch give a loss; others as they are."""
    if getattr(cell, "shape", None) == () and hasattr(cell, "item"):
        return cell.item()
    return cell
