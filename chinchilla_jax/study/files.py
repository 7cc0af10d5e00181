"""The files of a study directory, wherever it is: this machine's file system, or what fsspec reaches.

The contract, the same for both:

- `write` leaves the whole content under the name or, whatever happens, what was there before. On the local
  file system the content is on the disk (synced) when the name appears.
- `create` is `write` for a name that does not exist yet; of several who try, one succeeds (local), or the
  last one wins and the others can see it by reading (elsewhere, and where there are no links).
- Names are relative, with "/" between folders, which need not exist. Errors of the system are `OSError`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import errno
import itertools
import os
import re
import socket
from pathlib import Path
from typing import Any

from chinchilla_jax._util.errors import UsageError, short

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_counter = itertools.count()
# What file systems without links answer: FAT, and some that are reached over a network.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file: its size in bytes, and when it was written (seconds since the epoch) where that is known."""

    size: int
    modified: float | None = None


class Directory(abc.ABC):
    """Where a study is kept.

    Attributes:
        location: as the user wrote it, but for "~".
    """

    location: str

    def __str__(self) -> str:
        """The location."""
        return self.location

    def at(self, name: str) -> str:
        """`name` with the location before it, for messages."""
        return f"{self.location.rstrip('/')}/{name}"

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The content; FileNotFoundError where there is none."""

    @abc.abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Put `content` there, whole or not at all."""

    @abc.abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Put `content` there unless something is; returns whether it was done."""

    @abc.abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a file or a folder of this name is there."""

    @abc.abstractmethod
    def entries(self, folder: str) -> dict[str, Entry]:
        """The files of a folder by their name in it; none where there is no such folder."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""

    @abc.abstractmethod
    def tidy(self) -> None:
        """Remove what writers that are dead have left half written."""


class LocalDirectory(Directory):
    """A folder on this machine, or on a file system that it has mounted."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Nothing is looked at yet."""
        self.path = Path(location).expanduser()
        self.location = str(self.path)

    def read(self, name: str) -> bytes:
        """See `Directory`."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See `Directory`."""
        self._put(name, content, os.replace)

    def create(self, name: str, content: bytes) -> bool:
        """See `Directory`."""
        try:
            # A link is the one way to make a whole file appear only where there is none.
            self._put(name, content, os.link)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.exists(name):
                return False
            self.write(name, content)
        return True

    def _put(self, name: str, content: bytes, give_name: Any) -> None:
        try:
            self._put_once(name, content, give_name)
        except FileNotFoundError:
            # Somebody took this process for dead and tidied up: containers can share a host's name.
            self._put_once(name, content, give_name)

    def _put_once(self, name: str, content: bytes, give_name: Any) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{next(_counter)}.{host_name()}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            give_name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def exists(self, name: str) -> bool:
        """See `Directory`."""
        return os.path.lexists(self.path / name)

    def entries(self, folder: str) -> dict[str, Entry]:
        """See `Directory`."""
        found = {}
        try:
            with os.scandir(self.path / folder) as items:
                for item in items:
                    # Another writer's temporary file can vanish between the listing and the look at it.
                    with contextlib.suppress(FileNotFoundError):
                        if item.is_file() and not item.name.startswith("."):
                            status = item.stat()
                            found[item.name] = Entry(status.st_size, status.st_mtime)
        except FileNotFoundError:
            pass
        return found

    def remove(self, name: str) -> None:
        """See `Directory`."""
        (self.path / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Only files of processes of this machine that have ended: a living writer's are its own."""
        for folder in (self.path, self.path / "fits", self.path / "summary"):
            for file in folder.glob(".*.tmp"):
                host, pid = file.name.split(".")[2:4] if file.name.count(".") == 4 else ("", "")
                if host == host_name() and pid.isdigit() and not _alive(int(pid)):
                    file.unlink(missing_ok=True)


class RemoteDirectory(Directory):
    """A place that fsspec reaches by a URL, such as s3://bucket/study or memory://study."""

    def __init__(self, location: str) -> None:
        """Find the file system that the URL names.

        Raises:
            UsageError: fsspec is not installed, or it does not know the URL, or lacks a package for it.
        """
        try:
            import fsspec
        except ImportError:
            raise UsageError(f"{location}: needs fsspec; pip install fsspec, or give a local path") from None
        try:
            self._fs, self._root = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UsageError(f"{short(location, 120)}: cannot be reached ({reason})") from None
        self.location = location

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes:
        """See `Directory`."""
        content: bytes = self._fs.cat_file(self._path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """See `Directory`."""
        # An object appears whole or not at all; where the file system is none of objects, checksums tell.
        with contextlib.suppress(NotImplementedError):
            self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
        self._fs.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """See `Directory`."""
        if self.exists(name):
            return False
        self.write(name, content)
        return True

    def exists(self, name: str) -> bool:
        """See `Directory`."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._path(name)))

    def entries(self, folder: str) -> dict[str, Entry]:
        """See `Directory`."""
        self._fs.invalidate_cache()
        try:
            items = self._fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {
            item["name"].rsplit("/", 1)[1]: Entry(int(item["size"] or 0), _modified(item))
            for item in items
            if item["type"] == "file"
        }

    def remove(self, name: str) -> None:
        """See `Directory`."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def tidy(self) -> None:
        """Nothing: what is not whole has no name."""


def open_directory(location: str | os.PathLike[str]) -> Directory:
    """The directory at a path or URL; nothing is read or made.

    Raises:
        UsageError: a URL that cannot be used, or no place at all.
    """
    text = os.fsdecode(location)
    if not text:
        raise UsageError("directory '': an empty name; give a path (a single dot for this folder) or a URL")
    if isinstance(location, str) and _URL.match(text) and not text.startswith("file://"):
        return RemoteDirectory(text)
    return LocalDirectory(text.removeprefix("file://"))


def _modified(item: dict[str, Any]) -> float | None:
    for name in ("mtime", "LastModified", "updated", "created"):
        value = item.get(name)
        if isinstance(value, int | float):
            return float(value)
        if value is not None and hasattr(value, "timestamp"):
            return float(value.timestamp())
    return None


def host_name() -> str:
    """This machine's name, without what could not stand in a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too; file systems that cannot do that need not."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
