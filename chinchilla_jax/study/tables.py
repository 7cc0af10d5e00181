"""The tables of a study directory: their columns and types, and how a file comes to be whole or absent.

The order of the columns is part of the format. Strings are stored as strings (Parquet keeps a dictionary of
them by itself), numbers as float64 or int64. Units are plain counts and FLOP, losses in nats per token.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_LAW = {"E": "float64", "A": "float64", "B": "float64", "alpha": "float64", "beta": "float64"}

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "conditions": {
        "condition": "string",
        "family": "string",
        "value": "float64",
        "repeat": "int64",
        "params": "string",
        "n_runs": "int64",
    },
    "point": {"condition": "string", "objective": "string"}
    | _LAW
    | {"objective_value": "float64", "status": "string", "steps": "int64"},
    "fits": {"condition": "string", "resample": "int64"}
    | _LAW
    | {"objective_value": "float64", "decrement": "float64", "status": "string", "steps": "int64"},
    "params": {
        "condition": "string",
        "parameter": "string",
        "estimate": "float64",
        "standard_error": "float64",
        "low": "float64",
        "high": "float64",
        "level": "float64",
        "method": "string",
        "n_converged": "int64",
        "n_failed": "int64",
    },
    "tokens_per_param": {
        "condition": "string",
        "flops": "float64",
        "low": "float64",
        "median": "float64",
        "high": "float64",
        "level": "float64",
        "method": "string",
    },
}

FILES: Mapping[str, str] = {
    "conditions": "conditions.parquet",
    "point": "point.parquet",
    "params": "summary/params.parquet",
    "tokens_per_param": "summary/tokens_per_param.parquet",
}


def to_table(kind: str, columns: Mapping[str, Any]) -> pa.Table:
    """An Arrow table of one of the `COLUMNS`, in their order and types.

    Args:
        kind: a key of `COLUMNS`.
        columns: column name to its values, all of one length; a plain string stands for itself in every row.

    Raises:
        KeyError: a column is missing.
    """
    import numpy as np
    import pyarrow as pa

    rows = next(len(values) for values in columns.values() if not isinstance(values, str))
    arrays = []
    for name, dtype in COLUMNS[kind].items():
        values = columns[name]
        if isinstance(values, str):
            array = pa.repeat(pa.scalar(values, pa.string()), rows)
        elif dtype == "string":
            array = pa.array(np.asarray(values, dtype=object), pa.string())
        else:
            array = pa.array(np.asarray(values, dtype=dtype), dtype)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=list(COLUMNS[kind]))


def write_table(path: Path, table: pa.Table) -> int:
    """Write `table` to `path` as Parquet, by way of a temporary file; returns its size in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Measured on 224 parts of 4,000 fits: 0.7 s and 50 MB. Dictionaries of numbers that hardly repeat
        # cost both time and space; snappy is 0.2 s faster and 12% larger.
        strings = [field.name for field in table.schema if field.type == pa.string()]
        pq.write_table(table, temporary, compression="zstd", compression_level=1, use_dictionary=strings)
        size = temporary.stat().st_size
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return size


def read_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Read Parquet files that `write_table` wrote, one below the other.

    Raises:
        DataError: a file is missing, torn or something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for path in paths:
        try:
            # Not `read_table`, which would take a folder, and columns from the names of folders.
            with pq.ParquetFile(path) as file:
                tables.append(file.read())
        except FileNotFoundError:
            raise DataError(f"{path}: missing; run the study again into another directory") from None
        except (pa.ArrowException, OSError) as error:
            raise torn(path, error) from None
    return pa.concat_tables(tables).to_pandas()


def torn(path: Path, error: Exception) -> DataError:
    """Build (not raise) the error for a file that was cut off or overwritten."""
    reason = " ".join(str(error).split())[:120]
    return DataError(
        f"{path}: torn or not what was written ({reason}); run the study again into another directory"
    )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON through a temporary file that is synced and then replaces `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(json_text(value))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def json_text(fields: Mapping[str, Any]) -> str:
    """`fields` as JSON, one field to a line; numbers only finite, as JSON has no others."""
    lines = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in fields.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
