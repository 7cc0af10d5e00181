"""Parts of a long computation: immutable files whose names tell whether they are whole.

A file is called <stem>-<checksum><suffix>. The stem says which part it is, the checksum is one of the bytes
of the file. So whatever happens to a disk, a part is there and as it was written, or it is not there. Two
writers of one part write one file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from chinchilla_jax._util.directories import Directory, FileInfo
from chinchilla_jax._util.errors import DataError

_LOOKS = 3  # after the first, at a file that looks damaged and each time otherwise


class DamagedPartError(DataError):
    """A file whose content is not what its name says."""


def checksum(content: bytes) -> str:
    """32 hex digits of SHA-256 (128 bits)."""
    return hashlib.sha256(content).hexdigest()[:32]


def read_sound(directory: Directory, name: str, is_sound: Callable[[bytes], bool]) -> bytes:
    """The content of a file; damaged only if it is so twice in a row, or however often it is read.

    What differs from one reading to the next is the connection's fault and not the file's.

    Raises:
        FileNotFoundError: there is no such file.
    """
    content = directory.read(name)
    for _ in range(_LOOKS):
        if is_sound(content):
            break
        before, content = content, directory.read(name)
        if content == before:
            break
    return content


def read_checked(directory: Directory, name: str, expected: str | None) -> bytes:
    """The content of a file, with this checksum if it has one: see `read_sound`."""
    return read_sound(directory, name, lambda content: expected in (None, checksum(content)))


class PartFiles:
    """The parts in one folder of a directory. May be used from several threads, processes and machines.

    Args:
        directory: that holds the folder.
        folder: its name in the directory, "" for the directory itself.
        stems: a regular expression of the stems.
        suffix: of the files, such as ".parquet".
        what: a part, in messages.
        remedy: what to do about a damaged one, in messages.
    """

    def __init__(
        self, directory: Directory, folder: str, stems: str, suffix: str, *, what: str, remedy: str
    ) -> None:
        """Nothing is read yet."""
        self.directory, self.suffix = directory, suffix
        self._folder, self._what, self._remedy = folder, what, remedy
        self._name = re.compile(rf"({stems})-([0-9a-f]{{32}}){re.escape(suffix)}")

    def files(self) -> dict[str, tuple[str, FileInfo]]:
        """The parts that are there by their stems, each with the name, size and time of its file."""
        found: dict[str, tuple[str, FileInfo]] = {}
        for name, info in sorted(self.directory.list_files(self._folder).items()):
            match = self._name.fullmatch(name)
            if match:
                # Two machines may have computed the same part to other bits: every reader takes the first.
                found.setdefault(match[1], (self._path(name), info))
        return found

    def named_checksum(self, name: str) -> str | None:
        """The checksum in the name of a part; None for any other name."""
        match = self._name.fullmatch(name.removeprefix(f"{self._folder}/"))
        return match[2] if match else None

    def write(self, stem: str, content: bytes) -> str:
        """Write a part; returns the name of its file."""
        name = self._path(f"{stem}-{checksum(content)}{self.suffix}")
        self.directory.write(name, content, checked_later=True)
        return name

    def read(self, name: str) -> bytes:
        """The content of a part.

        Raises:
            DamagedPartError: it is not what the name says.
        """
        try:
            content = read_checked(self.directory, name, self.named_checksum(name))
        except FileNotFoundError:
            content = None
        if content is None or checksum(content) != self.named_checksum(name):
            what = "is missing" if content is None else f"is damaged ({len(content):,} bytes, wrong checksum)"
            raise DamagedPartError(
                f"{self.directory.at(name)}: this {self._what} {what}; {self._remedy} to recompute it"
            )
        return content

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name
