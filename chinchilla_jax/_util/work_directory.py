"""The directory of a long command: what it computes, and the parts that are done.

| file                      | content                                                             |
|---------------------------|---------------------------------------------------------------------|
| <kind>.json               | the record: all that the numbers depend on, with a checksum         |
| <stem>-<checksum>.parquet | a part: a table, and in its metadata the record and a few fields    |

Files appear whole or not at all. A part that is not what its name says is reported and computed again. Since
every part holds the record, a lost or damaged record is restored from any of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.directories import Directory, one_line_disk_errors, open_directory, refuse_no_folder
from chinchilla_jax._util.errors import DataError, DataWarning, UsageError
from chinchilla_jax._util.part_files import DamagedPartError, PartFiles, read_sound
from chinchilla_jax._util.record_differences import record_differences
from chinchilla_jax._util.sealed_json import is_sealed_json, opened_json, sealed_json
from chinchilla_jax._util.user_warning import warn_user

if TYPE_CHECKING:
    import pyarrow as pa

Record = Mapping[str, Any]
_METADATA = b"chinchilla_jax"


class WorkDirectory:
    """The parts of one computation in one directory, which is new, empty, or holds the same computation.

    Several processes may write to it: they compute the same.

    Attributes:
        directory: the files.
        parts: the files of the parts.
        record: of the directory.
        sealed: whether the record carries a checksum; False for a directory of version 0.1.

    Args:
        location: a path or URL.
        kind: of the computation, "coverage" or "breakdown"; it names the record.
        record: all that the numbers depend on, as JSON values.
        stems: a regular expression of the stems of parts.
        rounded: fields of the record that are compared up to rounding, see `record_differences`.
        accepted: values of fields that a directory may have in place of those of `record`; it keeps them.

    Raises:
        UsageError: the location holds something else.
        DataError: its record is damaged, and no part says what it was.
        ChinchillaError: it cannot be written.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        kind: str,
        record: Record,
        *,
        stems: str,
        rounded: Collection[str] = (),
        accepted: Mapping[str, Collection[Any]] | None = None,
    ) -> None:
        """Claim the directory."""
        self.directory = open_directory(location)
        self.parts = parts_in(self.directory, stems)
        self.sealed = True
        self._kind, self._name, self._rounded = kind, f"{kind}.json", rounded
        self._accepted = accepted
        self.record = record
        with self.one_line_errors():
            refuse_no_folder(self.directory)
            self.directory.clean_up()
            self.record = self._claimed()
            self._files = self.parts.files()

    @contextlib.contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Replace an error of the file system inside a `with` block by one line that says what to do."""
        with one_line_disk_errors(self.directory):
            yield

    def stems(self) -> list[str]:
        """The stems of the parts that were there at the start or were written since."""
        return list(self._files)

    def read(self, stem: str) -> tuple[pa.Table, dict[str, Any]] | None:
        """The table and the fields of a part; None if there is none.

        Warns:
            DataWarning: the part is damaged, or of another computation; it is removed.
        """
        if stem not in self._files:
            return None
        name = self._files[stem][0]
        try:
            table, record, fields = read_part(self.parts, name)
            if not record_differences(record, self.record, self._rounded):
                return table, fields
            reason = "of another computation"
        except DamagedPartError:
            reason = "damaged"
        warn_user(f"{self.directory.at(name)}: {reason}, will be recomputed", DataWarning)
        self.remove(stem)
        return None

    def write(self, stem: str, columns: Mapping[str, Any], fields: Record) -> None:
        """Write a part: columns of one length, and fields that are JSON values."""
        content = _part_bytes(columns, {"record": self.record, "fields": fields})
        with self.one_line_errors():
            self.parts.write(stem, content)
            self._files = self.parts.files()

    def remove(self, stem: str) -> None:
        """Remove a part, if it is there."""
        if stem in self._files:
            with self.one_line_errors():
                self.directory.remove(self._files.pop(stem)[0])

    def _claimed(self) -> Record:
        """The record of the directory, which gets one if it has none."""
        try:
            content = read_sound(self.directory, self._name, is_sealed_json)
        except FileNotFoundError:
            content = None
        there: Record | None = None
        damage = "missing"
        if content is not None:
            try:
                there, self.sealed = opened_json(content)
                damage = ""
            except ValueError as error:
                damage = " ".join(str(error).split())[:80]
        if there is None:
            there = self._record_of_parts()
            if there is None:
                self._refuse_other_content(content, damage)
                there = self.record
        found = record_differences(there, self.record, self._rounded, self._accepted)
        if found:
            raise UsageError(
                f"{self.directory} holds another {self._kind} run ({'; '.join(found)}); give another "
                "directory, or its settings"
            )
        if damage:
            if content is not None:
                text = f"{self.directory.at(self._name)}: damaged ({damage}), and written again"
                warn_user(text, DataWarning)
            self.directory.write(self._name, sealed_json(there))
        return there

    def _record_of_parts(self) -> Record | None:
        """The record in the first part that is whole."""
        for name, _ in self.parts.files().values():
            with contextlib.suppress(DamagedPartError):
                return read_part(self.parts, name)[1]
        return None

    def _refuse_other_content(self, content: bytes | None, damage: str) -> None:
        """Refuse to write a record into a directory that may be another's."""
        others = self.directory.entries() - {self._name}
        damaged_parts = {name for name, _ in self.parts.files().values()}
        if content is None and others - damaged_parts:
            raise UsageError(
                f"{self.directory} is not empty and holds no {self._kind} run; give another directory"
            )
        ours = content is None or not content.strip(b"\0 \n") or b'"kind"' in content
        if others - damaged_parts or not ours:
            raise DataError(
                f"{self.directory.at(self._name)}: damaged ({damage}), and no part beside it says what was "
                "computed; remove the directory, or give another"
            )


def parts_in(directory: Directory, stems: str) -> PartFiles:
    """The parts in a directory of a long command, by a regular expression of their stems."""
    remedy = "run the same command again into the directory"
    return PartFiles(directory, "", stems, ".parquet", what="part", remedy=remedy)


def read_part(parts: PartFiles, name: str) -> tuple[pa.Table, Record, dict[str, Any]]:
    """The table, the record and the fields of a part.

    Raises:
        DamagedPartError: it is not what its name says.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(io.BytesIO(parts.read(name))) as file:
        table = file.read(use_threads=False)
    kept = json.loads(table.schema.metadata[_METADATA])
    return table.replace_schema_metadata(None), kept["record"], kept["fields"]


def _part_bytes(columns: Mapping[str, Any], kept: Record) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns)).replace_schema_metadata({_METADATA: json.dumps(kept).encode()})
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue().to_pybytes()
