"""A finished study on disk, as a value: `open_study` and `Study`."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.errors import DataError, UsageError, closest, short
from chinchilla_jax.study.plan import Condition, plan_conditions
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.tables import FILES, read_tables, torn

if TYPE_CHECKING:
    import pandas as pd

RECORD = "study.json"
FORMAT = 1


class Study:
    """A finished study; its files are read when they are asked for, and never changed.

    Every table is a new DataFrame with the columns of DESIGN.md, rows in the order of the plan; numbers are
    float64 (counts int64), conditions and statuses strings.

    Attributes:
        path: the directory.
        info: the content of study.json: spec, seed, data_hash, versions, device, state, wall_time (s),
            status_counts, timing (s), notes, ...
        reused: whether `run_study` found it finished and computed nothing.
    """

    def __init__(self, path: Path, info: dict[str, Any], *, reused: bool = False) -> None:
        """Keep what `open_study` has checked."""
        self.path = path
        self.info = info
        self.reused = reused

    def __repr__(self) -> str:
        """Where it is and how large it is."""
        size = f"{self.info['n_conditions']} conditions, {self.info['n_fits']:,} fits"
        return f"<Study {str(self.path)!r}: {size}>"

    @functools.cached_property
    def spec(self) -> StudySpec:
        """What was asked for."""
        try:
            return StudySpec.from_dict(self.info["spec"])
        except UsageError as error:
            raise DataError(
                f"{self.path / RECORD}: its spec cannot be used ({error}); written by chinchilla_jax "
                f"{self.info.get('versions', {}).get('chinchilla_jax', '?')}"
            ) from None

    def plan(self) -> tuple[Condition, ...]:
        """The conditions as values, in the order of the tables."""
        return plan_conditions(self.spec)

    def runs(self) -> Runs:
        """The runs of the first condition: unperturbed, counted by the first interpretation of the spec.

        Raises:
            DataError: the table has gone, or is not the one that was fitted.
        """
        return load_spec_runs(self.spec, self.spec.interpretations[0], self.info["data_hash"])

    @property
    def conditions(self) -> pd.DataFrame:
        """One row per condition: condition, family, value, repeat, params, n_runs."""
        return self._table("conditions")

    @property
    def point(self) -> pd.DataFrame:
        """Point fits by condition and objective: E, A, B, alpha, beta, objective_value, status, steps."""
        return self._table("point")

    @property
    def params(self) -> pd.DataFrame:
        """Fitted parameters with standard errors and intervals, by condition, parameter, level and method."""
        return self._table("params")

    @property
    def tokens_per_param(self) -> pd.DataFrame:
        """Compute-optimal tokens per parameter with bands, by condition, flops, level and method."""
        return self._table("tokens_per_param")

    def fits(self, condition: str | None = None) -> pd.DataFrame:
        """Every bootstrap fit, or those of one condition; one row per resample.

        Columns condition, resample, E, A, B, alpha, beta, objective_value, decrement, status, steps. Lanes
        that did not converge are there, with their status.

        Args:
            condition: an id out of `conditions`; None for all (about 100 bytes of memory per fit).

        Raises:
            UsageError: no condition has this id.
            DataError: a file is missing or torn.
        """
        parts = [part for part in self.info["parts"] if condition is None or part["condition"] == condition]
        if not parts:
            known = [part["condition"] for part in self.info["parts"]]
            near = closest(condition, known) if isinstance(condition, str) else None
            hint = f"did you mean {near!r}?" if near else "see the condition column of study.conditions"
            raise UsageError(f"{self.path}: no condition {short(condition)}; {hint}")
        return read_tables([self.path / part["file"] for part in parts])

    @property
    def figures(self) -> tuple[Path, ...]:
        """The files in figures/, by name."""
        return tuple(
            sorted(path for path in (self.path / "figures").glob("*") if path.suffix in (".png", ".pdf"))
        )

    def _table(self, kind: str) -> pd.DataFrame:
        # A shallow copy of a frame is copied on its first change, so what is kept here stays as it was read.
        return self._tables(kind).copy(deep=False)

    @functools.cached_property
    def _tables(self) -> Any:
        return functools.cache(lambda kind: read_tables([self.path / FILES[kind]]))


def load_spec_runs(spec: StudySpec, interpretation: str, data_hash: str | None = None) -> Runs:
    """The runs that `spec` names, counted as `interpretation` says.

    Args:
        spec: the study.
        interpretation: one of the spec's interpretations.
        data_hash: the hash that the runs must have; None for any.

    Raises:
        DataError: the table cannot be read or used, or has another hash.
    """
    runs = load_runs(
        spec.data,
        params="as_plotted" if interpretation == "as_given" else interpretation,
        drop_highest_loss=spec.drop_highest_loss,
        rounded=spec.rounded,
    )
    if data_hash is not None and runs.data_hash != data_hash:
        raise DataError(
            f"{spec.data}: these are not the runs that the study fitted (hash {runs.data_hash[:12]}, "
            f"study.json says {data_hash[:12]}); restore the table, or run the study into another directory"
        )
    return runs


def read_record(path: Path) -> dict[str, Any]:
    """The content of a study.json.

    Raises:
        DataError: torn, or not the record of a study.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise torn(path, error) from None
    if not isinstance(record, dict) or record.get("format") != FORMAT or "state" not in record:
        raise DataError(
            f"{path}: not the record of a study that this version reads (format {FORMAT}); "
            "open it with the version that wrote it"
        )
    return record


def open_study(path: str | os.PathLike[str]) -> Study:
    """Open a finished study.

    Args:
        path: the directory that `run_study` wrote.

    Raises:
        UsageError: not the directory of a study, or one that is not finished.
        DataError: a file of the study is missing or torn.
    """
    folder = Path(path).expanduser()
    if not (folder / RECORD).is_file():
        what = "not a study directory (no study.json)" if folder.is_dir() else "no such directory"
        raise UsageError(f"{folder}: {what}; give the directory that a study was written to")
    record = read_record(folder / RECORD)
    if record["state"] != "complete":
        reason = f" ({record['error']})" if record.get("error") else ""
        raise UsageError(
            f"{folder}: this study is {record['state']}{reason}, not complete; wait for it, or run it into "
            "another directory"
        )
    sizes = {part["file"]: part["bytes"] for part in record["parts"]} | record["tables"]
    for name, size in sizes.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            raise DataError(f"{folder / name}: missing; run the study again into another directory") from None
        if found != size:
            raise torn(folder / name, ValueError(f"{found} bytes, {size} were written"))
    return Study(folder, record)
