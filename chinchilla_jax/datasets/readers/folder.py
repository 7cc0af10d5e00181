"""A folder of tables with one run each, or with the checkpoints of one run each.

| layout                                          | a run is                                 |
|-------------------------------------------------|------------------------------------------|
| run-1.json, run-2.csv.gz, ...                   | a file                                   |
| run-1/metrics.json, run-2/metrics.json, ...     | a folder                                 |
| run-1/config.json and run-1/metrics.json, ...   | a folder; the fields of its files together |
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax._util.limits import FILES
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.datasets.readers.limits import require_cell_memory, require_columns, require_size
from chinchilla_jax.datasets.table import Table, show_text

_TABLE = re.compile(r"\.(csv|tsv|json|jsonl|ndjson|parquet|pq)(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


def read_folder(path: str, read: Callable[[str], Table]) -> Table:
    """The rows of every table in a folder, in the order of the names of files or folders.

    A column "file" with the name of the run's file is added, called "run" where a run has several rows.

    Args:
        path: of the folder.
        read: reads one of its files.

    Raises:
        DataError: it holds no table, or one that cannot be read.
    """
    where = show_text(path)
    runs, others = _runs(path, where)
    tables: list[Table] = []
    cells = rows = size = 0
    for name, files in runs.items():
        size += sum(os.path.getsize(file) for file in files if os.path.exists(file))
        require_size(where, size)
        tables.append(_together([read(file) for file in files], os.path.join(path, name)))
        rows += len(tables[-1].rows)
        cells += len(tables[-1].rows) * len(tables[-1].header)
        require_cell_memory(where, rows=rows, cells=cells)
        # Compressed files hold more than their size.
        size += sum(map(len, filter(_is_text, _cells(tables[-1]))))
        require_size(where, size)
    return _stacked(tables, list(runs), where, others)


def _cells(table: Table) -> Iterator[object]:
    for position in range(len(table.header)):
        yield from table.column(position)


def _is_text(cell: object) -> TypeGuard[str]:
    return isinstance(cell, str)


def _runs(path: str, where: str) -> tuple[dict[str, list[str]], list[str]]:
    """The paths of the tables of each run by its name, and the names of other files."""
    files, folders = _entries(path, where)
    if "study.json" in files:
        raise DataError(
            f"{where}: the directory of a study, not a table; chinchilla-jax report {where} writes its page, "
            "and other commands take it as --study"
        )
    found = {name: [os.path.join(path, name)] for name in files if _TABLE.search(name)}
    others = sorted(set(files) - set(found))
    if not found:
        for folder in folders:
            inside = os.path.join(path, folder)
            tables = [name for name in _entries(inside, show_text(inside))[0] if _TABLE.search(name)]
            if tables:
                found[folder] = [os.path.join(inside, name) for name in tables]
    if not found:
        raise DataError(
            f"{where}: is a directory without tables; give the path of a CSV or Parquet file, or of a folder "
            "of JSON or CSV files with one run each"
        )
    FILES.require(where, len(found), remedy="check the path", error=DataError)
    return found, others


def _entries(path: str, where: str) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders in a folder, run-2 before run-10."""
    files: list[str] = []
    folders: list[str] = []
    try:
        for entry in os.scandir(path):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():  # and no pipe, which would wait for a writer
                files.append(entry.name)
    except OSError as error:
        raise DataError(f"{where}: cannot be opened ({error.strerror}); check the path") from None
    return sorted(files, key=_natural), sorted(folders, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _together(tables: Sequence[Table], path: str) -> Table:
    """The fields of the files of one run in one row."""
    if len(tables) == 1:
        return tables[0]
    where = show_text(path)
    if long := [table for table in tables if len(table.rows) != 1]:
        raise DataError(
            f"{where}: {len(tables)} tables, of which {os.path.basename(long[0].where)} has "
            f"{count_text(len(long[0].rows), 'row')}; leave one table in the folder of each run"
        )
    fields: dict[str, object] = {}
    for table in tables:
        for position, name in enumerate(table.header):
            cell = table.column(position)[0]
            if name in fields and fields[name] != cell:
                raise DataError(
                    f"{where}: its files disagree about {short(name)} ({short(fields[name])} and "
                    f"{short(cell)}); leave one table in the folder of each run"
                )
            fields[name] = cell
    notes = tuple(note for table in tables for note in table.source.notes)
    return Table(where, tuple(fields), lambda i: [list(fields.values())[i]], [1], source=Source(notes=notes))


def _stacked(tables: Sequence[Table], names: Sequence[str], where: str, others: Sequence[str]) -> Table:
    single = all(len(table.rows) == 1 for table in tables)
    added = "file" if single else "run"
    header = tuple(dict.fromkeys((*(name for table in tables for name in table.header), added)))
    require_columns(where, len(header))
    require_cell_memory(where, rows=0, cells=len(header) * sum(len(table.rows) for table in tables))
    places = [{name: place for place, name in reversed(list(enumerate(table.header)))} for table in tables]
    rows = [
        name if single else f"{row} of {name}"
        for name, table in zip(names, tables, strict=True)
        for row in table.rows
    ]

    def column(position: int) -> list[object]:
        wanted = header[position]
        found: list[object] = []
        for name, table, at in zip(names, tables, places, strict=True):
            if wanted in at:
                found += table.column(at[wanted])
            else:
                found += [_TABLE.sub("", name) if wanted == added else ""] * len(table.rows)
        return found

    notes = tuple(note for table in tables for note in table.source.notes)
    if others:
        named = f"{short(others[0])}{', ...' * (len(others) > 1)}"
        notes += (f"left out {count_text(len(others), 'other file')} ({named})",)
    return Table(where, header, column, rows, "file" if single else "row", Source(notes=notes))
