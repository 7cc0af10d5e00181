"""A finished study on disk, as a value: `open_study` and `Study`."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.cards import Card, ShownInNotebooks
from chinchilla_jax._util.directories import Directory, LocalDirectory, open_directory
from chinchilla_jax._util.errors import DataError, UsageError, closest, short
from chinchilla_jax._util.frames import handed_out
from chinchilla_jax._util.labels import HEADLINE, quantity_label
from chinchilla_jax._util.part_files import checksum, read_checked
from chinchilla_jax._util.text import counts_text
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws import Chinchilla, OwnLaw
from chinchilla_jax.study.centres import with_estimates
from chinchilla_jax.study.derived import FIGURES
from chinchilla_jax.study.spec.conditions import Condition, plan_conditions
from chinchilla_jax.study.spec.data import load_study_data
from chinchilla_jax.study.spec.differences import differences
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.chunk_files import decode
from chinchilla_jax.study.storage.law_columns import law_columns, stored_laws
from chinchilla_jax.study.storage.record import read_existing, record_spec, require_files
from chinchilla_jax.study.storage.runs_file import parse_runs
from chinchilla_jax.study.storage.tables import FILES, REPAIR, RUNS, parse_table, torn

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult


class Study(ShownInNotebooks):
    """A finished study; its files are read on demand and never changed.

    Every table is a new DataFrame with the columns of docs/how-to/studies.md, rows in the order of the
    conditions; numbers are float64 (counts int64), conditions and statuses strings.

    Attributes:
        directory: the files.
        location: where the directory is, a path or a URL.
        info: the content of study.json: spec, seed, data_hash, versions, device, state, wall_time (s),
            status_counts, timing (s), notes, ...
        law: the user's own that was fitted, if it is known here.
        reused: whether `run_study` found it finished and computed nothing.

    Example:
        >>> study = cj.open_study("study")
        >>> study.conditions["condition"].tolist()
        ['identity']
        >>> study.fits().shape
        (20, 11)
    """

    def __init__(
        self, directory: Directory, info: dict[str, Any], *, reused: bool = False, law: OwnLaw | None = None
    ) -> None:
        """Keep what `open_study` has checked."""
        self.law = law
        self.directory = directory
        self.location = directory.location
        self.info = info
        self.reused = reused
        self._written: dict[str, pa.Table] = {}

    @property
    def path(self) -> Path:
        """The directory, if it is on this machine.

        Raises:
            UsageError: the study is stored elsewhere; see `location`.
        """
        if not isinstance(self.directory, LocalDirectory):
            raise UsageError(f"{self.directory}: not a path on this machine; use study.location")
        return self.directory.path

    def __repr__(self) -> str:
        """Its place and size."""
        size = f"{self.info['n_conditions']} conditions, {self.info['n_fits']:,} fits"
        return f"<Study {str(self.directory)!r}: {size}>"

    def _card(self) -> Card:
        table = self.conditions.groupby("family", sort=False).size()
        rows = [(quantity_label(str(family)), f"{count:,}") for family, count in table.items()]
        title = f"Study {str(self.directory)!r}: {self.info['n_fits']:,} fits"
        return Card(title, ("family", "conditions"), rows, [counts_text(self.info["status_counts"])])

    @functools.cached_property
    def spec(self) -> StudySpec:
        """The spec that was run; a law of the user's own predicts if `open_study` was given it."""
        found = record_spec(self.directory, self.info)
        return found if self.law is None else dataclasses.replace(found, law=self.law)

    def plan(self) -> tuple[Condition, ...]:
        """The conditions as values, in the order of the tables."""
        return plan_conditions(self.spec)

    def runs(self) -> Runs:
        """The runs of the first condition: unperturbed, counted by the first interpretation of the spec.

        They are in the directory. Directories of earlier versions have none, and the table is read again.

        Raises:
            DataError: the file is missing or torn; or there is none, and the table has gone or is not the one
                that was fitted.
        """
        return self.weighted_runs()[0]

    def weighted_runs(self) -> tuple[Runs, NDArray[np.float64] | None]:
        """`runs`, and the weights that the table gives them, (n,); None where all count the same."""
        return self._weighted_runs

    @functools.cached_property
    def _weighted_runs(self) -> tuple[Runs, NDArray[np.float64] | None]:
        if RUNS not in self.info.get("checksums", {}):
            data = load_study_data(self.spec, self.spec.interpretations[0], self.info["data_hash"])
            return data.runs, data.weights
        return parse_runs(self.directory.at(RUNS), read_file(self.directory, RUNS, self._checksums))

    def bootstrap(self) -> BootstrapResult:
        """The fits of `runs` as the bootstrap that they are; see `own_bootstrap`.

        Raises:
            DataError: as for `runs`, or a table of the study is torn.
            UsageError: the law is a function that is not known here.
        """
        from chinchilla_jax.study.own_fits import own_bootstrap

        return own_bootstrap(self)

    def counted_runs(self) -> dict[str, Runs]:
        """The unperturbed runs of a table of your own by counting; empty unless it has several.

        Raises:
            DataError: the table has gone, or has other rows.
        """
        named = self.spec.countings
        if len(named) < 2:
            return {}
        loss = f"+{self.spec.losses[0][0]}" if self.spec.losses else ""
        return {name: load_study_data(self.spec, f"{name}{loss}").runs for name, _ in named}

    @property
    def conditions(self) -> pd.DataFrame:
        """One row per condition: condition, family, value, repeat, params, n_runs."""
        return self._table("conditions")

    @property
    def point(self) -> pd.DataFrame:
        """Point fits by condition and objective: the law's parameters, objective_value, status, steps."""
        return self._table("point")

    @property
    def params(self) -> pd.DataFrame:
        """Fitted parameters with standard errors and intervals, by condition, parameter, level and method."""
        return self._table("params")

    @property
    def tokens_per_param(self) -> pd.DataFrame:
        """Compute-optimal tokens per parameter with bands, by condition, flops, level and method.

        The column estimate is that of the point fit, NaN where this is not certified.
        """
        table = self._table("tokens_per_param")
        return table if HEADLINE in table else with_estimates(table, self.point, self.spec)

    def fits(self, condition: str | None = None) -> pd.DataFrame:
        """Every bootstrap fit, or those of one condition; one row per resample.

        Columns condition, resample, the law's parameters (E, A, B, alpha, beta), objective_value, decrement,
        status, steps. Fits that did not converge are included, with their status.

        Args:
            condition: an id from `conditions`; None for all (about 100 bytes of memory per fit).

        Raises:
            UsageError: no condition has this id.
            DataError: a file is missing or torn.
        """
        return self._read([part["file"] for part in self._parts(condition)])

    def laws(self, condition: str) -> tuple[Any, NDArray[np.int8]]:
        """The laws and the `Status` codes, (R,) each, of one condition: `fits` in 41 bytes each.

        The laws are a `ScalingLaw` or, of another law, a `FittedLaw`.

        Raises:
            UsageError: no condition has this id.
            DataError: a file is missing or torn.
        """
        parts = self._parts(condition)
        count = sum(part["stop"] - part["first"] for part in parts)
        names = [part["file"] for part in parts]
        tables, model = iter_tables(self.directory, names, self._checksums), self.spec.model
        natural, codes = law_columns(tables, count, model)
        return stored_laws(model, natural, self._units(names[0])), codes

    def point_law(self, condition: str, objective: str | None = None) -> Any:
        """The point fit of one condition, by the objective of the bootstrap or another of `point`.

        Raises:
            UsageError: no condition has this id, or no point fit this objective.
            DataError: a file is missing or torn.
        """
        part, objective = self._parts(condition)[0], objective or self.spec.objective
        point = self.point
        rows = point[(point["condition"] == condition) & (point["objective"] == objective)]
        if rows.empty:
            raise UsageError(f"{self.directory}: no point fit by {short(objective)}; see study.point")
        natural = {name: float(rows[name].iloc[0]) for name in self.spec.model.parameters}
        return stored_laws(self.spec.model, natural, self._units(part["file"]))

    def _units(self, name: str) -> tuple[float, ...] | None:
        """The units of the runs of a chunk, see `ChunkRecord`."""
        model = self.spec.model
        if isinstance(model, Chinchilla):
            return None
        (table,) = iter_tables(self.directory, [name], self._checksums, bare=False)
        try:
            return decode(table, model.parameters).units
        except ValueError as error:
            raise torn(self.directory.at(name), error) from None

    def _parts(self, condition: str | None) -> list[dict[str, Any]]:
        """The entries of the files of one condition, or of all."""
        parts = [part for part in self.info["parts"] if condition is None or part["condition"] == condition]
        if not parts:
            known = list(dict.fromkeys(part["condition"] for part in self.info["parts"]))
            near = closest(condition, known) if isinstance(condition, str) else None
            more = f" and {len(known) - 4} more" if len(known) > 4 else ""
            hint = (
                f"did you mean {near!r}?"
                if near
                else f"it has {', '.join(known[:4])}{more} (study.conditions, conditions.parquet)"
            )
            raise UsageError(f"{self.directory}: no condition {short(condition)}; {hint}")
        return parts

    @property
    def figures(self) -> tuple[Path, ...]:
        """The files in figures/, by name."""
        return tuple(
            sorted(path for path in (self.path / FIGURES).glob("*") if path.suffix in (".png", ".pdf"))
        )

    def _table(self, kind: str) -> pd.DataFrame:
        return handed_out(self._tables(kind))

    @functools.cached_property
    def _tables(self) -> Any:
        return functools.cache(self._first_look)

    def _first_look(self, kind: str) -> pd.DataFrame:
        written = self._written.pop(kind, None)
        return self._read([FILES[kind]]) if written is None else written.to_pandas()

    def _read(self, names: Sequence[str]) -> pd.DataFrame:
        return read_tables(self.directory, names, self._checksums)

    @property
    def _checksums(self) -> dict[str, str]:
        parts = {part["file"]: part["checksum"] for part in self.info["parts"] if "checksum" in part}
        return parts | self.info.get("checksums", {})


