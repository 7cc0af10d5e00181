"""A finished study on disk, as a value: `open_study` and `Study`."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import DataError, UsageError, closest, short
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.study.files import Directory, LocalDirectory, open_directory
from chinchilla_jax.study.pieces import checksum
from chinchilla_jax.study.plan import Condition, plan_conditions
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.tables import FILES, REPAIR, parse_table, torn

if TYPE_CHECKING:
    import pandas as pd

RECORD = "study.json"
FORMAT = 1


class Study:
    """A finished study; its files are read when they are asked for, and never changed.

    Every table is a new DataFrame with the columns of docs/studies.md, rows in the order of the plan; numbers
    are float64 (counts int64), conditions and statuses strings.

    Attributes:
        location: the directory, a path or a URL.
        info: the content of study.json: spec, seed, data_hash, versions, device, state, wall_time (s),
            status_counts, timing (s), notes, ...
        reused: whether `run_study` found it finished and computed nothing.
    """

    def __init__(self, directory: Directory, info: dict[str, Any], *, reused: bool = False) -> None:
        """Keep what `open_study` has checked."""
        self._directory = directory
        self.location = directory.location
        self.info = info
        self.reused = reused

    @property
    def path(self) -> Path:
        """The directory, if it is one of this machine.

        Raises:
            UsageError: the study is kept elsewhere; see `location`.
        """
        if not isinstance(self._directory, LocalDirectory):
            raise UsageError(f"{self.location}: not a path of this machine; use study.location")
        return self._directory.path

    def __repr__(self) -> str:
        """Where it is and how large it is."""
        size = f"{self.info['n_conditions']} conditions, {self.info['n_fits']:,} fits"
        return f"<Study {self.location!r}: {size}>"

    @functools.cached_property
    def spec(self) -> StudySpec:
        """What was asked for."""
        try:
            return StudySpec.from_dict(self.info["spec"])
        except UsageError as error:
            raise DataError(
                f"{self._directory.at(RECORD)}: its spec cannot be used ({error}); written by chinchilla_jax "
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
            raise UsageError(f"{self.location}: no condition {short(condition)}; {hint}")
        return self._read([part["file"] for part in parts])

    @property
    def figures(self) -> tuple[Path, ...]:
        """The files in figures/, by name, where `path` is."""
        return tuple(
            sorted(path for path in (self.path / "figures").glob("*") if path.suffix in (".png", ".pdf"))
        )

    def _table(self, kind: str) -> pd.DataFrame:
        # A shallow copy of a frame is copied on its first change, so what is kept here stays as it was read.
        return self._tables(kind).copy(deep=False)

    @functools.cached_property
    def _tables(self) -> Any:
        return functools.cache(lambda kind: self._read([FILES[kind]]))

    def _read(self, names: Sequence[str]) -> pd.DataFrame:
        parts = {part["file"]: part["checksum"] for part in self.info["parts"] if "checksum" in part}
        return read_tables(self._directory, names, parts | self.info.get("checksums", {}))


def read_tables(directory: Directory, names: Sequence[str], checksums: Mapping[str, str]) -> pd.DataFrame:
    """Read Parquet files of a study, one below the other.

    Args:
        directory: of the study.
        names: of the files.
        checksums: what `checksum` is to give, by name; files without one are read as they are.

    Raises:
        DataError: a file is missing or not what was written.
    """
    import pyarrow as pa

    tables = []
    for name in names:
        try:
            content = directory.read(name)
        except FileNotFoundError:
            raise DataError(f"{directory.at(name)}: missing; {REPAIR}") from None
        except OSError as error:
            raise torn(directory.at(name), error) from None
        if name in checksums and checksum(content) != checksums[name]:
            raise torn(directory.at(name), ValueError("wrong checksum"))
        # What a piece says of itself is not said of all of them together.
        tables.append(parse_table(directory.at(name), content).replace_schema_metadata(None))
    return pa.concat_tables(tables).to_pandas()


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
        columns=dict(spec.columns) or None,
        experiment=spec.experiment,
    )
    if data_hash is not None and runs.data_hash != data_hash:
        raise DataError(
            f"{spec.data}: these are not the runs that the study fitted (hash {runs.data_hash[:12]}, "
            f"study.json says {data_hash[:12]}); restore the table, or run the study into another directory"
        )
    return runs


def read_record(directory: Directory) -> dict[str, Any]:
    """The content of a study.json.

    Raises:
        FileNotFoundError: there is none.
        DataError: torn, or not the record of a study.
    """
    where = directory.at(RECORD)
    try:
        record = json.loads(directory.read(RECORD).decode("utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:120]
        raise DataError(f"{where}: cannot be read ({reason}); put that right, or give another") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{where}: torn or not what was written ({reason}); restore it, or remove the directory and run "
            "the study again"
        ) from None
    if not isinstance(record, dict) or record.get("format") != FORMAT or "state" not in record:
        raise DataError(
            f"{where}: not the record of a study that this version reads (format {FORMAT}); "
            "open it with the version that wrote it"
        )
    return record


def open_study(path: str | os.PathLike[str]) -> Study:
    """Open a finished study.

    Args:
        path: the directory that `run_study` wrote, or its URL.

    Raises:
        UsageError: not the directory of a study, or one that is not finished.
        DataError: a file of the study is missing or torn.
    """
    directory = open_directory(path)
    record = read_existing(directory)
    if record["state"] != "complete":
        reason = f" ({record['error']})" if record.get("error") else ""
        # The state of the record is no news: a process that is killed leaves "running" there.
        raise UsageError(
            f"{directory}: this study is not complete{reason}; see `chinchilla-jax study status`, or run it "
            "again into the same directory and it goes on"
        )
    require_files(directory, record)
    return Study(directory, record)


def read_existing(directory: Directory) -> dict[str, Any]:
    """`read_record`, where there must be a study.

    Raises:
        UsageError: there is none.
        DataError: its record cannot be read.
    """
    try:
        return read_record(directory)
    except FileNotFoundError:
        pass
    there = isinstance(directory, LocalDirectory) and not directory.path.is_dir()
    what = "no such directory" if there else "not a study directory (no study.json)"
    raise UsageError(f"{directory}: {what}; give the directory that a study was written to")


def require_files(directory: Directory, record: Mapping[str, Any]) -> None:
    """Compare the sizes of the files of a finished study with its record.

    Raises:
        DataError: a file is missing, or of another size.
    """
    sizes = {part["file"]: part["bytes"] for part in record["parts"]} | record["tables"]
    found = {
        f"{folder}/{name}" if folder else name: entry.size
        for folder in sorted({name.rpartition("/")[0] for name in sizes})
        for name, entry in directory.entries(folder).items()
    }
    for name, size in sizes.items():
        if name not in found:
            raise DataError(f"{directory.at(name)}: missing; {REPAIR}")
        if found[name] != size:
            raise torn(directory.at(name), ValueError(f"{found[name]} bytes, {size} were written"))
