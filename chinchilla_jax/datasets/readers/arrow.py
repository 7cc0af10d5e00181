"""Parquet files, Arrow IPC files (Feather) and every table in memory that speaks Arrow, such as polars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.readers.limits import require_arrow_memory, require_columns, require_size
from chinchilla_jax.datasets.table import Table

_BATCH_ROWS = 65_536
_MOST_IN_LISTS = 1_000_000


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
        texts = _look_at_metadata(file.metadata, where)
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
        batches = _within_limit(file.iter_batches(_BATCH_ROWS), where)
        table = pa.Table.from_batches(batches, file.schema_arrow)
        return _table(table, where, "Parquet")
    except DataError:
        raise
    except Exception as error:
        raise _damaged(where, "Parquet", error) from None


def _look_at_metadata(metadata: Any, where: str) -> list[str]:
    """Refuse a file that expands to too much; gives the columns of texts, which are read as a dictionary.

    A file of 100 kB can hold 5,000,000 rows that repeat one number, or a text of 1 MB. A dictionary keeps
    each text once.
    """
    rows = metadata.num_rows
    require_columns(where, metadata.num_columns)
    columns = [metadata.schema.column(place) for place in range(metadata.num_columns)]
    values = in_lists = size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place, column in enumerate(columns):
            chunk = group.column(place)
            size += max(chunk.total_uncompressed_size, 0)
            if column.max_repetition_level:
                in_lists += chunk.num_values
            if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
                size += chunk.num_values * max(column.length, 0)
    values = rows * metadata.num_columns + in_lists
    require_arrow_memory(where, rows=rows, values=values, in_lists=in_lists, size=size)
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and not column.max_repetition_level
    ]


def read_feather(content: bytes, where: str) -> Table:
    """The table in an Arrow IPC file; rows are counted from 1.

    Raises:
        DataError: the file is damaged, or expands to more than a table of runs may hold.
    """
    pa = _pyarrow(where, "Arrow")
    try:
        with pa.ipc.open_file(pa.BufferReader(content)) as file:
            require_columns(where, len(file.schema))
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
    found, size, rows = [], 0, 0
    for batch in batches:
        size += batch.nbytes
        rows += batch.num_rows
        require_size(where, size)
        # Columns of nulls and runs of one value take no bytes.
        require_arrow_memory(where, rows=rows, values=rows * batch.num_columns, size=size)
        found.append(batch)
    return found


def _table(table: Any, where: str, kind: str, start: int = 1) -> Table:
    import pyarrow as pa

    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()  # "config" of fields becomes "config.params", ...
    require_columns(where, table.num_columns)

    def column(position: int) -> Sequence[object]:
        try:
            return _cells(table.column(position))
        except Exception as error:
            raise _damaged(where, kind, error) from None

    header = tuple(str(name) for name in table.column_names)
    rows = range(start, start + table.num_rows)
    return Table(where, header, column, rows, "row" if start else "index")


def _cells(column: Any) -> list[object]:
    """The cells of a column as Python objects, each text of a dictionary as one object.

    Long lists are no cells of a run, and few bytes can stand for endless ones: they count as empty.
    """
    import pyarrow as pa

    if pa.types.is_nested(column.type) and not _are_short_lists(column):
        return [None] * len(column)
    if not pa.types.is_dictionary(column.type):
        cells: list[object] = column.to_pylist()
        return cells
    found: list[object] = []
    for chunk in column.chunks:
        texts = [*_cells(chunk.dictionary), None]
        found += [texts[-1 if place is None else place] for place in chunk.indices.to_pylist()]
    return found


def _are_short_lists(column: Any) -> bool:
    import pyarrow as pa

    kind = column.type
    plain = (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not pa.types.is_nested(
        kind.value_type
    )
    return plain and sum(len(chunk.flatten()) for chunk in column.chunks) <= _MOST_IN_LISTS


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
