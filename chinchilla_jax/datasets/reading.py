"""From a file, bytes or a DataFrame to a `Table`: a header and cells, with the row numbers their owner sees.

Every table that a user gives is read here: runs, lists of models, runs of a ladder. Nothing is converted.
Whatever the bytes are, the outcome is a `Table` or a one-line `DataError`.

CSV is split by the standard library rather than by pandas, which would lose the line on which a record starts
(blank lines, cells with line breaks) and turn "NA" into a missing value, and which `fit` need not import.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.columns import match_columns, normalise, quantity_of
from chinchilla_jax.datasets.json_lines import records_of

if TYPE_CHECKING:
    import pandas as pd

# Far above any table of runs: a larger file is a wrong path and must not fill the memory.
MAX_BYTES = 128 * 2**20
_DELIMITERS = (",", ";", "\t", "|")
_USE_A_TABLE = "give a CSV or Parquet file with columns such as params, tokens, loss"
_SIGNATURES = (
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"\x89PNG", f"a PNG picture; {_USE_A_TABLE}"),
    (b"\xff\xd8\xff", f"a JPEG picture; {_USE_A_TABLE}"),
    (b"%PDF", f"a PDF document; {_USE_A_TABLE}"),
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive; save the sheet as CSV UTF-8, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; save the sheet as CSV UTF-8"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file; export it as CSV or Parquet"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells not yet read as numbers.

    Attributes:
        where: the table's name in messages.
        header: column names.
        column: the cells of the column at a position (text from CSV, Python objects otherwise).
        rows: what identifies each row to its owner: the line of the file (the header is line 1) for CSV, the
            count from 1 for Parquet, the index label for a DataFrame.
        row_word: the word that goes with it, "row" or "index".
    """

    where: str
    header: tuple[str, ...]
    column: Callable[[int], Sequence[object]]
    rows: Sequence[object]
    row_word: str = "row"

    def take(self, positions: Sequence[int]) -> Table:
        """The rows at these positions."""
        return dataclasses.replace(
            self,
            column=lambda i: [self.column(i)[position] for position in positions],
            rows=[self.rows[position] for position in positions],
        )

    def find(self, *names: str) -> int | None:
        """Position of the first column called one of `names` (as `normalise` writes them), or None."""
        return next((i for i, name in enumerate(self.header) if normalise(name) in names), None)

    def name_rows(self, positions: Sequence[int], at_most: int = 5) -> str:
        """Name the rows at these positions, as in "row 7" or "rows 3, 4, 5, 6, 8 and 12 more"."""
        named = ", ".join(show_text(str(self.rows[position])) for position in positions[:at_most])
        more = f" and {len(positions) - at_most} more" if len(positions) > at_most else ""
        plural = {"row": "rows", "index": "indices"}[self.row_word]
        return f"{self.row_word if len(positions) == 1 else plural} {named}{more}"


def show_text(text: str) -> str:
    """A path or a label as it is, or escaped where printing it would break the line."""
    return text if text and text.isprintable() else ascii(text)


