"""The one who writes a study directory: claims it, adds parts, and says in study.json how far it has come."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chinchilla_jax.errors import UsageError
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.store import RECORD, Study, open_study, read_record
from chinchilla_jax.study.tables import FILES, json_text, to_table, write_json, write_table

_OURS = (RECORD, "fits", "summary", "figures", *FILES.values())


def find_finished(path: Path, spec: StudySpec, data_hash: str) -> Study | None:
    """The finished study of this very spec and data at `path`, or None if `path` is free to write to.

    Raises:
        UsageError: something else is there, which must not be overwritten.
        DataError: the study there is damaged.
    """
    if not os.path.lexists(path):
        return None
    if not path.is_dir():
        raise UsageError(f"{path}: a file is there; give a directory that is new or empty")
    if not (path / RECORD).exists():
        for name in _OURS:
            if os.path.lexists(path / name):
                raise UsageError(
                    f"{path}: holds {name} but no study.json; give a directory that is new or empty"
                )
        return None
    record = read_record(path / RECORD)
    differences = _differences(record, spec, data_hash)
    if differences:
        raise UsageError(f"{path}: holds another study ({differences}); give another directory")
    if record["state"] != "complete":
        raise UsageError(
            f"{path}: holds this study, but {record['state']} and not complete; "
            "remove that directory or give another"
        )
    study = open_study(path)
    study.reused = True
    return study


def _differences(record: Mapping[str, Any], spec: StudySpec, data_hash: str) -> str:
    there, here = record["spec"], spec.to_dict()
    names = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    if not names and record["data_hash"] != data_hash:
        names = ["content of the table"]
    return f"other {', '.join(names)}" if names else ""


class StudyWriter:
    """Writes one study. Every file is written whole under its name, or not at all.

    `add_part` may be called from several threads, for parts in any order.

    Args:
        path: a directory that `find_finished` found free; made if it is missing.
        record: what study.json is to hold from the start; its keys can be extended by `update`.

    Raises:
        UsageError: the directory cannot be written to, or another process has just claimed it.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        """Claim the directory by creating study.json."""
        self.path = path
        self._record = dict(record)
        self._parts: dict[int, dict[str, Any]] = {}
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        try:
            for folder in (path, path / "fits", path / "summary"):
                folder.mkdir(parents=True, exist_ok=True)
            # Exclusive: of two processes that both found the directory free, one gets it.
            with open(path / RECORD, "x", encoding="utf-8") as stream:
                stream.write(json_text(self._record))
        except FileExistsError:
            raise UsageError(
                f"{path}: another process writes a study there; give another directory"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be written ({error.strerror}); give another directory"
            ) from None

    def add_part(self, index: int, condition: str, columns: Mapping[str, Any]) -> None:
        """Write the bootstrap fits of one condition: part `index`, in the order of the plan."""
        name = f"fits/part-{index:05d}.parquet"
        size = write_table(self.path / name, to_table("fits", {"condition": condition, **columns}))
        with self._lock:
            self._parts[index] = {"file": name, "condition": condition, "bytes": size}

    def add_table(self, kind: str, columns: Mapping[str, Any]) -> None:
        """Write one of the small tables, a key of `tables.FILES`."""
        self._sizes[FILES[kind]] = write_table(self.path / FILES[kind], to_table(kind, columns))

    def update(self, **fields: Any) -> None:
        """Set fields of study.json; it is replaced at once."""
        self._record.update(fields)
        write_json(self.path / RECORD, self._record)

    def finish(self, **fields: Any) -> None:
        """Declare the study complete, with the sizes of its files."""
        parts = [self._parts[index] for index in sorted(self._parts)]
        self.update(**fields, state="complete", parts=parts, tables=dict(self._sizes))
