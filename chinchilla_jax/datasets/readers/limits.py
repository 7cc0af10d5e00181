"""How much a table may hold: far above any table of runs, so that a wrong path cannot fill the memory."""

from __future__ import annotations

from typing import IO

from chinchilla_jax._util.errors import DataError

MAX_BYTES = 128 * 2**20
"""Of a file as it lies there, and of what it expands to."""
MAX_CELLS = 20_000_000
MAX_FILES = 20_000


def read_up_to_limit(stream: IO[bytes], where: str, *, expands: bool = False) -> bytes:
    """The rest of a stream.

    Args:
        stream: open for reading.
        where: its name in messages.
        expands: whether the content was compressed.

    Raises:
        DataError: it is larger than `MAX_BYTES`.
    """
    parts: list[bytes] = []
    left = MAX_BYTES + 1
    # A pipe, a socket or a decompressor may give less than what was asked for.
    while left > 0 and (part := stream.read(min(left, 2**22))):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise _too_large(where, "expands to more" if expands else "larger")
    return b"".join(parts)


def require_size(where: str, size: int) -> None:
    """Refuse content of `size` bytes.

    Raises:
        DataError: it is larger than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise _too_large(where, "holds more")


def require_cells(where: str, cells: int) -> None:
    """Refuse a table of so many cells.

    Raises:
        DataError: there are more than `MAX_CELLS`.
    """
    if cells > MAX_CELLS:
        raise DataError(
            f"{where}: more than {MAX_CELLS:,} cells, too many for a table of runs; keep the rows and "
            "columns that a fit needs"
        )


def _too_large(where: str, comparison: str) -> DataError:
    return DataError(
        f"{where}: {comparison} than {MAX_BYTES >> 20} MiB, too large for a table of runs; check the path"
    )
