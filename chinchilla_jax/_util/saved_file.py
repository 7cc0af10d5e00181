"""One file that holds a value: a zip archive of a sealed JSON text and of Parquet tables of its arrays.

| member        | contents                                                                       |
|---------------|--------------------------------------------------------------------------------|
| result.json   | format, version, the value, and the SHA-256 of each table; see sealed_json.py    |
| N.parquet     | the arrays of length N, a column each (two-dimensional ones a column per column) |

Nothing in it is executed when it is read. The same value gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.sealed_json import opened_json, sealed_json
from chinchilla_jax._util.text import visible
from chinchilla_jax._util.urls import is_url
from chinchilla_jax._util.validation import require_type

FORMAT, VERSION = "chinchilla-jax result", 1
_JSON = "result.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a member; not the clock, so that bytes are the same
_MOST_BYTES = 2**36
# What reading an archive whose bytes were changed raises.
_BROKEN = (ValueError, TypeError, KeyError, RuntimeError, OSError, EOFError, zipfile.BadZipFile, zlib.error)

Arrays = dict[str, NDArray[Any]]


def write_saved(path: str | os.PathLike[str], value: Any, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write a value that JSON can hold, and its arrays by name; the file appears whole or not at all.

    Raises:
        UsageError: the file cannot be written, or it is none of this machine.
    """
    target = _local(path)
    tables = _tables(arrays)
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in tables.items()}
    fields = {"format": FORMAT, "version": VERSION, "tables": sums, "arrays": shapes, "value": value}
    try:
        with atomic_write(target) as stream, zipfile.ZipFile(stream, "w") as archive:
            for name, content in {_JSON: sealed_json(fields), **tables}.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    except OSError as error:
        raise UsageError(
            f"{visible(str(target))}: cannot be written ({error.strerror}); check the folder"
        ) from None
    return target


def read_saved(path: str | os.PathLike[str]) -> tuple[Any, Arrays]:
    """What `write_saved` was given.

    Raises:
        DataError: the file cannot be read, is another kind of file, is damaged, or is of a later version.
    """
    file, shown = _local(path), visible(str(path))
    try:
        archive = zipfile.ZipFile(file)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error})") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise foreign(path) from None
    with archive:
        try:
            return _read(archive, path)
        except DataError:
            raise
        except _BROKEN as error:
            raise damaged(path, error) from None


def _read(archive: zipfile.ZipFile, path: str | os.PathLike[str]) -> tuple[Any, Arrays]:
    if _JSON not in archive.namelist():
        raise foreign(path)
    if sum(each.file_size for each in archive.infolist()) > _MOST_BYTES:
        raise ValueError("its sizes are too large")
    fields, sealed = opened_json(archive.read(_JSON))
    if not sealed or fields.get("format") != FORMAT:
        raise foreign(path)
    if fields["version"] != VERSION:
        raise DataError(
            f"{visible(str(path))}: saved in format {fields['version']}, and this version reads {VERSION}; "
            "use the version of chinchilla-jax that saved it, or a later one"
        )
    return fields["value"], _arrays(archive, fields)


def foreign(path: str | os.PathLike[str]) -> DataError:
    """The error for a file that is something else."""
    return DataError(
        f"{visible(str(path))}: not a file that `save` of a fit or a bootstrap wrote, or only a part of one"
    )


def damaged(path: str | os.PathLike[str], error: object) -> DataError:
    """The error for a saved file whose contents are not what was saved."""
    said = " ".join(str(error).split())[:80]
    return DataError(f"{visible(str(path))}: damaged since it was saved ({said}); save it again")


def _local(path: str | os.PathLike[str]) -> Path:
    require_type("path", path, (str, os.PathLike), "give the path of a file")
    if is_url(os.fspath(path)):
        raise UsageError(f"{visible(str(path))}: results are saved on this machine; give the path of a file")
    return Path(path).expanduser()


def _tables(arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Arrays of one length share a Parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[int, dict[str, Any]] = {}
    for name, array in arrays.items():
        of_length = columns.setdefault(len(array), {})
        if array.ndim == 1:
            of_length[name] = pa.array(array)
        else:
            for number, column in enumerate(array.reshape(len(array), -1).T):
                of_length[f"{name}[{number}]"] = pa.array(np.ascontiguousarray(column))
    found = {}
    for length, named in columns.items():
        stream = io.BytesIO()
        pq.write_table(pa.table(named), stream)
        found[f"{length}.parquet"] = stream.getvalue()
    return found


def _arrays(archive: zipfile.ZipFile, fields: Mapping[str, Any]) -> Arrays:
    import pyarrow.parquet as pq

    tables = {}
    for name, digest in fields["tables"].items():
        content = archive.read(name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"wrong checksum of {name}")
        tables[name] = pq.read_table(io.BytesIO(content))
    found = {}
    for name, (kind, shape) in fields["arrays"].items():
        table = tables[f"{shape[0]}.parquet"]
        if len(shape) == 1:
            found[name] = np.array(table[name].to_pylist() if kind[1] == "U" else table[name], dtype=kind)
        else:
            width = int(np.prod(shape[1:]))
            parts = [np.asarray(table[f"{name}[{number}]"]) for number in range(width)]
            found[name] = np.array(parts, dtype=kind).T.reshape(shape).copy()
    return found
