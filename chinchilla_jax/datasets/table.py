"""A table as its owner wrote it: a header and cells that are not yet numbers, with names for the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from chinchilla_jax.datasets.meaning import normalise, without_count_unit
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.units import Unit

_PLURALS = {"row": "rows", "index": "indices", "file": "files"}


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells not yet read as numbers.

    Attributes:
        where: the table's name in messages.
        header: column names.
        column: the cells of the column at a position (text from CSV, Python objects otherwise).
        rows: what identifies each row to its owner: the line of the file (the header is line 1) for CSV and
            JSON Lines, the row of a sheet, the count from 1 for Parquet and JSON arrays, the index for a
            table in memory, the name of the file in a folder.
        row_word: the word that goes with it, "row", "index" or "file".
        source: what has been left out and decided so far.
        units: the units of quantities that the table's owner has stated.
        bytes_per_token: of the text that the loss is of, for a loss in bits per byte; None if not stated.
        reserved: positions of columns that are read for something else, and are no candidates for a quantity.
    """

    where: str
    header: tuple[str, ...]
    column: Callable[[int], Sequence[object]]
    rows: Sequence[object]
    row_word: str = "row"
    source: Source = dataclasses.field(default_factory=Source)
    units: Mapping[str, Unit] = dataclasses.field(default_factory=dict)
    bytes_per_token: float | None = None
    reserved: frozenset[int] = frozenset()

    def take(self, positions: Sequence[int]) -> Table:
        """The rows at these positions."""
        return dataclasses.replace(
            self,
            column=lambda i: _at(self.column(i), positions),
            rows=[self.rows[position] for position in positions],
        )

    def leave_out(self, positions: Sequence[int], why: str) -> Table:
        """The table without the rows at these positions, and a record of that.

        Args:
            positions: which rows, in ascending order; none leaves the table as it is.
            why: what they have in common, for the reader, as in "did not finish (column 'State')".
        """
        if not len(positions):
            return self
        out = set(positions)
        kept = self.take([row for row in range(len(self.rows)) if row not in out])
        source = self.source.without(len(out), why, self.name_rows(positions))
        return dataclasses.replace(kept, source=source)

    def note(self, sentence: str) -> Table:
        """The same table, with a sentence for the reader about how it was read."""
        return dataclasses.replace(self, source=self.source.noted(sentence))

    def find(self, *names: str) -> int | None:
        """Position of the first column called one of `names` (as `normalise` writes them), or None."""
        return next((i for i, name in enumerate(self.header) if normalise(name) in names), None)

    def find_count(self, *names: str) -> int | None:
        """`find`, where a name may also state a unit of counts, as "unique tokens (billions)" does."""
        plain = self.find(*names)
        if plain is not None:
            return plain
        return next((i for i, name in enumerate(self.header) if without_count_unit(name) in names), None)

    def name_rows(self, positions: Sequence[int], at_most: int = 5) -> str:
        """Name the rows at these positions, as in "row 7" or "rows 3, 4, 5, 6, 8 and 12 more"."""
        named = ", ".join(show_text(str(self.rows[position])) for position in positions[:at_most])
        more = f" and {len(positions) - at_most} more" if len(positions) > at_most else ""
        return f"{self.row_word if len(positions) == 1 else _PLURALS[self.row_word]} {named}{more}"


def _at(cells: Sequence[object], positions: Sequence[int]) -> list[object]:
    return [cells[position] for position in positions]


def show_text(text: str) -> str:
    """A path or a label as it is, or escaped where printing it would break the line."""
    return text if text and text.isprintable() else ascii(text)
