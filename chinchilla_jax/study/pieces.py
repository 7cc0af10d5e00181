"""Pieces on disk: one Parquet file each, immutable, that can be told from a damaged one by its name.

A file is called fits/part-<condition>-<first resample>-<key>-<checksum>.parquet. The key is a hash of all
that the numbers depend on, the checksum one of the bytes of the file. So nobody needs to ask whether a piece
is there, is this study's, and is whole: the name says it. Two writers of one piece write one file.

The point fits of the condition, and what else a summary needs, are in the file's metadata, as JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.laws.scaling_law import PARAMETERS
from chinchilla_jax.solvers.status import STATUS_NAMES
from chinchilla_jax.study.files import Directory, Entry
from chinchilla_jax.study.plan import Block, Piece
from chinchilla_jax.study.tables import Words, fits_bytes, parse_table, to_table

if TYPE_CHECKING:
    import pyarrow as pa

    from chinchilla_jax.study.work import PieceResult

FOLDER = "fits"
_METADATA = b"chinchilla_jax"
_NAME = re.compile(r"(part-\d{5,}-\d{10,}-[0-9a-f]{16})-([0-9a-f]{32})\.parquet")
_NUMBERS = (*PARAMETERS, "objective_value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PieceRecord:
    """What a piece says beside its fits.

    Attributes:
        condition: id.
        block: of resamples.
        n_runs: runs that were fitted.
        points: rows of the point table, one per objective.
        notes: sentences about what went wrong with the condition.
        versions: of Python and the libraries that computed it.
        status_counts: fits by status, without those that do not occur.
    """

    condition: str
    block: Block
    n_runs: int
    points: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    status_counts: Mapping[str, int]


class DamagedPieceError(DataError):
    """A file whose content is not what its name says."""


def checksum(content: bytes) -> str:
    """32 hex digits of SHA-256 (128 bits)."""
    return hashlib.sha256(content).hexdigest()[:32]


def named_checksum(name: str) -> str | None:
    """The checksum in the name of a piece's file; None if it is no such name."""
    match = _NAME.fullmatch(name.removeprefix(f"{FOLDER}/"))
    return match[2] if match else None


def encode(piece: Piece, result: PieceResult) -> bytes:
    """The file of a piece; the same result gives the same bytes (with the same version of pyarrow)."""
    record = {
        "condition": piece.condition.id,
        "block": [piece.block.first, piece.block.stop],
        "n_runs": result.n_runs,
        # JSON has no NaN, and the repr of a float is read back to the same bits.
        "points": [dict(row) | {name: repr(float(row[name])) for name in _NUMBERS} for row in result.points],
        "notes": list(result.notes),
        "versions": dict(result.versions),
        "status_counts": {name: count for name, count in sorted(result.status_counts().items()) if count},
    }
    codes = result.fits["status"]
    columns = {
        **result.fits,
        "condition": Words(np.zeros_like(codes), [piece.condition.id]),
        "status": Words(codes, STATUS_NAMES),
    }
    return fits_bytes(to_table("fits", columns), {_METADATA: json.dumps(record).encode()})


def decode(table: pa.Table) -> PieceRecord:
    """The record in the metadata of a piece's table."""
    fields = json.loads(table.schema.metadata[_METADATA])
    points = tuple(row | {name: float(row[name]) for name in _NUMBERS} for row in fields["points"])
    return PieceRecord(
        **fields | {"points": points, "block": Block(*fields["block"]), "notes": tuple(fields["notes"])}
    )


class PieceStore:
    """The pieces of one plan in one directory. May be used from several threads, processes and machines.

    Args:
        directory: of the study.
        pieces: of its plan.
    """

    def __init__(self, directory: Directory, pieces: Sequence[Piece]) -> None:
        """Nothing is read yet."""
        self.directory = directory
        self.pieces = pieces

    def names(self) -> dict[Piece, str]:
        """The pieces of the plan that are there, with the names of their files."""
        return {piece: name for piece, (name, _) in self.entries().items()}

    def entries(self) -> dict[Piece, tuple[str, Entry]]:
        """The pieces of the plan that are there, each with its file's name and entry."""
        found: dict[str, tuple[str, Entry]] = {}
        for name, entry in sorted(self.directory.entries(FOLDER).items()):
            match = _NAME.fullmatch(name)
            if match:
                # Another machine's bits of the same piece: the first by name stands, for every reader.
                found.setdefault(match[1], (f"{FOLDER}/{name}", entry))
        return {piece: found[piece.stem] for piece in self.pieces if piece.stem in found}

    def others(self) -> list[str]:
        """Pieces in the folder that are none of this plan; files that are no pieces are nobody's business."""
        ours = set(self.names().values())
        names = (f"{FOLDER}/{name}" for name in self.directory.entries(FOLDER))
        return [name for name in names if named_checksum(name) and name not in ours]

    def put(self, piece: Piece, result: PieceResult) -> str:
        """Write a piece; returns the name of its file."""
        content = encode(piece, result)
        name = f"{FOLDER}/{piece.stem}-{checksum(content)}.parquet"
        self.directory.write(name, content)
        return name

    def check(self, name: str) -> None:
        """Compare the content of a piece with its name.

        Raises:
            DamagedPieceError: they do not agree.
        """
        self._read(name)

    def load(self, name: str) -> tuple[pa.Table, PieceRecord]:
        """The fits and the record of a piece.

        Raises:
            DamagedPieceError: the content is not what the name says.
        """
        table = parse_table(self.directory.at(name), self._read(name))
        return table, decode(table)

    def _read(self, name: str) -> bytes:
        try:
            content = self.directory.read(name)
        except FileNotFoundError:
            content = None
        if content is None or checksum(content) != named_checksum(name):
            what = (
                "is missing" if content is None else f"was damaged ({len(content):,} bytes, wrong checksum)"
            )
            raise DamagedPieceError(
                f"{self.directory.at(name)}: this piece {what}; run the study again into the same directory "
                "and it is computed anew"
            )
        return content