def hold_tables(study: Study, written: Mapping[str, pa.Table]) -> None:
    """Give a study the tables that this process has just written, by kind, instead of reading them back.

    Not those that went to a server: they may have arrived as something else.
    """
    if isinstance(study.directory, LocalDirectory):
        study._written.update(written)


def read_tables(directory: Directory, names: Sequence[str], checksums: Mapping[str, str]) -> pd.DataFrame:
    """Read Parquet files of a study, one below the other.

    Args:
        directory: of the study.
        names: of the files.
        checksums: what `checksum` must give, by name; files without one are not checked.

    Raises:
        DataError: a file is missing or not what was written.
    """
    import pyarrow as pa

    return pa.concat_tables(iter_tables(directory, names, checksums)).to_pandas()


def iter_tables(
    directory: Directory, names: Sequence[str], checksums: Mapping[str, str], *, bare: bool = True
) -> Iterator[pa.Table]:
    """The tables that `read_tables` puts together, one after the other; without metadata where `bare`."""
    for name in names:
        table = parse_table(directory.at(name), read_file(directory, name, checksums))
        # The metadata of one chunk does not describe all of them together.
        yield table.replace_schema_metadata(None) if bare else table


def read_file(directory: Directory, name: str, checksums: Mapping[str, str]) -> bytes:
    """The content of a file of a study; raises and checks as `read_tables`."""
    try:
        content = read_checked(directory, name, checksums.get(name))
    except FileNotFoundError:
        raise DataError(f"{directory.at(name)}: missing; {REPAIR}") from None
    except OSError as error:
        raise torn(directory.at(name), error) from None
    if name in checksums and checksum(content) != checksums[name]:
        raise torn(directory.at(name), ValueError("wrong checksum"))
    return content


