"""study.json: the record of a study directory, with a checksum of itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.directories import Directory, LocalDirectory
from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax._util.part_files import checksum, read_checked, read_sound
from chinchilla_jax._util.sealed_json import SEAL, is_sealed_json, opened_json, seal, sealed_json
from chinchilla_jax.study.chunks import ResampleRange
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.record_schema import check_record
from chinchilla_jax.study.storage.tables import REPAIR, torn

RECORD = "study.json"
FORMAT = 2
_REMEDY = (
    "restore it, or remove this file and run the study again into the same directory, which keeps its chunks"
)
_UNSEALED = 1  # the format before the record carried a checksum


def read_record(directory: Directory) -> dict[str, Any]:
    """The content of a study.json; of an earlier version too.

    Raises:
        FileNotFoundError: there is none.
        DataError: torn, changed since it was written, or not the record of a study.
        UsageError: the directory is a file.
    """
    where = directory.at(RECORD)
    try:
        content = read_sound(directory, RECORD, is_sealed_json)
        record, sealed = opened_json(content)
    except (FileNotFoundError, ChinchillaError):
        raise
    except NotADirectoryError:
        raise UsageError(
            f"{directory.location}: not a directory; give the directory that a study was written to (of a "
            "table, chinchilla-jax report writes the page)"
        ) from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:120]
        raise DataError(f"{where}: cannot be read ({reason}); fix that, or give another directory") from None
    except ValueError as error:
        raise _damaged(where, error) from None
    written = record.get("format")
    if isinstance(written, bool) or written not in (_UNSEALED, FORMAT):
        raise DataError(
            f"{where}: not the record of a study that this version reads (format {FORMAT}); "
            "open it with the version that wrote it"
        )
    try:
        if written != _UNSEALED and not sealed:
            raise ValueError("no checksum")
        whole = _checksum_if_whole(content)
    except ValueError as error:
        raise _damaged(where, error) from None
    return record | ({SEAL: whole} if sealed else {})


@functools.lru_cache(maxsize=2)  # a record is read several times in a row, and some are long
def _checksum_if_whole(content: bytes) -> str:
    """What `seal` gives for the fields of a record, which are as `check_record` wants them."""
    record, _ = opened_json(content)
    check_record(record)
    return seal(record)


def _damaged(where: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    reason = reason if reason.isprintable() else ascii(reason)
    return DataError(f"{where}: torn or not what was written ({reason}); {_REMEDY}")


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """`record` in the present format, as JSON, one field to a line and its checksum last."""
    fields = {name: value for name, value in record.items() if name != SEAL}
    return sealed_json(fields | {"format": FORMAT})


def write_record(directory: Directory, record: Mapping[str, Any]) -> None:
    """Replace study.json, atomically."""
    directory.write(RECORD, record_bytes(record))


def record_ranges(record: Mapping[str, Any]) -> tuple[ResampleRange, ...]:
    """The ranges of resamples in a record."""
    return tuple(ResampleRange(first, stop) for first, stop in record["blocks"])


def record_spec(directory: Directory, record: Mapping[str, Any]) -> StudySpec:
    """The spec in a record.

    Raises:
        DataError: this version cannot use it.
    """
    try:
        return StudySpec.from_record(record["spec"])
    except UsageError as error:
        version = record["versions"].get("chinchilla_jax", "?")
        raise DataError(
            f"{directory.at(RECORD)}: its spec cannot be used ({error}); written by chinchilla_jax {version}"
        ) from None


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
        f"{folder}/{name}" if folder else name: info.size
        for folder in sorted({name.rpartition("/")[0] for name in sizes})
        for name, info in directory.list_files(folder).items()
    }
    for name, size in sizes.items():
        if name not in found:
            raise DataError(f"{directory.at(name)}: missing; {REPAIR}")
        if found[name] != size:
            raise torn(directory.at(name), ValueError(f"{found[name]} bytes, {size} were written"))


def changed_tables(directory: Directory, record: Mapping[str, Any]) -> list[str]:
    """The tables of a finished study that are missing or not as they were written."""
    found = []
    for name, expected in record["checksums"].items():
        try:
            if checksum(read_checked(directory, name, expected)) == expected:
                continue
        except FileNotFoundError:
            pass
        found.append(name)
    return found
