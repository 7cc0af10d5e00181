"""Excel workbooks (.xlsx): the one sheet that holds runs."""

from __future__ import annotations

import io
import warnings
from typing import Any

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.readers.headers import MOST_ABOVE, above_note, header_at, n_quantities
from chinchilla_jax.datasets.readers.limits import require_columns, require_sheet_memory, require_size
from chinchilla_jax.datasets.table import Table

_TAGS = (b"<c ", b"<c>", b"<c/", b"<row", b"<si>", b"<t>")
_INSTEAD = "save the sheet as CSV UTF-8"


def read_excel(content: bytes, where: str) -> Table:
    """The table in a workbook; rows are those of the sheet, and formulas count as their last values.

    Raises:
        DataError: not a workbook, damaged, or with several sheets that could be meant.
    """
    import zipfile  # slow to import, and no other table needs it

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
    except Exception as error:  # a damaged archive raises more than BadZipFile
        raise _damaged(where, error) from None
    if not any(part.filename == "xl/workbook.xml" for part in parts):
        kind, remedy = "a ZIP archive", f"unpack it first, or {_INSTEAD}"
        if parts and all(part.filename.endswith(".npy") for part in parts):
            kind, remedy = "a NumPy archive", "load it, and give a dict of its arrays in Python"
        raise DataError(f"{where}: not a table but {kind}; {remedy}")
    require_size(where, sum(part.file_size for part in parts))
    require_sheet_memory(where, _count_cells(content, where))
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            f"{where}: reading Excel needs openpyxl; run pip install 'chinchilla-jax[excel]', or {_INSTEAD}"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and other parts that hold no cells
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = [(each.title, _rows(each, where)) for each in book.worksheets if _is_visible(each)]
    except DataError:
        raise
    except Exception as error:
        raise _damaged(where, error) from None
    return _table([(title, rows) for title, rows in sheets if rows], where)


def _count_cells(content: bytes, where: str) -> int:
    """How many cells and shared texts the sheets of a workbook have, by the tags of its XML."""
    import zipfile

    count = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for part in archive.infolist():
                if part.filename.endswith(".xml"):
                    with archive.open(part) as stream:
                        while block := stream.read(2**20):
                            count += sum(block.count(tag) for tag in _TAGS)
    except Exception as error:
        raise _damaged(where, error) from None
    return count


def _is_visible(sheet: Any) -> bool:
    return bool(sheet.sheet_state == "visible")


def _rows(sheet: Any, where: str) -> list[tuple[int, list[Any]]]:
    """The rows that hold something, with their numbers."""
    sheet.reset_dimensions()  # some programs write wrong ones, and cells would be lost
    found, cells = [], 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row) + 1
        require_sheet_memory(where, cells)
        if any(_is_filled(cell) for cell in row):
            found.append((number, list(row)))
    return found


def _is_filled(cell: object) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


def _table(sheets: list[tuple[str, list[tuple[int, list[Any]]]]], where: str) -> Table:
    starts = {title: header_at([row for _, row in rows[: MOST_ABOVE + 1]]) for title, rows in sheets}
    likely = [(title, rows) for title, rows in sheets if n_quantities(rows[starts[title]][1]) >= 2] or sheets
    if not likely:
        raise DataError(f"{where}: the workbook is empty; give one with columns such as params, tokens, loss")
    if len(likely) > 1:
        named = ", ".join(short(title) for title, _ in likely[:5])
        raise DataError(
            f"{where}: {len(likely)} sheets may hold the runs ({named}); save the one as CSV UTF-8"
        )
    title, rows = likely[0]
    above, rows = starts[title], rows[starts[title] :]
    width = max(len(row) for _, row in rows)
    require_columns(where, width)
    require_sheet_memory(where, width * len(rows) // 8)  # empty cells are one object
    names, *records = [[*row, *[None] * (width - len(row))] for _, row in rows]
    header = tuple("" if name is None else str(name).strip() for name in names)
    left = tuple(f"left out the sheet {short(other)}" for other, _ in sheets if other != title)
    numbers = [number for number, _ in rows[1:]]
    return Table(
        where,
        header,
        lambda i: [record[i] for record in records],
        numbers,
        source=Source(notes=(*left, *above_note(above))),
    )


def _damaged(where: str, error: Exception) -> DataError:
    reason = short(str(error).partition("\n")[0], 100)
    return DataError(
        f"{where}: a damaged Excel workbook or ZIP archive ({reason}); copy it again, or {_INSTEAD}"
    )
