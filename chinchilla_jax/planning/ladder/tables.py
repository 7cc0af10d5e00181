"""Runs of a ladder to and from tables."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.datasets.cells import cell_text
from chinchilla_jax.datasets.columns import match_table
from chinchilla_jax.datasets.foreign import unpack
from chinchilla_jax.datasets.quantities import complete, read_columns
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.datasets.states import finished_runs
from chinchilla_jax.datasets.suspicions import warn_of_units
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import read_units
from chinchilla_jax.datasets.validation import require_rows
from chinchilla_jax.planning.ladder.run_store import STAGES, Run, RunStore

if TYPE_CHECKING:
    import pandas as pd

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
COLUMNS = ("run", "stage", "params", "tokens", "flops", "loss", "config")


def export_runs(store: RunStore, path: str | os.PathLike[str], *, for_spreadsheets: bool = False) -> int:
    """Write every run to a CSV or (by its suffix) Parquet file.

    Args:
        store: the runs.
        path: of the table: one row per run, columns `COLUMNS`. The loss of an open run is missing; config is
            JSON text.
        for_spreadsheets: put an apostrophe before texts that a spreadsheet would run as a formula.

    Returns:
        The number of runs.

    Raises:
        UsageError: the file cannot be written.
    """
    import pandas as pd

    runs, target = store.runs(), Path(path)
    frame = pd.DataFrame({name: [getattr(run, name) for run in runs] for name in COLUMNS})
    frame = frame.astype({"loss": "float64"})  # an open run has None
    frame["config"] = [json.dumps(run.config) if run.config else None for run in runs]
    if for_spreadsheets:
        frame = without_formulas(frame)
    try:
        with atomic_write(target) as stream:
            if target.suffix in (".parquet", ".pq"):
                frame.to_parquet(stream, index=False)
            else:
                frame.to_csv(stream, index=False)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); check the folder") from None
    return len(runs)


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each text that a spreadsheet would run as a formula."""

    def plain(cell: object) -> object:
        formula = isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULAS)
        return f"'{cell}" if formula else cell

    return frame.apply(lambda column: column.map(plain) if column.dtype.kind not in "iufb" else column)


def import_runs(
    store: RunStore,
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    bytes_per_token: float | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Add the runs of a table, all or none.

    Args:
        store: gets the runs.
        path: a file of any kind that `load_runs` reads, with the columns that it needs. Rows without a loss
            become open runs; runs that have a loss and did not finish are left out. The column stage is kept
            where it names one; other runs are "imported". The column config may hold JSON.
        columns: as for `load_runs`.
        units: as for `load_runs`.
        bytes_per_token: as for `load_runs`.
        say: called with each sentence about what was read.

    Returns:
        The number of runs.

    Warns:
        DataWarning: sizes, tokens or losses look like another unit, or a run did not finish.

    Raises:
        DataError: the file cannot be read, a column is missing, or a cell is not a positive number.
    """
    table = unpack(read_table(path, "import_runs"))
    table = dataclasses.replace(table, units=read_units(units), bytes_per_token=bytes_per_token)
    positions = match_table(table, columns)
    require_rows(table, "add a row per run")
    loss_at = positions.pop("loss")
    table = finished_runs(table, among=_with_text(table, loss_at))
    read = read_columns(table, positions)
    counts = complete(table, read)
    done = _with_text(table, loss_at)
    read = read.with_loss(read_columns(table.take(done), {"loss": loss_at}))
    losses = read.arrays["loss"]
    warn_of_units(table.where, counts["params"], counts["tokens"], losses)
    if say is not None:
        for line in read.record(table).lines:
            say(line)
    numbers = {name: counts[name].tolist() for name in ("params", "tokens", "flops")}
    loss = dict(zip(done, losses.tolist(), strict=True))
    stages, configs = _texts(table, "stage"), _texts(table, "config")
    with store.transaction() as inside:
        for row, (stage, config) in enumerate(zip(stages, configs, strict=True)):
            inside.put(
                Run(
                    **{name: column[row] for name, column in numbers.items()},
                    stage=stage if stage in STAGES else "imported",
                    loss=loss.get(row),
                    config=_config(config),
                )
            )
    return len(table.rows)


def _with_text(table: Table, position: int) -> list[int]:
    """The rows in which a column holds something."""
    return [row for row, cell in enumerate(table.column(position)) if cell_text(cell)]


def _texts(table: Table, name: str) -> list[str]:
    """The column of this name as text; empty texts if there is none."""
    position = table.find(name)
    cells = [""] * len(table.rows) if position is None else table.column(position)
    return [cell_text(cell) for cell in cells]


def _config(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
