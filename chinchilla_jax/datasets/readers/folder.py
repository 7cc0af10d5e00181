"""A folder of files with one run each, or with the checkpoints of one run each."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.readers.limits import MAX_FILES, require_cells, require_size
from chinchilla_jax.datasets.table import Table, show_text

_TABLE = re.compile(r"\.(csv|tsv|json|jsonl|ndjson|parquet|pq)(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


def read_folder(path: str, read: Callable[[str], Table]) -> Table:
    """The rows of every table in a folder, in the order of the files' names.

    A column "file" with the name of the file is added, called "run" where a file has several rows.

    Args:
        path: of the folder.
        read: reads one of its files.

    Raises:
        DataError: it holds no table, or one that cannot be read.
    """
    where = show_text(path)
    names, others = _listed(path, where)
    tables: list[Table] = []
    cells = size = 0
    for name in names:
        full = os.path.join(path, name)
        size += os.path.getsize(full) if os.path.exists(full) else 0
        require_size(where, size)
        tables.append(read(full))
        cells += len(tables[-1].rows) * len(tables[-1].header)
        require_cells(where, cells)
    single = all(len(table.rows) == 1 for table in tables)
    added = "file" if single else "run"
    header = tuple(dict.fromkeys((*(name for table in tables for name in table.header), added)))
    rows = [
        name if single else f"{row} of {name}"
        for name, table in zip(names, tables, strict=True)
        for row in table.rows
    ]

    def column(position: int) -> list[object]:
        wanted = header[position]
        found: list[object] = []
        for name, table in zip(names, tables, strict=True):
            if wanted in table.header:
                found += table.column(table.header.index(wanted))
            else:
                found += [_TABLE.sub("", name) if wanted == added else ""] * len(table.rows)
        return found

    notes = tuple(note for table in tables for note in table.source.notes)
    if others:
        named = f"{short(others[0])}{', ...' * (len(others) > 1)}"
        notes += (f"left out {count_text(len(others), 'other file')} ({named})",)
    return Table(where, header, column, rows, "file" if single else "row", Source(notes=notes))


def _listed(path: str, where: str) -> tuple[list[str], list[str]]:
    """The names of the tables in a folder, and of its other files."""
    try:
        entries = [each.name for each in os.scandir(path) if each.is_file() and not each.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{where}: cannot be opened ({error.strerror}); check the path") from None
    if "study.json" in entries:
        raise DataError(
            f"{where}: the directory of a study, not a table; chinchilla-jax report {where} writes its page, "
            "and other commands take it as --study"
        )
    names = sorted((name for name in entries if _TABLE.search(name)), key=_natural)
    if not names:
        raise DataError(
            f"{where}: is a directory without tables; give the path of a CSV or Parquet file, or of a folder "
            "of JSON or CSV files with one run each"
        )
    if len(names) > MAX_FILES:
        raise DataError(f"{where}: {len(names):,} files, too many for runs; check the path")
    return names, sorted(set(entries) - set(names))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts run-2 before run-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
