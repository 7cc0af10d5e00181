"""Parquet files, Arrow IPC files (Feather) and every table in memory that speaks Arrow, such as polars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.readers.limits import require_cells, require_size
from chinchilla_jax.datasets.table import Table

_BATCH_ROWS = 65_536


def read_parquet(content: bytes, where: str) -> Table:
    """The table in a Parquet file; rows are counted from 1.

    Raises:
        DataError: the file is damaged, or expands to more than a table of runs may hold.
    """
    pa = _pyarrow(where, "Parquet")
    # A damaged file raises almost anything (Arrow's own errors, OSError, UnicodeDecodeError, MemoryError).
    try:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(pa.BufferReader(content))
        require_cells(where, file.metadata.num_rows * max(file.metadata.num_columns, 1))
        batches = _within_limit(file.iter_batches(_BATCH_ROWS), where)
        table = pa.Table.from_batches(batches, file.schema_arrow)
        return _table(table, where, "Parquet")
    except DataError:
        raise
    except Exception as error:
        raise _damaged(where, "Parquet", error) from None


def read_feather(content: bytes, where: str) -> Table:
    """The table in an Arrow IPC file; rows are counted from 1.

    Raises:
        DataError: the file is damaged, or expands to more than a table of runs may hold.
    """
    pa = _pyarrow(where, "Arrow")
    try:
        with pa.ipc.open_file(pa.BufferReader(content)) as file:
            each = (file.get_batch(i) for i in range(file.num_record_batches))
            table = pa.Table.from_batches(_within_limit(each, where), file.schema)
        return _table(table, where, "Arrow")
    except DataError:
        raise
    except Exception as error:
        raise _damaged(where, "Arrow", error) from None


def from_arrow(source: Any, where: str) -> Table:
    """The table in memory; rows are counted from 0.

    Raises:
        DataError: Arrow cannot represent it.
    """
    pa = _pyarrow(where, "a table in memory")
    try:
        table = source if isinstance(source, pa.Table) else pa.table(source)
        return _table(table, where, "Arrow", start=0)
    except DataError:
        raise
    except Exception as error:
        reason = short(str(error).partition("\n")[0], 100)
        raise DataError(
            f"{where}: cannot be read through Arrow ({reason}); convert its columns to numbers and texts"
        ) from None


def _within_limit(batches: Iterable[Any], where: str) -> list[Any]:
    found, size = [], 0
    for batch in batches:
        size += batch.nbytes
        require_size(where, size)
        found.append(batch)
    return found


def _table(table: Any, where: str, kind: str, start: int = 1) -> Table:
    import pyarrow as pa

    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()  # "config" of fields becomes "config.params", ...
    require_cells(where, table.num_rows * max(table.num_columns, 1))

    def column(position: int) -> Sequence[object]:
        try:
            cells: list[object] = table.column(position).to_pylist()
        except Exception as error:
            raise _damaged(where, kind, error) from None
        return cells

    header = tuple(str(name) for name in table.column_names)
    rows = range(start, start + table.num_rows)
    return Table(where, header, column, rows, "row" if start else "index")


def _pyarrow(where: str, what: str) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise DataError(
            f"{where}: reading {what} needs pyarrow; run pip install pyarrow, or give a CSV file"
        ) from None
    return pyarrow


def _damaged(where: str, kind: str, error: Exception) -> DataError:
    reason = short(str(error).partition("\n")[0], 100) or type(error).__name__
    return DataError(f"{where}: damaged {kind} file ({reason}); write or copy it again")
