"""Chunks on disk: one immutable Parquet file each, whose name tells whether it is whole.

A file is called fits/part-<condition>-<first resample>-<key>-<checksum>.parquet. The key is a hash of
everything that the numbers depend on, the checksum one of the bytes of the file. So the name alone says
whether a chunk is there, belongs to this study, and is whole. Two writers of one chunk write one file.

The point fits of the condition, and what else a summary needs, are in the file's metadata, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.directories import Directory, FileInfo
from chinchilla_jax._util.part_files import DamagedPartError, PartFiles
from chinchilla_jax.laws.scaling_law import PARAMETERS
from chinchilla_jax.solvers.status import STATUS_NAMES
from chinchilla_jax.study.chunks import Chunk, ResampleRange
from chinchilla_jax.study.storage.record_schema import check_chunk
from chinchilla_jax.study.storage.tables import (
    DictionaryColumn,
    columns_of,
    fits_bytes,
    parse_table,
    to_table,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from chinchilla_jax.study.execution.jobs import ChunkResult

FOLDER = "fits"
_METADATA = b"chinchilla_jax"
_STEMS = r"part-\d{5,}-\d{10,}-[0-9a-f]{16}"
_VALUE = "objective_value"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkRecord:
    """What a chunk's file holds beside its fits.

    Attributes:
        condition: id.
        resamples: the range.
        n_runs: runs that were fitted.
        points: rows of the point table, one per objective.
        notes: sentences about what went wrong with the condition.
        versions: of Python and the libraries that computed it.
        made_on: the instruction set that computed it; "" in files of earlier versions.
        status_counts: fits by status, without those that do not occur.
        units: `Design.units` of the runs that were fitted; None under the five-parameter law.
    """

    condition: str
    resamples: ResampleRange
    n_runs: int
    points: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    made_on: str
    status_counts: Mapping[str, int]
    units: tuple[float, ...] | None = None


def record_of(chunk: Chunk, result: ChunkResult, parameters: Sequence[str] = PARAMETERS) -> ChunkRecord:
    """What the file of a chunk says beside its fits."""
    numbers = (*parameters, _VALUE)
    return ChunkRecord(
        condition=chunk.condition.id,
        resamples=chunk.resamples,
        n_runs=result.n_runs,
        points=tuple(dict(row) | {name: float(row[name]) for name in numbers} for row in result.points),
        notes=tuple(result.notes),
        versions=dict(result.versions),
        made_on=result.made_on,
        status_counts={name: count for name, count in sorted(result.status_counts().items()) if count},
        units=None if result.units is None else tuple(result.units),
    )


def encode(chunk: Chunk, result: ChunkResult, parameters: Sequence[str] = PARAMETERS) -> bytes:
    """The file of a chunk; the same result gives the same bytes (with the same version of pyarrow)."""
    record = record_of(chunk, result, parameters)
    numbers = (*parameters, _VALUE)
    fields = {
        "condition": record.condition,
        "block": [record.resamples.first, record.resamples.stop],
        "n_runs": record.n_runs,
        # JSON has no NaN, and the repr of a float is read back to the same bits.
        "points": [dict(row) | {name: repr(row[name]) for name in numbers} for row in record.points],
        "notes": list(record.notes),
        "versions": dict(record.versions),
        "numerics": chunk.numerics,
        "made_on": record.made_on,
        "status_counts": dict(record.status_counts),
    }
    if record.units is not None:
        fields["units"] = list(record.units)
    codes = result.fits["status"]
    columns = {
        **result.fits,
        "condition": DictionaryColumn(np.zeros_like(codes), [chunk.condition.id]),
        "status": DictionaryColumn(codes, STATUS_NAMES),
    }
    return fits_bytes(to_table("fits", columns, parameters), {_METADATA: json.dumps(fields).encode()})


def decode(table: pa.Table, parameters: Sequence[str] = PARAMETERS) -> ChunkRecord:
    """The record in the metadata of a chunk's table, under a law with these parameters.

    Raises:
        ValueError: there is none, or it is not like this; the text is one line.
    """
    try:
        fields = json.loads((table.schema.metadata or {}).get(_METADATA, b"null"))
        check_chunk(fields)
        numbers = (*parameters, _VALUE)
        rows = [row | {name: float(row[name]) for name in numbers} for row in fields["points"]]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return ChunkRecord(
        condition=fields["condition"],
        resamples=ResampleRange(*fields["block"]),
        n_runs=fields["n_runs"],
        points=tuple(rows),
        notes=tuple(fields["notes"]),
        versions=fields["versions"],
        made_on=fields.get("made_on", ""),
        status_counts=fields["status_counts"],
        units=tuple(fields["units"]) if "units" in fields else None,
    )


class ChunkStore:
    """The chunks of one study in one directory. May be used from several threads, processes and machines.

    Args:
        directory: of the study.
        chunks: all chunks of the study.
        parameters: of its law.
    """

    def __init__(
        self, directory: Directory, chunks: Sequence[Chunk], parameters: Sequence[str] = PARAMETERS
    ) -> None:
        """Nothing is read yet."""
        self.directory = directory
        self.chunks = chunks
        self.parameters = tuple(parameters)
        self._parts = PartFiles(
            directory,
            FOLDER,
            _STEMS,
            ".parquet",
            what="chunk",
            remedy="run the study again into the same directory",
        )

    def names(self) -> dict[Chunk, str]:
        """The chunks that are there, with the names of their files."""
        return {chunk: name for chunk, (name, _) in self.files().items()}

    def files(self) -> dict[Chunk, tuple[str, FileInfo]]:
        """The chunks that are there, each with the name, size and time of its file."""
        found = self._parts.files()
        return {chunk: found[chunk.stem] for chunk in self.chunks if chunk.stem in found}

    def superfluous(self, used: Container[str] | None = None) -> list[str]:
        """Files of chunks that this study does not use; files that are not chunks are ignored.

        Args:
            used: the names of `files`, where they are known.
        """
        ours = set(self.names().values()) if used is None else used
        names = (f"{FOLDER}/{name}" for name in self.directory.list_files(FOLDER))
        return [name for name in names if name not in ours and self.named_checksum(name)]

    def first_resamples(self) -> list[int]:
        """Where the ranges of the chunks begin that are there, of whatever study."""
        return sorted({int(stem.split("-")[2]) for stem in self._parts.files()})

    def named_checksum(self, name: str) -> str | None:
        """The checksum in the name of a chunk's file; None for any other name."""
        return self._parts.named_checksum(name)

    def write(self, chunk: Chunk, content: bytes) -> str:
        """Write a chunk, encoded; returns the name of its file."""
        return self._parts.write(chunk.stem, content)

    def is_whole(self, name: str) -> bool:
        """Whether the content of a chunk is what its name says."""
        try:
            self._parts.read(name)
        except DamagedPartError:
            return False
        return True

    def record(self, name: str) -> ChunkRecord | None:
        """The record of a chunk; None if its content is not what its name says."""
        try:
            return self.read(name)[1]
        except DamagedPartError:
            return None

    def read(self, name: str) -> tuple[pa.Table, ChunkRecord]:
        """The fits and the record of a chunk.

        Raises:
            DamagedPartError: the content is not what the name says, or no chunk.
        """
        where, content = self.directory.at(name), self._parts.read(name)
        try:
            table = parse_table(where, content)
            record = decode(table, self.parameters)
            columns = list(columns_of("fits", self.parameters))
            if table.column_names != columns or len(table) != len(record.resamples):
                raise ValueError("not the fits of a chunk")
        except ValueError as error:  # nobody's disk: the checksum is right
            raise DamagedPartError(f"{where}: no chunk of a study ({error}); remove it") from None
        return table, record
