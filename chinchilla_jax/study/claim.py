"""Whose a directory is: new, this study's, or another's. Nothing of another study is ever touched."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.study.differences import differences
from chinchilla_jax.study.environment import versions
from chinchilla_jax.study.files import Directory, LocalDirectory
from chinchilla_jax.study.plan import NUMERICS, Block, plan_blocks, plan_conditions
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.store import FORMAT, RECORD, read_record
from chinchilla_jax.study.tables import FILES, json_text

_OURS = ("fits", "summary", "figures", *FILES.values())


def claim(
    directory: Directory, spec: StudySpec, data_hashes: Mapping[str, str], n_runs: int
) -> dict[str, Any]:
    """Make sure that the directory is this study's, and return its record.

    A directory that is new or empty gets a record. One with this study and fewer resamples is extended: its
    blocks stay, new ones are added, and it counts as running again.

    Args:
        directory: where the study is to be.
        spec: what is to be there.
        data_hashes: of the unperturbed runs, by interpretation.
        n_runs: how many these are.

    Raises:
        UsageError: something else is there.
        DataError: the record there cannot be read.
    """
    _refuse_strangers(directory)
    try:
        record = read_record(directory)
    except FileNotFoundError:
        fresh = _first_record(spec, data_hashes, plan_blocks(spec.resamples, n_runs))
        if directory.create(RECORD, json_text(fresh).encode()):
            return fresh
        record = read_record(directory)
    require_same(directory, record, spec, data_hashes[spec.interpretations[0]])
    blocks = record_blocks(record)
    if blocks[-1].stop < spec.resamples:
        blocks = plan_blocks(spec.resamples, n_runs, kept=blocks)
        record |= _sizes(spec, blocks) | {"state": "running", "error": None}
        write_record(directory, record)
    return record


def record_blocks(record: Mapping[str, Any]) -> tuple[Block, ...]:
    """The blocks of the plan in a record."""
    return tuple(Block(first, stop) for first, stop in record["blocks"])


def write_record(directory: Directory, record: Mapping[str, Any]) -> None:
    """Replace study.json at once."""
    directory.write(RECORD, json_text(record).encode())


def require_same(directory: Directory, record: Mapping[str, Any], spec: StudySpec, data_hash: str) -> None:
    """Refuse a directory whose study is not `spec` on these data, or not with fewer resamples.

    Raises:
        UsageError: saying what differs, and how.
    """
    there, here = StudySpec.from_dict(record["spec"]).to_dict(), spec.to_dict()
    more = there["resamples"]
    if more < here["resamples"]:  # which is no difference, but something to add
        there |= {"resamples": here["resamples"]}
    found = differences(there, here)
    if len(found) == 1 and more > here["resamples"]:
        raise UsageError(
            f"{directory}: this study has {more:,} resamples already; give --resamples {more} or more"
        )
    if not found and record["data_hash"] != data_hash:
        hashes = f"hash {record['data_hash'][:12]} there, {data_hash[:12]} now"
        found = [f"content of the table: {hashes}"]
    if found:
        raise UsageError(f"{directory}: holds another study ({'; '.join(found)}); give another directory")
    if record.get("numerics", 1) != NUMERICS:
        version = record["versions"].get("chinchilla_jax", "?")
        raise UsageError(
            f"{directory}: holds this study, fitted by chinchilla_jax {version}, whose solver gave other "
            "digits; go on with that version, or give another directory"
        )
    if "blocks" not in record:
        raise UsageError(
            f"{directory}: holds this study, written by an older version that cannot be gone on with; "
            "give another directory"
        )


def _refuse_strangers(directory: Directory) -> None:
    if isinstance(directory, LocalDirectory):
        path = directory.path
        if path.exists() and not path.is_dir():
            raise UsageError(f"{directory}: a file is there; give a directory that is new or empty")
        if path.is_symlink() and not path.exists():
            raise UsageError(f"{directory}: a link to nothing; make the folder it names, or give another")
        above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if not above.is_dir():
            raise UsageError(f"{directory}: cannot be written ({above} is a file); give another directory")
    if directory.exists(RECORD):
        return
    for name in _OURS:
        if directory.exists(name):
            raise UsageError(
                f"{directory}: holds {name} but no study.json; give a directory that is new or empty"
            )


def _first_record(
    spec: StudySpec, data_hashes: Mapping[str, str], blocks: tuple[Block, ...]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "numerics": NUMERICS,
        "state": "running",
        "error": None,
        **_sizes(spec, blocks),
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


def _sizes(spec: StudySpec, blocks: tuple[Block, ...]) -> dict[str, Any]:
    n_conditions = len(plan_conditions(spec))
    return {
        "spec": spec.to_dict(),
        "n_conditions": n_conditions,
        "n_fits": n_conditions * spec.resamples,
        "blocks": [[block.first, block.stop] for block in blocks],
    }
