"""A directory of files that belong together, on this machine or wherever fsspec reaches; of a study, say.

The contract, the same for both:

- `write` leaves the whole content under the name or, whatever happens, what was there before. On the local
  file system the content is on the disk (synced) when the name appears.
- `create` is `write` for a name that does not exist yet. Of several writers, one succeeds (local), or the
  last one wins and the others can see that by reading (elsewhere, and on file systems without links).
- Names are relative, with "/" between folders, which need not exist. Errors of the system are `OSError`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chinchilla_jax._util.atomic_write import exclusive_file
from chinchilla_jax._util.errors import ChinchillaError, UsageError, short
from chinchilla_jax._util.processes import host_name, is_alive

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Errors of file systems without links: FAT (EINVAL on Windows), and some network file systems.
_NO_LINKS = {errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextlib.contextmanager
def one_line_disk_errors(directory: Directory) -> Iterator[None]:
    """Replace an error of the file system by one line that says what to do.

    Raises:
        ChinchillaError: in place of the `OSError`.
    """
    try:
        yield
    except (ChinchillaError, ConnectionError):
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:160]
        raise ChinchillaError(
            f"{directory}: cannot be written ({reason}); everything written so far is kept: fix that and "
            "rerun the same command to resume"
        ) from error


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
        """Write `content`, whole or not at all."""

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
    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    @abc.abstractmethod
    def clean_up(self, folders: Sequence[str] = ()) -> None:
        """Remove the temporary files of writers that have died, here and in these folders."""


class LocalDirectory(Directory):
    """A folder on this machine, or on a file system that it has mounted."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Keep the path; nothing is read yet."""
        self.path = Path(location).expanduser()
        self.location = str(self.path)

    def read(self, name: str) -> bytes:
        """See `Directory`."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See `Directory`."""
        self._write(name, content, os.replace)

    def create(self, name: str, content: bytes) -> bool:
        """See `Directory`."""
        try:
            # A link is the only way to make a whole file appear if and only if the name is free.
            self._write(name, content, os.link)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.exists(name):
                return False
            self.write(name, content)
        return True

    def _write(self, name: str, content: bytes, give_name: Any) -> None:
        try:
            self._write_once(name, content, give_name)
        except FileNotFoundError:
            # Another process took this one for dead and cleaned up: containers can share a host name.
            self._write_once(name, content, give_name)

    def _write_once(self, name: str, content: bytes, give_name: Any) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Who wrote it is in the name, so that `clean_up` knows what a dead process left.
        temporary, stream = exclusive_file(path.parent, ".", f".{host_name()}.{os.getpid()}.tmp")
        try:
            with stream:
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

    def list_files(self, folder: str) -> dict[str, FileInfo]:
        """See `Directory`."""
        found = {}
        try:
            with os.scandir(self.path / folder) as items:
                for item in items:
                    # Another writer's temporary file can vanish after it was listed.
                    with contextlib.suppress(FileNotFoundError):
                        if item.is_file() and not item.name.startswith("."):
                            status = item.stat()
                            found[item.name] = FileInfo(status.st_size, status.st_mtime)
        except FileNotFoundError:
            pass
        return found

    def remove(self, name: str) -> None:
        """See `Directory`."""
        (self.path / name).unlink(missing_ok=True)

    def clean_up(self, folders: Sequence[str] = ()) -> None:
        """Remove temporary files of processes of this machine that have ended."""
        for folder in (self.path, *(self.path / name for name in folders)):
            for file in folder.glob(".*.tmp"):
                host, pid = file.name.split(".")[2:4] if file.name.count(".") == 4 else ("", "")
                if host == host_name() and pid.isdigit() and not is_alive(int(pid)):
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
        # An object appears whole or not at all; on other remote file systems, checksums tell.
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

    def list_files(self, folder: str) -> dict[str, FileInfo]:
        """See `Directory`."""
        self._fs.invalidate_cache()
        try:
            items = self._fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {
            item["name"].rsplit("/", 1)[1]: FileInfo(int(item["size"] or 0), _modified(item))
            for item in items
            if item["type"] == "file"
        }

    def remove(self, name: str) -> None:
        """See `Directory`."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def clean_up(self, folders: Sequence[str] = ()) -> None:
        """Nothing to do: a partial upload has no name."""


def open_directory(location: str | os.PathLike[str]) -> Directory:
    """The directory at a path or URL; nothing is read or created.

    Raises:
        UsageError: an empty name, or a URL that cannot be used.
    """
    text = os.fsdecode(location)
    if not text:
        raise UsageError(
            "directory '': the name is empty; give a path (a single dot for this folder) or a URL"
        )
    if isinstance(location, str) and _URL.match(text) and not text.startswith("file://"):
        return RemoteDirectory(text)
    return LocalDirectory(text.removeprefix("file://"))


def open_file(location: str | os.PathLike[str]) -> tuple[Directory, str]:
    """The directory of a file at a path or URL, and the file's name; nothing is read or created.

    Raises:
        UsageError: an empty name, or a URL that cannot be used.
    """
    text = os.fsdecode(location)
    if isinstance(open_directory(text), LocalDirectory):
        path = Path(text.removeprefix("file://")).expanduser()
        return LocalDirectory(path.parent), path.name
    folder, _, name = text.rpartition("/")
    if not name or folder.endswith("/"):
        raise UsageError(f"{short(text, 120)}: no name of a file; give one after the last slash")
    return open_directory(folder), name


def _modified(item: dict[str, Any]) -> float | None:
    for name in ("mtime", "LastModified", "updated", "created"):
        value = item.get(name)
        if isinstance(value, int | float):
            return float(value)
        if value is not None and hasattr(value, "timestamp"):
            return float(value.timestamp())
    return None


def _sync_folder(folder: Path) -> None:
    """Sync the new name to the disk too, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
