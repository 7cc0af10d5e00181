"""Decides whether a directory is new, this study's, or another's. Never modifies another study's files."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.directories import Directory, refuse_no_folder
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.study.chunks import ResampleRange, plan_chunks, plan_ranges
from chinchilla_jax.study.environment import versions
from chinchilla_jax.study.numerics import STUDIES
from chinchilla_jax.study.spec.differences import differences
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.chunk_files import ChunkStore
from chinchilla_jax.study.storage.record import (
    FORMAT,
    RECORD,
    read_record,
    record_bytes,
    record_ranges,
    record_spec,
    write_record,
)
from chinchilla_jax.study.storage.tables import FILES, RUNS

_OURS = ("fits", "summary", "figures", RUNS, *FILES.values())


def claim(
    directory: Directory, spec: StudySpec, data_hashes: Mapping[str, str], n_runs: int
) -> dict[str, Any]:
    """Make sure that the directory is this study's, and return its record.

    A directory that is new or empty gets a record, and so does one that has lost its record and holds chunks
    of this study and of no other. One with this study and fewer resamples is extended: its ranges stay, new
    ones are added, and it counts as running again.

    Args:
        directory: where the study is to be.
        spec: the study.
        data_hashes: `StudyData.hash` by interpretation.
        n_runs: number of runs.

    Raises:
        UsageError: the directory holds something else.
        DataError: its record cannot be read.
    """
    refuse_no_folder(directory)
    try:
        record = read_record(directory)
    except FileNotFoundError:
        ranges, numerics = plan_ranges(spec.resamples, n_runs), STUDIES.since(spec.law)
        if any(directory.exists(name) for name in _OURS):
            ranges, numerics = _without_record(directory, spec, data_hashes, ranges)
        fresh = _first_record(spec, data_hashes, ranges, numerics)
        if directory.create(RECORD, record_bytes(fresh)):
            return fresh
        record = read_record(directory)
    require_same(directory, record, spec, data_hashes[spec.interpretations[0]])
    ranges = record_ranges(record)
    if ranges[-1].stop < spec.resamples:
        ranges = plan_ranges(spec.resamples, n_runs, kept=ranges)
        record |= _sizes(spec, ranges) | {"state": "running", "error": None}
        write_record(directory, record)
    return record


def other_version(record: Mapping[str, Any]) -> str | None:
    """The version that wrote a record, if its chunks are not what this one computes; None if they are."""
    law = record["spec"].get("law", CHINCHILLA.name)
    same = record.get("numerics", 1) in STUDIES.accepted(law) and "blocks" in record
    return None if same else f"{record['versions'].get('chinchilla_jax', '?')}"


def require_same(directory: Directory, record: Mapping[str, Any], spec: StudySpec, data_hash: str) -> None:
    """Refuse a directory whose study is not `spec` on these data, or not with fewer resamples.

    Raises:
        UsageError: it says what differs, and how.
    """
    there, here = record_spec(directory, record).to_dict(), spec.to_dict()
    more = there["resamples"]
    if more < here["resamples"]:  # not a difference, but something to add
        there |= {"resamples": here["resamples"]}
    version = other_version(record)
    if version is not None and "boundary" not in record["spec"]:  # its version asked nothing there
        there |= {"boundary": here.get("boundary", "drop")}
    found = differences(there, here)
    if len(found) == 1 and more > here["resamples"]:
        raise UsageError(
            f"{directory}: this study already has {more:,} resamples; give --resamples {more} or more"
        )
    if not found and record["data_hash"] != data_hash:
        hashes = f"hash {record['data_hash'][:12]} there, {data_hash[:12]} now"
        found = [f"content of the table: {hashes}"]
    if found:
        raise UsageError(f"{directory}: holds another study ({'; '.join(found)}); give another directory")
    if version is not None:
        complete = record["state"] == "complete"
        can = "; it can be opened and reported, but not extended" if complete else ""
        do = "extend" if complete else "resume"
        raise UsageError(
            f"{directory}: holds this study, written by chinchilla_jax {version}, whose fits have other last "
            f"digits{can}: run the whole study in a new directory, or {do} this one with that version"
        )


def _without_record(
    directory: Directory,
    spec: StudySpec,
    data_hashes: Mapping[str, str],
    planned: tuple[ResampleRange, ...],
) -> tuple[tuple[ResampleRange, ...], int]:
    """Ranges and numerics of a study whose record is lost, from its chunks: their names tell whose they are.

    Raises:
        UsageError: there are none, or others.
    """
    firsts = ChunkStore(directory, ()).first_resamples()
    ends = [*firsts[1:], spec.resamples]
    found = tuple(itertools.starmap(ResampleRange, zip(firsts, ends, strict=False)))  # none without chunks
    for ranges, numerics in itertools.product((planned, found), STUDIES.accepted(spec.law)):
        store = ChunkStore(directory, plan_chunks(spec, data_hashes, ranges, numerics))
        if firsts and ranges[0].first == 0 and not store.superfluous():
            return ranges, numerics
    name = next(name for name in _OURS if directory.exists(name))
    raise UsageError(f"{directory}: holds {name} but no study.json; give a directory that is new or empty")


def _first_record(
    spec: StudySpec, data_hashes: Mapping[str, str], ranges: tuple[ResampleRange, ...], numerics: int
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "numerics": numerics,
        "state": "running",
        "error": None,
        **_sizes(spec, ranges),
        "seed": spec.seed,
        "data_hash": data_hashes[spec.interpretations[0]],
        "data_hashes": dict(data_hashes),
        "versions": versions(),
        "device": None,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time": 0.0,
        "status_counts": {},
        "point_status_counts": {},
        "notes": [],
        "timing": {},
    }


def _sizes(spec: StudySpec, ranges: tuple[ResampleRange, ...]) -> dict[str, Any]:
    n_conditions = spec.n_conditions
    return {
        "spec": spec.to_dict(),
        "n_conditions": n_conditions,
        "n_fits": n_conditions * spec.resamples,
        "blocks": [[each.first, each.stop] for each in ranges],
    }
