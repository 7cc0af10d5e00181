"""CSV: cells separated by comma, semicolon, tab, bar or blanks, as programs and spreadsheets write them.

The text is split by the standard library rather than by pandas, which would lose the line on which a record
starts (blank lines, cells with line breaks) and turn "NA" into a missing value, and which `fit` need not
import.

| what spreadsheets and people add    | what becomes of it                                                   |
|-------------------------------------|----------------------------------------------------------------------|
| a first line "sep=;" (Excel)        | names the separator                                                  |
| lines that begin with "#"           | comments; the last one above the rows may be the header              |
| lines of text above the header      | left out, where only a later line names quantities                   |
| |---|---| below the header (Markdown) | left out                                                           |
| empty lines, and rows of separators | left out                                                             |
| empty cells beyond the header       | left out                                                             |
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
from collections.abc import Iterator

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.text import count_text, visible
from chinchilla_jax.datasets.columns import match_columns
from chinchilla_jax.datasets.meaning import quantity_of
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.readers.headers import MOST_ABOVE, above_note, header_at, n_quantities
from chinchilla_jax.datasets.readers.limits import TooLargeError, require_columns, require_text_memory
from chinchilla_jax.datasets.table import Table

_DELIMITERS = (",", ";", "\t", "|")
_DECLARED = re.compile(r'"?sep=([^\r\n"])"?[ \t]*(?=\r|\n|\Z)', re.IGNORECASE)
_BLANKS = " "
_RULE = re.compile(r"(:?-+:?)?")
_COMMENT = "#"
# With the break at its end, of which there are three; `io.StringIO` would take four bytes for each letter.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MOST_IN_LINE = 2 * csv.field_size_limit()  # separators, some of which may be within a quoted cell
_Record = tuple[int, list[str]]


def read_delimited(text: str, where: str) -> Table:
    """The table in a text.

    Raises:
        DataError: it is not one; the line says which row cannot be split, or what the header lacks.
    """
    require_text_memory(where, text)
    declared = _DECLARED.match(text)
    if declared:
        text = text[declared.end() :]  # the rest of the line stays, so that lines keep their numbers
        start = _start(text, declared[1], where)
    else:
        found = max((_start_or_none(text, each, where) for each in _DELIMITERS), key=_quality)
        start = found or _start(text, _DELIMITERS[0], where)
        if len(start.header) == 1:
            start = _by_blanks(text, where) or start
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
    delimiter: str
    where: str
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
        if (cells := line.count(self.delimiter)) > _MOST_IN_LINE:
            require_columns(self.where, cells)
        return line


@dataclasses.dataclass
class _Start:
    """The header of a text, split by a separator, and the records that follow."""

    header: tuple[str, ...]
    records: Iterator[_Record]
    lines: _Lines
    text: str
    delimiter: str
    skipped: int


def _start(text: str, delimiter: str, where: str) -> _Start:
    lines = _Lines((match[0] for match in _LINE.finditer(text)), delimiter, where)
    records = _records(lines, delimiter, where)
    first = next(records, None)
    header: list[str] = [] if first is None else first[1]
    above = [line for number, line in lines.comments if first is None or number < first[0]]
    if above:
        named = _split(above[-1].lstrip(_COMMENT + " \t"), delimiter)
        if n_quantities(named) > max(n_quantities(header), 1):
            records = itertools.chain([] if first is None else [first], records)
            header = named
    skipped = 0
    if not n_quantities(header):
        skipped, header, records = _below_text(header, records)
    require_columns(where, len(header))
    return _Start(tuple(name.strip() for name in header), records, lines, text, delimiter, skipped)


def _below_text(header: list[str], records: Iterator[_Record]) -> tuple[int, list[str], Iterator[_Record]]:
    """The header below lines of text, and how many they are; the first record where there is no other."""
    ahead: list[_Record] = []
    error: DataError | None = None
    try:
        ahead.extend(itertools.islice(records, MOST_ABOVE))
    except DataError as found:
        error = found  # of a later row: only a table has rows
    place = header_at([header, *(record for _, record in ahead)])

    def rest() -> Iterator[_Record]:
        yield from ahead[place:]
        if error is not None:
            raise error
        yield from records

    return place, header if place == 0 else ahead[place - 1][1], rest()


def _start_or_none(text: str, delimiter: str, where: str) -> _Start | None:
    try:
        return _start(text, delimiter, where)
    except TooLargeError:
        raise
    except DataError:
        return None


def _by_blanks(text: str, where: str) -> _Start | None:
    """A table whose cells are aligned by blanks; None where header and first row do not look like one."""
    start = _start_or_none(text, _BLANKS, where)
    if start is None or n_quantities(start.header) < 2:
        return None
    row = next(start.records, None)
    if row is None or len(row[1]) != len(start.header):
        return None
    return dataclasses.replace(start, records=itertools.chain([row], start.records))


def _quality(start: _Start | None) -> tuple[int, int]:
    """The better separator is that for which the header names the most quantities, then the most columns."""
    if start is None:
        return (-1, 0)
    return sum(quantity_of(name) is not None for name in start.header), len(start.header)


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
                f"{where}: row {row}: cannot be split into cells ({visible(str(error))}); check its "
                "quotation marks"
            ) from None
        filled = (record and record[0].strip()) or any(cell.strip() for cell in record)
        if filled and not _is_rule(record, delimiter):
            yield row, record


def _is_rule(record: list[str], delimiter: str) -> bool:
    """Whether it is the line below the header of a table in Markdown, such as |---|---:|."""
    return delimiter == "|" and all(_RULE.fullmatch(cell.strip()) for cell in record)


def _table(start: _Start, where: str) -> Table:
    header = start.header
    require_text_memory(where, start.text, start.delimiter)
    below = start.lines.number
    found = [(row, _fitted(record, header)) for row, record in start.records]
    named = [(row, _split(line, start.delimiter)) for row, line in start.lines.comments if row > below]
    # A line of as many cells as the header has is a row that someone has taken out.
    taken_out = [(row, cells) for row, cells in named if len(cells) == len(header) > 1]
    source = Source(notes=above_note(start.skipped))
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
