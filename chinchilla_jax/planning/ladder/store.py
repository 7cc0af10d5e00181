"""The runs of a progressive study in one SQLite file that survives a crash at any moment.

The contract: a proposal is in the file before anybody sees it, and stays there, open, until its loss is
appended; a loss is appended once. Every change is one transaction, written through to the disk; two processes
that propose at the same time get different runs.

| table    | columns                                                                               |
|----------|---------------------------------------------------------------------------------------|
| settings | key, value (JSON)                                                                     |
| runs     | run (id, from 1), stage ("seed", "scaled", "imported"), params, tokens, flops,        |
|          | loss (NULL while open), config (JSON or NULL), proposal (JSON or NULL)                |

Counts and FLOP are plain numbers, losses nats per token.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.atomic_write import written_whole
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax.datasets.cells import cell_text
from chinchilla_jax.datasets.columns import match_columns
from chinchilla_jax.datasets.reading import Table, read_file
from chinchilla_jax.datasets.units import warn_of_units
from chinchilla_jax.datasets.validation import parse_columns, read_quantities, require_rows
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.planning.law_sample import positive

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
STAGES = ("seed", "scaled", "imported")
COLUMNS = ("run", "stage", "params", "tokens", "flops", "loss", "config")
_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY AUTOINCREMENT,
    stage TEXT NOT NULL CHECK (stage IN ('seed', 'scaled', 'imported')),
    params REAL NOT NULL CHECK (params > 0),
    tokens REAL NOT NULL CHECK (tokens > 0),
    flops REAL NOT NULL CHECK (flops > 0),
    loss REAL CHECK (loss > 0),
    config TEXT,
    proposal TEXT
);
"""
_WAIT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run, done or still open.

    Attributes:
        run: its number in the file, from 1.
        stage: "seed", "scaled" or "imported".
        params: parameters (count).
        tokens: training tokens (count).
        flops: training compute (FLOP).
        loss: nats per token; None while the run is open.
        config: the model's configuration, where a grid was searched.
        proposal: what was known when it was proposed (intervals of size, tokens, loss), for scaled runs.
    """

    run: int
    stage: str
    params: float
    tokens: float
    flops: float
    loss: float | None = None
    config: Mapping[str, Any] | None = None
    proposal: Mapping[str, Any] | None = None


class RunStore:
    """The file; safe to open from several processes, one object per process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file that `create` has made.

        Raises:
            DataError: there is none, or it is something else.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such database; make one with `chinchilla-jax progress init`")
        with self._reading() as database:
            settings = dict(database.execute("SELECT key, value FROM settings"))
        if settings.get("format") != str(FORMAT):
            found = settings.get("format")
            raise DataError(f"{self.path}: has format {found}, this version reads {FORMAT}")

    @classmethod
    def create(cls, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> RunStore:
        """Make a new file with these settings, which JSON must be able to hold.

        Raises:
            UsageError: the file exists, or cannot be made there.
        """
        target = Path(path)
        if target.exists():
            raise UsageError(f"{target}: exists already; go on with it, or give another path")
        # Made aside and linked into place, so that no half-made database is ever found under the name.
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with contextlib.closing(sqlite3.connect(aside)) as database, database:
                database.executescript(_SCHEMA)
                rows = {"format": FORMAT, **settings}.items()
                database.executemany(
                    "INSERT INTO settings VALUES (?, ?)", [(key, json.dumps(value)) for key, value in rows]
                )
            os.link(aside, target)
        except FileExistsError:
            raise UsageError(f"{target}: exists already; go on with it, or give another path") from None
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"{target}: cannot be made ({error}); check the folder") from None
        finally:
            with contextlib.suppress(OSError):
                aside.unlink()
        return cls(target)

    def settings(self) -> dict[str, Any]:
        """What was given to `create`."""
        with self._reading() as database:
            found = database.execute("SELECT key, value FROM settings").fetchall()
        return {key: json.loads(value) for key, value in found if key != "format"}

    def runs(self) -> list[Run]:
        """Every run in the order of their numbers."""
        with self._reading() as database:
            return _all(database)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and add runs with nobody else writing in between; an error inside undoes everything.

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

    def append(
        self, run: int, loss: float, *, params: float | None = None, tokens: float | None = None
    ) -> Run:
        """Close an open run with its loss.

        Args:
            run: its number.
            loss: final loss, nats per token.
            params: what the model really has, where that differs from the proposal.
            tokens: what it was really trained on.

        Returns:
            The run as it stands now; flops is 6 N D of the true counts.

        Raises:
            UsageError: there is no such run, it has its loss already, or a number is not positive.
        """
        value = positive("loss", loss, "give nats per token such as 2.5")
        with self.transaction() as inside:
            known = {each.run: each for each in inside.runs()}
            if run not in known:
                raise UsageError(f"{self.path}: no run {run}; there are {len(known)}")
            found = known[run]
            if found.loss is not None:
                raise UsageError(f"{self.path}: run {run} has its loss already ({found.loss:g})")
            n = found.params if params is None else positive("params", params, "give the true size")
            d = found.tokens if tokens is None else positive("tokens", tokens, "give the true tokens")
            flops = found.flops if params is None and tokens is None else FLOPS_PER_PARAM_TOKEN * n * d
            closed = dataclasses.replace(found, params=n, tokens=d, flops=flops, loss=value)
            inside.close(closed)
        return closed

    def to_frame(self) -> pd.DataFrame:
        """One row per run, columns `COLUMNS`; loss is NaN while open, config is JSON text or None."""
        import pandas as pd

        rows = [
            (r.run, r.stage, r.params, r.tokens, r.flops, r.loss, json.dumps(r.config) if r.config else None)
            for r in self.runs()
        ]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype({name: "float64" for name in ("params", "tokens", "flops", "loss")})

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write every run to a CSV or (by its suffix) Parquet file; the number of runs.

        Raises:
            UsageError: the file cannot be written.
        """
        frame, target = self.to_frame(), Path(path)
        try:
            with written_whole(target) as aside:
                if target.suffix in (".parquet", ".pq"):
                    frame.to_parquet(aside, index=False)
                else:
                    frame.to_csv(aside, index=False)
        except OSError as error:
            raise UsageError(f"{target}: cannot be written ({error.strerror}); check the folder") from None
        return len(frame)

    def import_runs(self, path: str | os.PathLike[str]) -> int:
        """Add the runs of a CSV or Parquet file with columns params, tokens, loss; the number of runs.

        Rows without a loss become open runs; a column flops is kept, or stands in for params or tokens, else
        it is 6 N D; a column stage is kept where it names one, else it is "imported". All rows are added, or
        none.

        Warns:
            DataWarning: sizes, tokens or losses look like another unit.

        Raises:
            DataError: the file cannot be read, a column is missing, or a cell is not a positive number.
        """
        table = read_file(path)
        positions = match_columns(table.header, table.where)
        require_rows(table, "add a row per run")
        loss_at = positions.pop("loss")
        counts = read_quantities(table, positions)
        done = [row for row, cell in enumerate(table.column(loss_at)) if cell_text(cell)]
        losses = parse_columns(table.take(done), {"loss": loss_at})["loss"]
        loss = dict(zip(done, losses.tolist(), strict=True))
        params, tokens, flops = (counts[name].tolist() for name in ("params", "tokens", "flops"))
        warn_of_units(table.where, counts["params"], counts["tokens"], losses)
        stages, configs = (_texts(table, name) for name in ("stage", "config"))
        found = [
            Run(
                run=0,
                stage=stages[row] if stages[row] in STAGES else "imported",
                params=params[row],
                tokens=tokens[row],
                flops=flops[row],
                loss=loss.get(row),
                config=_config(configs[row]),
            )
            for row in range(len(params))
        ]
        with self.transaction() as inside:
            for run in found:
                inside.add(run)
        return len(found)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as database:
            yield database

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            ) as database:
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as error:
            raise DataError(f"{self.path}: not a database of runs that can be used ({error})") from None


class Transaction:
    """What can be done inside `RunStore.transaction`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Keep the connection, which has begun."""
        self._database = database

    def runs(self) -> list[Run]:
        """Every run as it stands inside the transaction."""
        return _all(self._database)

    def add(self, run: Run) -> Run:
        """Add a run; its number is given by the file."""
        cursor = self._database.execute(
            "INSERT INTO runs (stage, params, tokens, flops, loss, config, proposal) VALUES (?,?,?,?,?,?,?)",
            (run.stage, run.params, run.tokens, run.flops, run.loss, _json(run.config), _json(run.proposal)),
        )
        assert cursor.lastrowid is not None
        return dataclasses.replace(run, run=cursor.lastrowid)

    def close(self, run: Run) -> None:
        """Write the loss and the true counts of a run."""
        self._database.execute(
            "UPDATE runs SET params = ?, tokens = ?, flops = ?, loss = ? WHERE run = ?",
            (run.params, run.tokens, run.flops, run.loss, run.run),
        )


def _all(database: sqlite3.Connection) -> list[Run]:
    rows = database.execute(
        "SELECT run, stage, params, tokens, flops, loss, config, proposal FROM runs ORDER BY run"
    )
    return [
        Run(
            run=run,
            stage=stage,
            params=params,
            tokens=tokens,
            flops=flops,
            loss=loss,
            config=json.loads(config) if config else None,
            proposal=json.loads(proposal) if proposal else None,
        )
        for run, stage, params, tokens, flops, loss, config, proposal in rows
    ]


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _texts(table: Table, name: str) -> list[str]:
    """The column of this name as text; empty where there is none."""
    position = table.find(name)
    return [""] * len(table.rows) if position is None else [cell_text(c) for c in table.column(position)]


def _config(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
