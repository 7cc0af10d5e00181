"""Where the header of a table is, if lines of text stand above it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from chinchilla_jax._util.limits import COLUMNS
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.meaning import quantity_of

MOST_ABOVE = 20


def n_quantities(names: Iterable[object]) -> int:
    """How many of params, tokens, flops and loss these column names name."""
    first = itertools.islice(names, COLUMNS.most)
    return len({quantity_of(name) for name in first if isinstance(name, str)} - {None})


def header_at(records: Sequence[Sequence[object]]) -> int:
    """Which of the first records is the header: the first, unless only a later one names quantities.

    Args:
        records: the first ones of a table, at most `MOST_ABOVE` + 1.
    """
    if not records or n_quantities(records[0]):
        return 0
    return next((place for place, names in enumerate(records) if n_quantities(names) >= 2), 0)


def above_note(n: int) -> tuple[str, ...]:
    """The note about `n` lines above the header, if any."""
    return (f"left out {count_text(n, 'line')} above the header",) if n else ()
