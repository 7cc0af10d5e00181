"""Columns that say which runs belong together: those asked for, those named after runs, and labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax._util.validation import require_type
from chinchilla_jax.datasets.meaning import normalise
from chinchilla_jax.datasets.table import Table

_MOST_LABELS, _LEAST_SHARE = 40, 4
_LONGEST = 100  # characters of a label
_RESULT = re.compile(
    r"loss|nll|xent|entropy|perplexity|(^|[\W_])(ppl|bpb|bpc|ce|acc|accuracy|score|error|auc|f1|bleu)([\W_]|$)",
    re.I,
)
# As `normalise` writes them.
_RUN_NAMES = frozenset({"run", "runname", "runid", "trajectory", "trajectoryid"})


def is_run_name(column: str) -> bool:
    """Whether a column of this name holds the names of runs."""
    return normalise(column) in _RUN_NAMES


def read_groups(table: Table, asked: Sequence[str] = ()) -> dict[str, NDArray[np.object_]]:
    """The cells of these columns and of any column named after runs, by column name, (n,) each.

    Args:
        table: the table.
        asked: names of columns, spelled as in the table.

    Raises:
        UsageError: the table has no column of such a name, or two.
    """
    if isinstance(asked, str):
        raise UsageError(f"groups is {short(asked)}; give a list of column names, such as ({asked!r},)")
    require_type("groups", asked, Collection, "give a list of column names, such as ('seed',)")
    names = [name.strip() for name in table.header]
    times = Counter(names)
    positions = {name: _position(table, names, name) for name in asked}
    for place, name in enumerate(names):
        if is_run_name(name) and times[name] == 1:
            positions.setdefault(name, place)
    return {name: _cells(table, place) for name, place in positions.items()}


def read_labels(table: Table, quantities: Collection[int]) -> dict[str, NDArray[np.str_]]:
    """Columns with few different cells, by name, (n,) each: what may set some runs apart from the others.

    Few are 2 to `_MOST_LABELS`, and at most one for every `_LEAST_SHARE` rows. Columns of measured results,
    such as another loss, are no labels.

    Args:
        table: the table.
        quantities: positions of the columns that hold a quantity.
    """
    found = {}
    names = [name.strip() for name in table.header]
    times = Counter(names)
    most = min(_MOST_LABELS, len(table.rows) // _LEAST_SHARE)
    for place, name in enumerate(names):
        if place in quantities or times[name] > 1 or not 0 < len(name) <= _LONGEST or _RESULT.search(name):
            continue
        labels = _few(table.column(place), most)
        if labels is not None and len(set(labels)) >= 2:
            found[name] = np.array(labels)
    return found


def _few(cells: Sequence[object], most: int) -> list[str] | None:
    """The cells as labels; None where more than `most` differ, or one is too long for a label."""
    labels: list[str] = []
    different: set[str] = set()
    for cell in cells:
        # As text: each NaN is another one, and lists cannot be counted.
        text = "" if cell is None or _is_nan(cell) else str(cell).strip()
        different.add(text)
        if len(different) > most or len(text) > _LONGEST:
            return None
        labels.append(text)
    return labels


def _is_nan(cell: object) -> bool:
    return isinstance(cell, float) and cell != cell


def _cells(table: Table, position: int) -> NDArray[np.object_]:
    cells = np.empty(len(table.rows), object)
    cells[:] = list(table.column(position))
    return cells


def _position(table: Table, names: list[str], wanted: str) -> int:
    if not isinstance(wanted, str) or names.count(wanted) != 1:
        near = closest(wanted, names) if isinstance(wanted, str) else None
        hint = f"did you mean {near!r}?" if near else f"the table has {', '.join(map(short, names[:8]))}"
        found = "two columns are" if wanted in names else "no column is"
        raise UsageError(f"{table.where}: {found} named {short(wanted)}; {hint}")
    return names.index(wanted)
