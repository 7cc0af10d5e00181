"""Rows of a table that lack a value that a fit needs."""

from __future__ import annotations

from collections.abc import Mapping

from chinchilla_jax._util.errors import short
from chinchilla_jax.datasets.cells import MISSING_KINDS, Problem, parse_cell
from chinchilla_jax.datasets.table import Table


def without_missing(table: Table, positions: Mapping[str, int]) -> Table:
    """The rows in which every one of these columns holds something.

    Args:
        table: the table.
        positions: quantity to column position, as from `match_columns`.
    """
    empty: dict[int, set[int]] = {}
    for quantity, position in positions.items():
        for row, cell in enumerate(table.column(position)):
            parsed = parse_cell(cell, quantity)
            if isinstance(parsed, Problem) and parsed.kind in MISSING_KINDS:
                empty.setdefault(position, set()).add(row)
    names = ", ".join(short(table.header[position]) for position in sorted(empty))
    return table.leave_out(
        sorted(set().union(*empty.values())), f"nothing in column{'s' * (len(empty) > 1)} {names}"
    )
