"""Columns of flags: what a table's own author marked as an outlier, to exclude, or to keep.

A column counts only if its whole name says so and every cell is true, false or empty, which is false.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.meaning import normalise

if TYPE_CHECKING:
    from chinchilla_jax.datasets.table import Table

# As `normalise` writes them.
_LEAVES_OUT = frozenset(
    {
        "outlier",
        "outliers",
        "isoutlier",
        "exclude",
        "excluded",
        "isexcluded",
        "leaveout",
        "leftout",
        "discard",
    }
)
_KEEPS = frozenset({"keep", "kept", "include", "included", "isincluded", "usedinfit", "useinfit"})
_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0", "x"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})
_EMPTY = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})


def without_flagged(table: Table) -> Table:
    """The rows that no column of flags rules out.

    Raises:
        DataError: none is left.
    """
    ruled_out: dict[int, list[int]] = {}
    for place, name in enumerate(table.header):
        word = normalise(name)
        if word not in _LEAVES_OUT | _KEEPS:
            continue
        flags = [False if is_empty(cell) else as_flag(cell) for cell in table.column(place)]
        if None not in flags:
            unwanted = word in _LEAVES_OUT
            ruled_out[place] = [row for row, flag in enumerate(flags) if flag is unwanted]
    gone: set[int] = set()
    kept = table
    for place, rows in ruled_out.items():
        # Positions are those of the whole table, of which some rows may be gone already.
        new = [row for row in rows if row not in gone]
        at = [row - sum(each < row for each in gone) for row in new]
        gone |= set(new)
        name = short(table.header[place])
        if gone and len(gone) == len(table.rows):
            raise DataError(
                f"{table.where}: column {name} rules out all rows; correct it, or give --ignore-flags "
                "(ignore_flags=True in Python)"
            )
        kept = kept.leave_out(at, f"ruled out by column {name} (--ignore-flags keeps them)")
    return kept


def as_flag(cell: object) -> bool | None:
    """A cell as true or false; None where it is neither."""
    if isinstance(cell, bool):
        return cell
    word = str(cell).strip().casefold()
    return True if word in _TRUE else False if word in _FALSE else None


def is_empty(cell: object) -> bool:
    """Whether a cell says nothing."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return isinstance(cell, str) and cell.strip().casefold() in _EMPTY
