"""Small tables from users, CSV or Parquet: a header, rows, and one line about what cannot be read."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Sequence

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.cells import Problem, parse_cell
from chinchilla_jax.datasets.columns import normalise, quantity_of
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN

_MOST_BYTES = 2**26
_SIZES = ("params", "tokens")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Cells not yet read as numbers.

    Attributes:
        where: the table's name in messages.
        header: column names.
        rows: the cells of each row; text from CSV, objects from Parquet.
        numbers: what identifies each row: the line of a CSV file, the count from 1 in Parquet.
    """

    where: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    numbers: Sequence[int]

    def quantities(self, needed: Sequence[str], example: str) -> dict[str, int]:
        """Position of the column of each quantity (params, tokens, flops, loss) that is there.

        Of needed params and tokens one may be missing where there is a column for flops.

        Raises:
            DataError: a needed one is missing, or two columns hold one quantity.
        """
        places: dict[str, int] = {}
        for i, name in enumerate(self.header):
            quantity = quantity_of(name)
            if quantity in places:
                raise DataError(f"{self.where}: two columns hold {quantity}; delete or rename one of them")
            if quantity is not None:
                places[quantity] = i
        missing = [name for name in needed if name not in places]
        if "flops" in places and len(sizes := [name for name in missing if name in _SIZES]) == 1:
            missing.remove(sizes[0])  # it follows from C = 6 N D
        if missing:
            found = ", ".join(short(name) for name in self.header[:8]) or "nothing"
            raise DataError(f"{self.where}: no column for {' or '.join(missing)} among {found}; {example}")
        return places

    def named(self, *names: str) -> int | None:
        """Position of the first column called one of `names`, or None."""
        return next((i for i, name in enumerate(self.header) if normalise(name) in names), None)

    def number(self, row: int, place: int, quantity: str) -> float:
        """The cell as a positive finite number.

        Raises:
            DataError: it is none; with row, column and remedy.
        """
        parsed = parse_cell(self.rows[row][place], quantity)
        if isinstance(parsed, Problem):
            raise DataError(
                f"{self.where}: row {self.numbers[row]}, column {short(self.header[place])}: "
                f"{parsed.shown} {parsed.fault}; {parsed.remedy}"
            )
        return parsed

    def sizes(self, row: int, places: dict[str, int]) -> tuple[float, float, float]:
        """(params, tokens, flops) of a row that has two of them, or all three.

        Raises:
            DataError: a cell is no positive number.
        """
        known = {name: self.number(row, places[name], name) for name in (*_SIZES, "flops") if name in places}
        for name, other in (_SIZES, _SIZES[::-1]):
            if name not in known:
                known[name] = known["flops"] / (FLOPS_PER_PARAM_TOKEN * known[other])
        flops = known.get("flops", FLOPS_PER_PARAM_TOKEN * known["params"] * known["tokens"])
        return known["params"], known["tokens"], flops

    def is_empty(self, row: int, place: int) -> bool:
        """Whether the cell holds nothing."""
        cell = self.rows[row][place]
        return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())

    def text(self, row: int, place: int) -> str:
        """The cell as text."""
        return "" if self.is_empty(row, place) else str(self.rows[row][place]).strip()


def read_rows(path: str | os.PathLike[str]) -> Rows:
    """Read a CSV (UTF-8, with a header) or Parquet file, known by its first bytes.

    Raises:
        DataError: it cannot be read, or is no table.
    """
    where = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror}); check the path") from None
    if len(content) > _MOST_BYTES:
        raise DataError(f"{where}: larger than {_MOST_BYTES >> 20} MiB; give a small table")
    if content.startswith(b"PAR1"):
        return _parquet(content, where)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{where}: neither Parquet nor UTF-8 text; give a CSV or Parquet table") from None
    return csv_rows(text, where)


def csv_rows(text: str, where: str) -> Rows:
    """The rows of a CSV text; blank lines are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        while True:
            line = reader.line_num + 1
            row = next(reader, None)
            if row is None:
                break
            if any(cell.strip() for cell in row):
                rows.append(row)
                numbers.append(line)
    except csv.Error as error:
        raise DataError(f"{where}: not a CSV table ({error}); check its quotation marks") from None
    header = tuple(cell.strip() for cell in rows[0]) if rows else ()
    for row, line in zip(rows[1:], numbers[1:], strict=True):
        if len(row) != len(header):
            raise DataError(f"{where}: row {line}: {len(row)} cells where the header has {len(header)}")
    return Rows(where, header, rows[1:], numbers[1:])


def _parquet(content: bytes, where: str) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a Parquet file that can be read ({short(str(error))})") from None
    columns = [column.to_pylist() for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Rows(where, tuple(table.column_names), rows, range(1, len(rows) + 1))
