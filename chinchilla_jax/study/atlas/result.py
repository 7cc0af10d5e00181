"""A finished atlas on disk, as a value: `open_atlas` and `Atlas`; and how far an unfinished one has come."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.cards import Card, ShownInNotebooks
from chinchilla_jax._util.directories import Directory, open_directory
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.frames import handed_out
from chinchilla_jax.study.atlas.spec import AtlasSpec
from chinchilla_jax.study.atlas.store import place, read_existing, read_table, record_spec
from chinchilla_jax.study.atlas.tables import multiplicity
from chinchilla_jax.study.result import Study, open_study
from chinchilla_jax.study.status import StudyStatus, study_status
from chinchilla_jax.study.storage.record import RECORD, changed_tables

if TYPE_CHECKING:
    import pandas as pd


class Atlas(ShownInNotebooks):
    """A finished atlas; its files are read on demand and never changed.

    Attributes:
        directory: the files.
        location: where the directory is, a path or a URL.
        info: the content of atlas.json: seed, resamples, tables, wall_time (s), ...
        reused: whether `run_atlas` found it finished and computed nothing.

    Example:
        >>> atlas = cj.open_atlas("atlas")
        >>> atlas.claims.query("claim == 'multiplicative_identity'")["verdict"].unique().tolist()
        ['holds']
    """

    def __init__(self, directory: Directory, info: dict[str, Any], *, reused: bool = False) -> None:
        """Keep what `open_atlas` has checked."""
        self.directory, self.info, self.reused = directory, info, reused
        self.location = directory.location

    def __repr__(self) -> str:
        """Its place and size."""
        fits = int(self.overview["fits"].sum())
        return f"<Atlas {str(self.directory)!r}: {len(self.info['tables'])} tables, {fits:,} fits>"

    def _card(self) -> Card:
        table = self.claims.groupby(["table", "verdict"], sort=False).size().unstack(fill_value=0)
        rows = [
            (str(name), *(f"{count}" for count in row))
            for name, row in zip(table.index, table.to_numpy(), strict=True)
        ]
        return Card(repr(self)[1:-1], ("table", *map(str, table.columns)), rows, [])

    @property
    def spec(self) -> AtlasSpec:
        """What was run."""
        return record_spec(self.info)

    def study(self, table: str) -> Study:
        """The study of one table.

        Raises:
            UsageError: the atlas has no such table.
        """
        if table not in self.info["tables"]:
            raise UsageError(f"{self.directory}: has {', '.join(self.info['tables'])}, not {table!r}")
        return open_study(place(self.directory, table))

    @property
    def overview(self) -> pd.DataFrame:
        """One row per table: its runs, range, resampling, fits, caveat."""
        return self._table("overview")

    @property
    def slopes(self) -> pd.DataFrame:
        """Decades of optimal tokens per parameter per decade of compute, by table and count."""
        return self._table("slopes")

    @property
    def ratios(self) -> pd.DataFrame:
        """Optimal tokens per parameter at the compute of the largest run and ten times that."""
        return self._table("ratios")

    @property
    def sensitivity(self) -> pd.DataFrame:
        """Slope, and the factor on tokens per parameter, by table, family and size of the error."""
        return self._table("sensitivity")

    @property
    def breakdown(self) -> pd.DataFrame:
        """The smallest errors that change a conclusion, by table, family, direction and criterion."""
        return self._table("breakdown")

    @property
    def claims(self) -> pd.DataFrame:
        """What each table says about each claim of the published study; see `analysis.claims`."""
        return self._table("claims")

    @property
    def multiplicity(self) -> dict[str, float]:
        """How many cells of `claims` were judged, decided, and may be decided wrongly by chance alone."""
        return multiplicity(self.claims)

    def _table(self, kind: str) -> pd.DataFrame:
        return handed_out(self._tables(kind))

    @functools.cached_property
    def _tables(self) -> Any:
        return functools.cache(lambda kind: read_table(self.directory, kind, self.info))


def open_atlas(path: str | os.PathLike[str]) -> Atlas:
    """Open a finished atlas.

    Args:
        path: the directory that `run_atlas` wrote, or its URL.

    Raises:
        UsageError: not the directory of an atlas, or one that is not finished.
        DataError: a file is missing or damaged.

    Example:
        >>> cj.open_atlas("atlas").slopes.columns[:3].tolist()
        ['table', 'params', 'estimate']
    """
    directory = open_directory(path)
    record = read_existing(directory)
    if record.get("state") != "complete":
        raise UsageError(
            f"{directory}: this atlas is not complete; see `chinchilla-jax study status`, or run it again "
            "into the same directory to resume it"
        )
    return Atlas(directory, record)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtlasStatus:
    """How far an atlas has come.

    Attributes:
        location: the directory.
        spec: the atlas.
        studies: the state of each study; None for one that is not begun.
        lacking: where all studies are complete, the tables of the atlas that are missing or damaged.
        complete: whether everything is there.
    """

    location: str
    spec: AtlasSpec
    studies: Mapping[str, StudyStatus | None]
    lacking: tuple[str, ...]
    complete: bool


def atlas_status(path: str | os.PathLike[str]) -> AtlasStatus:
    """How far the atlas at `path` has come.

    Raises:
        UsageError: there is no atlas.
        DataError: its record cannot be read.
    """
    directory = open_directory(path)
    record = read_existing(directory)
    studies: dict[str, StudyStatus | None] = {}
    for name in record["tables"]:
        begun = directory.exists(f"{name}/{RECORD}")
        studies[name] = study_status(place(directory, name)) if begun else None
    done = all(each is not None and each.state == "complete" for each in studies.values())
    lacking: tuple[str, ...] = ()
    if done:
        made = record.get("state") == "complete"
        lacking = tuple(changed_tables(directory, record)) if made else ("summary/",)
    return AtlasStatus(
        location=str(directory),
        spec=record_spec(record),
        studies=studies,
        lacking=lacking,
        complete=done and not lacking,
    )
