"""How much a table may hold: looked up before it is read, so that a wrong path cannot fill the memory.

| what is counted                        | bytes that reading takes                                         |
|----------------------------------------|------------------------------------------------------------------|
| text in cells: separators, line ends   | 75 a cell, 450 a row, three times the text                       |
| JSON: braces, brackets, colons, commas | 400 an object, 80 a list, 100 a field, 40 an item, twice the text |
| Parquet, Arrow: rows and values        | 400 a row, 10 a value, 100 for one in a list                     |
| Excel: cells of all sheets             | 600 a cell                                                       |

Measured with Python 3.11 on tables of 20,000 to 200,000 rows, and rounded up.
"""

from __future__ import annotations

from typing import IO

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.limits import COLUMNS, TABLE_BYTES, TABLE_MEMORY
from chinchilla_jax._util.text import size_text


class TooLargeError(DataError):
    """A table beyond a limit, whatever else may be wrong with it."""


def read_up_to_limit(stream: IO[bytes], where: str, *, expands: bool = False) -> bytes:
    """The rest of a stream.

    Args:
        stream: open for reading.
        where: its name in messages.
        expands: whether the content was compressed.

    Raises:
        DataError: it is larger than the limit of a table's bytes.
    """
    parts: list[bytes] = []
    left = TABLE_BYTES.most + 1
    # A pipe, a socket or a decompressor may give less than what was asked for.
    while left > 0 and (part := stream.read(min(left, 2**22))):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise _too_large(where, "expands to more" if expands else "larger")
    return b"".join(parts)


def require_size(where: str, size: int) -> None:
    """Refuse content of `size` bytes.

    Raises:
        DataError: it is larger than the limit of a table's bytes.
    """
    if size > TABLE_BYTES.most:
        raise _too_large(where, "holds more")


def require_columns(where: str, count: int) -> None:
    """Refuse a table of so many columns.

    Raises:
        DataError: there are more than the limit of columns.
    """
    COLUMNS.require(where, count, remedy="keep those that a fit needs", error=TooLargeError)


def require_memory(where: str, size: float) -> None:
    """Refuse a table whose reading takes about so many bytes of memory.

    Raises:
        DataError: it is more than the limit of a table's memory.
    """
    if size > (most := TABLE_MEMORY.most):
        raise TooLargeError(
            f"{where}: reading it takes about {size_text(size)} of memory, and the limit is "
            f"{size_text(most)}; keep the rows and columns that a fit needs, or raise the limit with "
            f"{TABLE_MEMORY.variable}"
        )


def require_text_memory(where: str, text: str, delimiter: str = "\0") -> None:
    """`require_memory` for cells in a text, by its separators and line ends, or by these alone."""
    cells = text.count(delimiter) + (rows := text.count("\n") + text.count("\r") + 1)
    require_memory(where, 75 * cells + 450 * rows + 3 * len(text))


def require_json_memory(where: str, text: str) -> None:
    """`require_memory` for a JSON document, by its punctuation."""
    objects, lists, fields, items = (text.count(mark) for mark in "{[:,")
    require_memory(where, 400 * objects + 80 * lists + 100 * fields + 40 * items + 2 * len(text))


def require_cell_memory(where: str, *, rows: int, cells: int) -> None:
    """`require_memory` for a table of so many rows and cells that lie in memory already, or in text."""
    require_memory(where, 75 * cells + 450 * rows)


def require_arrow_memory(where: str, *, rows: int, values: int, in_lists: int = 0, size: int = 0) -> None:
    """`require_memory` for a Parquet or Arrow table.

    Args:
        where: its name in messages.
        rows: of the table.
        values: of all its columns.
        in_lists: how many of these are in lists.
        size: bytes of its texts.
    """
    require_memory(where, 400 * rows + 10 * values + 100 * in_lists + 2 * size)


def require_sheet_memory(where: str, cells: int) -> None:
    """`require_memory` for the cells of a workbook."""
    require_memory(where, 600 * cells)


def _too_large(where: str, comparison: str) -> DataError:
    most = TABLE_BYTES.most
    size = f"{most >> 20} MiB" if most >= 2**20 else f"{most:,} bytes"
    return TooLargeError(
        f"{where}: {comparison} than {size}, too large for a table of runs; check the path, or raise the "
        f"limit with {TABLE_BYTES.variable}"
    )