def open_study(path: str | os.PathLike[str], *, law: OwnLaw | None = None) -> Study:
    """Open a finished study.

    Args:
        path: the directory that `run_study` wrote, or its URL.
        law: that of the study, if it is of `laws.from_function`: the directory holds no code. Without it the
            tables are there, and the laws predict nothing.

    Raises:
        UsageError: not the directory of a study, or one that is not finished, or a study of another law.
        DataError: a file of the study is missing or torn.

    Example:
        >>> cj.open_study("study")
        <Study 'study': 1 conditions, 20 fits>
    """
    directory = open_directory(path)
    record = read_existing(directory)
    if record["state"] != "complete":
        reason = f" ({record['error']})" if record.get("error") else ""
        # The state in the record would mislead: a process that was killed has left "running" there.
        raise UsageError(
            f"{directory}: this study is not complete{reason}; see `chinchilla-jax study status`, or run it "
            "again into the same directory to resume it"
        )
    require_files(directory, record)
    if law is not None:
        _require_law(directory, record, law)
    return Study(directory, record, law=law)


def _require_law(directory: Directory, record: Mapping[str, Any], law: object) -> None:
    if not isinstance(law, OwnLaw):
        raise UsageError(f"open_study: law is {short(law)}; give what cj.laws.from_function returned")
    there = record_spec(directory, record).to_dict().get("law", Chinchilla.name)
    if there != law.to_dict():
        raise UsageError(f"{directory}: {differences({'law': there}, {'law': law.to_dict()})[0]}")
