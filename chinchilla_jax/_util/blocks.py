"""Long arrays, a block at a time: what is computed on the way then takes the memory of a block."""

from __future__ import annotations

from collections.abc import Iterator

LONG = 2**20
"""Lanes above which the arrays of a bootstrap are taken in blocks: a column of them takes 8 MB."""
_BLOCK = 2**17


def blocks(count: int) -> Iterator[slice]:
    """Slices that cover `count` lanes."""
    return (slice(first, min(first + _BLOCK, count)) for first in range(0, count, _BLOCK))


def row_blocks(count: int, width: int, most: int = LONG) -> Iterator[slice]:
    """Slices that cover `count` rows of `width` values, of at most `most` values each, or of one row."""
    size = max(most // width, 1)
    return (slice(first, min(first + size, count)) for first in range(0, count, size))
