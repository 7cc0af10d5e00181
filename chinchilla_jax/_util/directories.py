"""The directory at a path or URL, and the files of one on this machine's file system."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chinchilla_jax._util.atomic_write import remove_left_behind, replace_by, written_aside
from chinchilla_jax._util.directory import Directory, FileInfo
from chinchilla_jax._util.errors import ChinchillaError, UsageError, short
from chinchilla_jax._util.remote_directory import RemoteDirectory
from chinchilla_jax._util.system import cannot_link, link, open_flags, sync_folder
from chinchilla_jax._util.urls import is_url, without_secrets

__all__ = ["Directory", "FileInfo", "LocalDirectory", "one_line_disk_errors", "open_directory", "open_file"]


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


class LocalDirectory(Directory):
    """A folder on this machine, or on a file system that it has mounted."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Keep the path; nothing is read yet."""
        self.path = Path(location).expanduser()
        self.location = str(self.path)

    def read(self, name: str) -> bytes:
        """See `Directory`."""
        path = self.path / name
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            return stream.read()

    def write(self, name: str, content: bytes, *, checked_later: bool = False) -> None:
        """See `Directory`."""
        self._write(replace_by, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """See `Directory`."""
        try:
            # A link is the only way to make a whole file appear if and only if the name is free.
            self._write(_link_to, name, content)
        except FileExistsError:
            return False
        except OSError as error:
            if not cannot_link(error):
                raise
            if self.exists(name):
                return False
            self.write(name, content)
        return True

    def _write(self, put: Callable[[Path, bytes], None], name: str, content: bytes) -> None:
        path = self.path / name
        try:
            put(path, content)
        except FileNotFoundError:
            # The first file of a folder; or another process took this one for dead and cleaned up, since
            # containers can share a host name.
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, content)
        sync_folder(path.parent)

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

    def entries(self) -> set[str]:
        """See `Directory`."""
        try:
            return {name for name in os.listdir(self.path) if not name.startswith(".")}
        except FileNotFoundError:
            return set()

    def remove(self, name: str) -> None:
        """See `Directory`."""
        (self.path / name).unlink(missing_ok=True)

    def clean_up(self, folders: Sequence[str] = ()) -> None:
        """Remove temporary files of processes of this machine that have ended."""
        for folder in (self.path, *(self.path / name for name in folders)):
            remove_left_behind(folder)


def _link_to(path: Path, content: bytes) -> None:
    """Give `path` this content, if and only if that name is free."""
    with written_aside(path, link) as stream:
        stream.write(content)


def _without_waiting(path: str, flags: int) -> int:
    """Open as usual, but do not wait for somebody to write into a pipe."""
    return os.open(path, flags | open_flags("O_NONBLOCK"))


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
    if isinstance(location, str) and is_url(text) and not text.startswith("file://"):
        return RemoteDirectory(text)
    return LocalDirectory(text.removeprefix("file://"))


def refuse_no_folder(directory: Directory) -> None:
    """Refuse a location of which the system says that no files can be put there.

    Raises:
        UsageError: it is a file, a link to nothing, or below a file.
    """
    if not isinstance(directory, LocalDirectory):
        return
    path = directory.path
    if path.exists() and not path.is_dir():
        raise UsageError(f"{directory}: this is a file; give a directory that is new or empty")
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{directory}: a link to nothing; make the folder it names, or give another")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise UsageError(f"{directory}: cannot be written ({above} is a file); give another directory")


def open_file(location: str | os.PathLike[str]) -> tuple[Directory, str]:
    """The directory of a file at a path or URL, and the file's name; nothing is read or created.

    Raises:
        UsageError: an empty name, that of a folder of this machine, or a URL that cannot be used.
    """
    text = os.fsdecode(location)
    if isinstance(open_directory(text), LocalDirectory):
        path = Path(text.removeprefix("file://")).expanduser()
        if path.is_dir():
            raise UsageError(f"{short(text, 120)}: this is a directory; give the name of a file")
        return LocalDirectory(path.parent), path.name
    folder, _, name = text.rpartition("/")
    if not name or folder.endswith("/"):
        raise UsageError(
            f"{short(without_secrets(text), 120)}: no name of a file; give one after the last slash"
        )
    return open_directory(folder), name