def read_file(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file (separated by comma, semicolon, tab or bar), JSON lines, or Parquet.

    Parquet is recognised by its first bytes, so a wrong suffix does no harm.

    Raises:
        DataError: the file cannot be read, or holds no table.
    """
    path = os.path.expanduser(os.fsdecode(path))
    where = show_text(path)
    if os.path.isdir(path):
        raise DataError(f"{where}: is a directory; give the path of a CSV or Parquet file")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"{where}: no such file; check the path") from None
    except PermissionError:
        raise DataError(
            f"{where}: no permission to read it; run chmod u+r on it, or copy it somewhere readable"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{where}: cannot be opened ({reason}); check the path") from None
    if len(content) > MAX_BYTES:
        raise DataError(
            f"{where}: larger than {MAX_BYTES >> 20} MiB, too large for a table of runs; check the path"
        )
    return read_bytes(content, where, named_parquet=path.lower().endswith((".parquet", ".pq")))


def read_bytes(content: bytes, where: str, *, named_parquet: bool = False) -> Table:
    """Read the content of a file; `where` names it in messages."""
    if content.startswith(b"PAR1"):
        return _read_parquet(content, where)
    if not content.removeprefix(b"\xef\xbb\xbf").strip():
        raise DataError(f"{where}: the file is empty; {_USE_A_TABLE}")
    for signature, what in _SIGNATURES:
        if content.startswith(signature):
            raise DataError(f"{where}: not a table but {what}")
    if named_parquet:
        raise DataError(
            f"{where}: not Parquet despite its suffix (it does not start with PAR1); if it is CSV, rename it"
        )
    if b"\0" in content:
        raise DataError(f"{where}: holds NUL bytes: UTF-16 text or a binary file; save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02x}"
        raise DataError(
            f"{where}: row {row}: byte {byte} is not UTF-8 (another encoding?); save it as UTF-8"
        ) from None
    return _read_csv(text, where)


def from_frame(frame: pd.DataFrame) -> Table:
    """A view of a DataFrame; rows are named by their index labels."""
    header = tuple(str(name) for name in frame.columns)
    return Table(
        "DataFrame", header, lambda i: frame.iloc[:, i].tolist(), frame.index.tolist(), row_word="index"
    )


def _read_csv(text: str, where: str) -> Table:
    start = text.lstrip()[:1]
    if start == "{":
        return _read_json_lines(text, where)
    if start and start in "[<":
        language = "HTML or XML" if start == "<" else "JSON"
        lines = "; JSON is read as one object per line" if start == "[" else ""
        raise DataError(f"{where}: not a table but {language}; {_USE_A_TABLE}{lines}")
    records = _records(text, _delimiter(text, where), where)
    _, names = next(records, (1, []))
    if not names:
        raise DataError(f"{where}: the file is empty; {_USE_A_TABLE}")
    header = tuple(name.strip() for name in names)
    try:
        return _csv_table(records, header, where)
    except DataError:
        # Where the text is not a table at all, the header is the better thing to report.
        if not {"config", "summary"} <= {name.casefold() for name in header} and not any(
            map(quantity_of, header)
        ):
            match_columns(header, where)
        raise


def _csv_table(records: Iterator[tuple[int, list[str]]], header: tuple[str, ...], where: str) -> Table:
    rows: list[int] = []
    cells: list[list[str]] = []
    for row, record in records:
        rows.append(row)
        cells.append(record)
    table = Table(where, header, lambda i: [record[i] for record in cells], rows)
    if ragged := [i for i, record in enumerate(cells) if len(record) != len(header)]:
        raise DataError(
            f"{where}: {table.name_rows(ragged)}: {len(cells[ragged[0]])} cells where the header has "
            f"{len(header)}; complete the row, and quote cells that hold the separator"
        )
    if repeated := [i for i, record in enumerate(cells) if tuple(map(str.strip, record)) == header]:
        raise DataError(f"{where}: {table.name_rows(repeated)}: the header again; delete the repeated line")
    return table


def _read_json_lines(text: str, where: str) -> Table:
    rows, records = records_of(text, where)
    header = tuple(dict.fromkeys(name for record in records for name in record))
    return Table(where, header, lambda i: [record.get(header[i], "") for record in records], rows)


def _records(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it starts on; blank lines are skipped."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    while True:
        row = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{where}: row {row}: cannot be split into cells ({error}); check its quotation marks"
            ) from None
        if len(record) > 1 or (record and record[0].strip()):
            yield row, record


def _delimiter(text: str, where: str) -> str:
    """The separator for which the header names the most quantities, then the most columns."""

    def quality(delimiter: str) -> tuple[int, int]:
        try:
            _, header = next(_records(text, delimiter, where), (1, []))
        except DataError:
            return (-1, 0)
        return sum(quantity_of(name) is not None for name in header), len(header)

    return max(_DELIMITERS, key=quality)


def _read_parquet(content: bytes, where: str) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            f"{where}: reading Parquet needs pyarrow; run pip install pyarrow, or give a CSV file"
        ) from None

    def column(position: int) -> list[object]:
        try:
            cells: list[object] = table.column(position).to_pylist()
        except Exception as error:
            raise _broken_parquet(where, error) from None
        return cells

    # A damaged file raises almost anything (Arrow's own errors, OSError, UnicodeDecodeError, MemoryError).
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        header = tuple(str(name) for name in table.column_names)
    except Exception as error:
        raise _broken_parquet(where, error) from None
    return Table(where, header, column, range(1, table.num_rows + 1))


def _broken_parquet(where: str, error: Exception) -> DataError:
    reason = short(str(error).partition("\n")[0], 100) or type(error).__name__
    return DataError(f"{where}: damaged Parquet file ({reason}); write or copy it again")
