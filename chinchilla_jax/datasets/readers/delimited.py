"""CSV: cells separated by comma, semicolon, tab or bar, as programs and spreadsheets write them.

The text is split by the standard library rather than by pandas, which would lose the line on which a record
starts (blank lines, cells with line breaks) and turn "NA" into a missing value, and which `fit` need not
import.

| what spreadsheets and people add    | what becomes of it                                                   |
|-------------------------------------|----------------------------------------------------------------------|
| a first line "sep=;" (Excel)        | names the separator                                                  |
| lines that begin with "#"           | comments; the last one above the rows may be the header              |
| empty lines, and rows of separators | left out                                                             |
| empty cells beyond the header       | left out                                                             |
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.columns import match_columns, quantity_of
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.table import Table

_DELIMITERS = (",", ";", "\t", "|")
_DECLARED = re.compile(r'"?sep=([^\r\n"])"?[ \t]*(?=\r|\n|\Z)', re.IGNORECASE)
_COMMENT = "#"
_Record = tuple[int, list[str]]


def read_delimited(text: str, where: str) -> Table:
    """The table in a text.

    Raises:
        DataError: it is not one; the line says which row cannot be split, or what the header lacks.
    """
    declared = _DECLARED.match(text)
    if declared:
        text = text[declared.end() :]  # the rest of the line stays, so that lines keep their numbers
        start = _start(text, declared[1], where)
    else:
        found = max((_start_or_none(text, each, where) for each in _DELIMITERS), key=_quality)
        start = found or _start(text, _DELIMITERS[0], where)
    if not start.header:
        raise DataError(f"{where}: the file is empty; give columns such as params, tokens, loss")
    try:
        return _table(start, where)
    except DataError:
        # Where the text is not a table at all, the header is the better thing to report.
        names = {name.casefold() for name in start.header}
        if not {"config", "summary"} <= names and not any(map(quantity_of, start.header)):
            match_columns(start.header, where)
        raise


@dataclasses.dataclass
class _Lines:
    """Lines for a `csv.reader`; comments become empty lines."""

    lines: Iterator[str]
    number: int = 0
    fresh: bool = True  # whether the next line begins a record, and is not within a quoted cell
    comments: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.number += 1
        if self.fresh and line.lstrip().startswith(_COMMENT):
            self.comments.append((self.number, line.strip()))
            return "\n"
        self.fresh = False
        return line


@dataclasses.dataclass
class _Start:
    """The header of a text, split by a separator, and the records that follow."""

    header: tuple[str, ...]
    records: Iterator[_Record]
    lines: _Lines
    delimiter: str


def _start(text: str, delimiter: str, where: str) -> _Start:
    lines = _Lines(iter(io.StringIO(text, newline="")))
    records = _records(lines, delimiter, where)
    first = next(records, None)
    header: list[str] = [] if first is None else first[1]
    above = [line for number, line in lines.comments if first is None or number < first[0]]
    if above:
        named = _split(above[-1].lstrip(_COMMENT + " \t"), delimiter)
        if _n_quantities(named) > max(_n_quantities(header), 1):
            records = itertools.chain([] if first is None else [first], records)
            header = named
    return _Start(tuple(name.strip() for name in header), records, lines, delimiter)


def _start_or_none(text: str, delimiter: str, where: str) -> _Start | None:
    try:
        return _start(text, delimiter, where)
    except DataError:
        return None


def _quality(start: _Start | None) -> tuple[int, int]:
    """The better separator is that for which the header names the most quantities, then the most columns."""
    return (-1, 0) if start is None else (_n_quantities(start.header), len(start.header))


def _n_quantities(names: list[str] | tuple[str, ...]) -> int:
    return sum(quantity_of(name) is not None for name in names)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error:
        return []


def _records(lines: _Lines, delimiter: str, where: str) -> Iterator[_Record]:
    """Each record with the line that it starts on; those without any text are skipped."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        row = reader.line_num + 1
        lines.fresh = True
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{where}: row {row}: cannot be split into cells ({error}); check its quotation marks"
            ) from None
        if any(cell.strip() for cell in record):
            yield row, record


def _table(start: _Start, where: str) -> Table:
    header = start.header
    below = start.lines.number
    found = [(row, _fitted(record, header)) for row, record in start.records]
    named = [(row, _split(line, start.delimiter)) for row, line in start.lines.comments if row > below]
    # A line of as many cells as the header has is a row that someone has taken out.
    taken_out = [(row, cells) for row, cells in named if len(cells) == len(header) > 1]
    source = Source()
    if not found:
        found = taken_out  # "#1", "#2", ... are the names of the runs
    elif taken_out:
        source = source.noted(
            f"left out {count_text(len(taken_out), 'row')} that begin{'s' * (len(taken_out) == 1)} with '#'"
        )
    rows, cells = [row for row, _ in found], [record for _, record in found]
    table = Table(where, header, lambda i: [record[i] for record in cells], rows, source=source)
    if ragged := [i for i, record in enumerate(cells) if len(record) != len(header)]:
        raise DataError(
            f"{where}: {table.name_rows(ragged)}: {len(cells[ragged[0]])} cells where the header has "
            f"{len(header)}; complete the row, and quote cells that hold the separator"
        )
    if repeated := [i for i, record in enumerate(cells) if tuple(map(str.strip, record)) == header]:
        raise DataError(f"{where}: {table.name_rows(repeated)}: the header again; delete the repeated line")
    return table


def _fitted(record: list[str], header: tuple[str, ...]) -> list[str]:
    """The record without empty cells beyond the header, or with those that a nameless column lacks."""
    n = len(header)
    if len(record) > n and not any(cell.strip() for cell in record[n:]):
        return record[:n]
    if len(record) < n and not any(header[len(record) :]):
        return [*record, *[""] * (n - len(record))]
    return record
