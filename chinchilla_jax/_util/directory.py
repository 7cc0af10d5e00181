"""The contract of places that hold files which belong together, such as those of a study.

- `write` leaves the whole content under the name or, whatever happens, what was there before. On the local
  file system the content is on the disk (synced) when the name appears; what went through a connection is
  read back and compared.
- `create` is `write` for a name that does not exist yet. Of several writers, one succeeds (local, and object
  stores that know conditional writes), or the last one wins and the others can see that by reading
  (elsewhere, and on file systems without links).
- Names are relative, with "/" between folders, which need not exist. Errors of the system are `OSError`;
  those of a server, after a few attempts, one line: `UsageError` where credentials, the URL or a package are
  at fault, `ServerError` where the same call may succeed later.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """A file: its size in bytes, and when it was written (seconds since the epoch) where that is known."""

    size: int
    modified: float | None = None


class Directory(abc.ABC):
    """A place that holds the files of a study, or of another command that resumes.

    Attributes:
        location: as the user wrote it, with "~" expanded.
    """

    location: str

    def __str__(self) -> str:
        """The location, for messages: without passwords."""
        return self.location

    def at(self, name: str) -> str:
        """`name` with the location before it, for messages."""
        return f"{str(self).rstrip('/')}/{name}"

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The content; FileNotFoundError where there is none."""

    @abc.abstractmethod
    def write(self, name: str, content: bytes, *, checked_later: bool = False) -> None:
        """Write `content`, whole or not at all.

        Args:
            name: of the file, which is replaced if it exists.
            content: all of it.
            checked_later: whether the content is compared with a checksum when it is read, so that it need
                not be read back here, where a connection could have changed it.
        """

    @abc.abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write `content` unless the name exists; returns whether it was written."""

    @abc.abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is a file or a folder of this name."""

    @abc.abstractmethod
    def list_files(self, folder: str) -> dict[str, FileInfo]:
        """The files of a folder by their name in it; empty if there is no such folder."""

    @abc.abstractmethod
    def entries(self) -> set[str]:
        """Names of the files and folders in it, without hidden ones; empty if it is not there."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def each(self, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        """The results of a function that reads files here, for every item and in their order.

        A disk reads one file at a time; a server is asked for several at once.
        """
        return map(function, items)

    @abc.abstractmethod
    def clean_up(self, folders: Sequence[str] = ()) -> None:
        """Remove the temporary files of writers that have died, here and in these folders."""
