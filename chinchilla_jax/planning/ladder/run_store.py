"""The runs of a ladder in one SQLite file that survives a crash at any moment.

The contract: a proposal is in the file before it is shown, and stays open until its loss is appended; a loss
is appended once. Every change is one transaction, written through to the disk; processes that propose at the
same time get different runs. SQLite gives this on every platform; a text file would need locks of its own.

| table    | columns                                                     |
|----------|-------------------------------------------------------------|
| settings | value: one JSON object                                      |
| runs     | run (id, from 1), record: the other fields of `Run` as JSON |
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chinchilla_jax._util.errors import DataError, UsageError

FORMAT = 2
STAGES = ("seed", "scaled", "imported")
_SCHEMA = """
CREATE TABLE settings (value TEXT NOT NULL);
CREATE TABLE runs (run INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL);
"""
_WAIT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run, done or open.

    Attributes:
        run: its number in the file, from 1; 0 for a run that is not stored yet.
        stage: "seed", "scaled" or "imported".
        params: parameters (count).
        tokens: training tokens (count).
        flops: training compute (FLOP).
        loss: nats per token; None while the run is open.
        config: the model's configuration, if a grid was searched.
        proposal: intervals of size, tokens and loss when it was proposed, for scaled runs.
    """

    run: int = 0
    stage: str
    params: float
    tokens: float
    flops: float
    loss: float | None = None
    config: Mapping[str, Any] | None = None
    proposal: Mapping[str, Any] | None = None


class RunStore:
    """The file; several processes may open it, each with its own object.

    Attributes:
        path: of the file.
        settings: as given to `create`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file made by `create`.

        Raises:
            DataError: there is none, or it is something else.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such database; make one with `chinchilla-jax progress init`")
        with self._connected() as database:
            rows = database.execute("SELECT value FROM settings").fetchall()
        kept = json.loads(rows[0][0]) if len(rows) == 1 else None
        if not isinstance(kept, dict) or kept.pop("format", None) != FORMAT:
            raise DataError(
                f"{self.path}: not in format {FORMAT}, which this version reads; with the one that wrote it, "
                "export its runs (chinchilla-jax progress export), and import them into a new database"
            )
        self.settings: dict[str, Any] = kept

    @classmethod
    def create(cls, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> RunStore:
        """Make a new file with these settings, which must be JSON values.

        Raises:
            UsageError: the file exists, or cannot be made.
        """
        target = Path(path)
        exists = UsageError(f"{target}: exists already; use it, or give another path")
        if target.exists():
            raise exists
        try:
            with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as database:
                database.executescript(f"BEGIN EXCLUSIVE;{_SCHEMA}")  # fails if another process was faster
                database.execute(
                    "INSERT INTO settings VALUES (?)", [json.dumps({"format": FORMAT, **settings})]
                )
                database.execute("COMMIT")
        except sqlite3.Error as error:
            if "already exists" in str(error):
                raise exists from None
            raise UsageError(f"{target}: cannot be made ({error}); check the folder") from None
        return cls(target)

    def runs(self) -> list[Run]:
        """Every run in the order of their numbers."""
        with self._connected() as database:
            return Transaction(database).runs()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and write runs while no other process writes; an error inside undoes everything.

        Raises:
            DataError: the file cannot be written.
        """
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(database)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            with contextlib.closing(database):
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as error:
            raise DataError(
                f"{self.path}: not a usable database of runs ({error}); of a table, chinchilla-jax progress "
                "import DB TABLE adds the runs to one"
            ) from None


class Transaction:
    """Reads and writes inside `RunStore.transaction`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Keep the connection."""
        self._database = database

    def runs(self) -> list[Run]:
        """Every run, changes of this transaction included."""
        rows = self._database.execute("SELECT run, record FROM runs ORDER BY run").fetchall()
        return [Run(run=run, **json.loads(record)) for run, record in rows]

    def put(self, run: Run) -> Run:
        """Add a run, which gets a number, or replace the run of the same number."""
        record = dataclasses.asdict(run)
        number = record.pop("run") or None
        cursor = self._database.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?)", (number, json.dumps(record))
        )
        assert cursor.lastrowid is not None
        return dataclasses.replace(run, run=cursor.lastrowid)
