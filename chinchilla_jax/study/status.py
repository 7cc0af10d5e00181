"""How far a study has come, from its directory alone; needs neither the data nor a solver."""

from __future__ import annotations

import dataclasses
import datetime
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chinchilla_jax._util.directories import Directory, open_directory
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.solvers.counted import counted_statuses
from chinchilla_jax.study.chunks import plan_chunks
from chinchilla_jax.study.derived import FIGURES, PAGE, look
from chinchilla_jax.study.makers import Makers
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.chunk_files import ChunkStore
from chinchilla_jax.study.storage.heartbeat import is_running
from chinchilla_jax.study.storage.ownership import other_version
from chinchilla_jax.study.storage.record import changed_tables, read_existing, record_ranges, record_spec
from chinchilla_jax.study.storage.tables import FILES

# The rate is taken over this time before the last chunk; a study without a heartbeat that has written nothing
# for as long counts as stopped.
_WINDOW_SECONDS = 600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """State of a study directory.

    Attributes:
        location: the directory, a path or a URL without its password.
        spec: the study.
        state: "running"; "stopped" if no process is working on it (killed, or waiting for its other shards);
            "interrupted" or "failed"; "complete" if every chunk, table, figure and the page is there, as it
            was written and of the present fits.
        error: why it failed, if it did.
        chunks: number of chunks in the study.
        chunks_done: how many of them are written.
        fits: number of fits in the study.
        fits_done: how many of them are written.
        status_counts: of the fits that are written.
        failures: fits that do not count, by condition; conditions without any are left out.
        made_on: chunks by the instruction set that computed them; those of earlier versions do not say.
        notes: what the user should know about chunks that were not all computed alike.
        damaged: chunk files whose content is not what was written.
        lacking: where all fits are done, the tables, figures and page that are missing, damaged, or not of
            the present fits; "figures/" stands for all of them.
        other_version: the version that wrote it, if its fits have other last digits than those of this one,
            which cannot extend the study.
        rate: fits per second over the last ten minutes of work; None if too few chunks were written.
        last: when the last chunk was written, seconds since the epoch; None if unknown.
    """

    location: str
    spec: StudySpec
    state: str
    error: str | None
    chunks: int
    chunks_done: int
    fits: int
    fits_done: int
    status_counts: Mapping[str, int]
    failures: Mapping[str, int]
    made_on: Mapping[str, int]
    notes: tuple[str, ...]
    damaged: tuple[str, ...]
    lacking: tuple[str, ...]
    other_version: str | None
    rate: float | None
    last: float | None


def chunks_written(path: str | os.PathLike[str]) -> tuple[int, int]:
    """How many chunks the study at `path` has written, by the names of their files alone, and of how many.

    Raises:
        UsageError: there is no study.
        DataError: its record cannot be read.
    """
    directory = open_directory(path)
    _, store = _read_study(directory, read_existing(directory))
    return len(store.names()), len(store.chunks)


def study_status(path: str | os.PathLike[str]) -> StudyStatus:
    """How far the study at `path` (a directory or its URL) has come.

    Raises:
        UsageError: there is no study.
        DataError: its record cannot be read.
    """
    directory = open_directory(path)
    record = read_existing(directory)
    spec, store = _read_study(directory, record)
    statuses: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    makers = Makers()
    damaged = []
    written = []
    fits = 0
    files = store.files()
    counted = [status.name for status in counted_statuses(spec.boundary)]
    records = directory.each(store.record, [name for name, _ in files.values()])
    for (chunk, (name, info)), found in zip(files.items(), records, strict=True):
        if found is None:
            damaged.append(name)
            continue
        makers.add(found)
        statuses.update(found.status_counts)
        failed = len(chunk.resamples) - sum(found.status_counts.get(name, 0) for name in counted)
        if failed:
            failures[chunk.condition.id] += failed
        fits += len(chunk.resamples)
        if info.modified is not None:
            written.append((info.modified, len(chunk.resamples)))
    last = max((when for when, _ in written), default=None)
    whole = len(files) == len(store.chunks) and not damaged
    lacking = _lacking(directory, record, store) if whole else ()
    return StudyStatus(
        location=str(directory),
        spec=spec,
        state=_state(directory, record, last, whole=whole and not lacking),
        error=record.get("error"),
        chunks=len(store.chunks),
        chunks_done=len(files) - len(damaged),
        fits=record["n_fits"],
        fits_done=fits,
        status_counts=dict(statuses),
        failures=dict(failures),
        made_on=dict(makers.processors),
        notes=tuple(makers.notes()),
        damaged=tuple(damaged),
        lacking=lacking,
        other_version=other_version(record),
        rate=_rate(written),
        last=last,
    )


def _read_study(directory: Directory, record: Mapping[str, Any]) -> tuple[StudySpec, ChunkStore]:
    spec = record_spec(directory, record)
    if "blocks" not in record or "data_hashes" not in record:
        raise UsageError(
            f"{directory}: written by an older version, whose record does not tell how far a study has come"
        )
    numerics = record.get("numerics", 1)
    chunks = plan_chunks(spec, record["data_hashes"], record_ranges(record), numerics)
    return spec, ChunkStore(directory, chunks, spec.model.parameters)


def _lacking(directory: Directory, record: Mapping[str, Any], store: ChunkStore) -> tuple[str, ...]:
    """What `StudyStatus.lacking` names, in a study whose chunks are all there."""
    derived = (f"{FIGURES}/", PAGE)
    if record["state"] != "complete":
        return (*FILES.values(), *derived)
    if {part["file"] for part in record["parts"]} != set(store.names().values()):
        return (*FILES.values(), *derived)
    tables = changed_tables(directory, record)
    return (*tables, *look(directory, record).lacking())


def _state(directory: Directory, record: Mapping[str, Any], last: float | None, *, whole: bool) -> str:
    """The state in the record, corrected for a process that was killed before it could change it."""
    if record["state"] == "complete":
        return "complete" if whole else "running" if is_running(directory) else "stopped"
    if record["state"] != "running":
        return str(record["state"])
    working = is_running(directory)
    if working is None:
        begun = datetime.datetime.fromisoformat(record["started"]).timestamp()
        working = time.time() - max(begun, last or 0.0) < _WINDOW_SECONDS
    return "running" if working else "stopped"


def _rate(written: Sequence[tuple[float, int]]) -> float | None:
    """Fits per second between the first and the last of the latest chunks."""
    latest = max((when for when, _ in written), default=0.0)
    recent = sorted(item for item in written if item[0] > latest - _WINDOW_SECONDS)
    if len(recent) < 3 or recent[-1][0] <= recent[0][0]:
        return None
    # The first chunk only starts the clock.
    return sum(fits for _, fits in recent[1:]) / (recent[-1][0] - recent[0][0])
