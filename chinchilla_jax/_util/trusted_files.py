"""Whether nobody else can have written a file: for code that is kept on disk and run later.

The rules are those of OpenSSH for its own files (StrictModes). A file and its folder belong to the user or
root, and nobody else may write them. What leads there belongs to the user or root; others may write it only
as they may write /tmp (the sticky bit: nobody can rename what is not theirs), or through the group that many
systems make for each user. Links on the way count like folders. What leads to the user's home is the system's
affair. The last step is never a link, a pipe or a device.

Access lists (ACLs) of POSIX show in the permissions of the group; those of NFSv4 do not, and are not seen.
Windows has other rules: there a path is trusted inside the user's profile, which only the user, the system
and administrators can write unless its owner has changed that, and nowhere else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from chinchilla_jax._util.system import open_flags, users

_MOST_LINKS = 40
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)


class UntrustedError(Exception):
    """Somebody else may have written this; the text says what, why and what to do, without a full stop."""


def read_trusted(path: Path, *, most: int) -> bytes:
    """The content of a file that only the user or root can have written.

    Args:
        path: of the file.
        most: bytes; a file with more is refused.

    Raises:
        UntrustedError: somebody else may have written it, or it is no file.
        OSError: there is none, or it cannot be read.
    """
    require_trusted_folder(path.parent)
    flags = os.O_RDONLY | open_flags("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    # What is checked is what is opened: by its name alone, it could be exchanged in between.
    _require_file(path, os.lstat(path))
    with open(os.open(path, flags), "rb") as stream:
        found = os.fstat(stream.fileno())
        _require_file(path, found)
        if found.st_size > most:
            raise UntrustedError(f"{path} has {found.st_size:,} bytes, {most:,} at most are expected")
        return stream.read(most + 1)


def require_trusted_folder(folder: Path) -> None:
    """Refuse a folder in which somebody else may put, exchange or rename files.

    Raises:
        UntrustedError: it says what is wrong, and what to do.
        OSError: there is no such folder.
    """
    require_trusted_way(folder)
    found = os.stat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise UntrustedError(f"{folder} is not a folder")
    _require_unwritable(folder, found, _OTHERS_WRITE)


def require_trusted_content(folder: Path) -> None:
    """Refuse a folder of which somebody else may have written any file, at any depth.

    Raises:
        UntrustedError: it says what is wrong, and what to do.
        OSError: there is no such folder.
    """
    require_trusted_folder(folder)
    # Where nobody else can enter, the permissions of what is inside do not matter.
    writable = _OTHERS_WRITE if os.stat(folder).st_mode & _OTHERS_ENTER else 0
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as items:
            for item in items:
                path = Path(item.path)
                try:
                    found = item.stat(follow_symlinks=False)
                except FileNotFoundError:  # another process's temporary file
                    continue
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(path)
                    _require_unwritable(path, found, writable)
                else:
                    _require_file(path, found, writable)


def _require_file(path: Path, found: os.stat_result, writable: int = _OTHERS_WRITE) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "a device")
        raise UntrustedError(f"{path} is {kind}, not a file (remove it)")
    _require_unwritable(path, found, writable)


def require_trusted_way(path: Path) -> None:
    """Refuse a path on whose way somebody else may exchange a folder or a link.

    Raises:
        UntrustedError: it says which one, and why.
        OSError: there is no such path.
    """
    known = users()
    if known is None:
        return _require_in_profile(path)
    home = known.home()
    for step, found in _steps(path):
        if home.is_relative_to(step) and step != home:
            continue
        writable = _OTHERS_WRITE
        if stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX:
            writable = 0  # the permissions of a link mean nothing
        elif found.st_mode & stat.S_IWGRP and known.is_private(found.st_gid):
            writable = stat.S_IWOTH
        _require_unwritable(step, found, writable)


def _require_in_profile(path: Path) -> None:
    """Refuse a path that leads out of the user's profile."""
    home = Path.home().resolve()
    if not path.resolve(strict=True).is_relative_to(home):
        raise UntrustedError(f"{path} is outside {home}, where others may be able to write")


def _require_unwritable(path: Path, found: os.stat_result, writable: int) -> None:
    """Refuse what is another user's, or has a permission in `writable`.

    Nothing on systems without owners: inside the profile, the permissions are those of the profile.
    """
    known = users()
    if known is None:
        return
    if found.st_uid not in (0, known.own_id()):
        raise UntrustedError(f"{path} belongs to {known.name(found.st_uid)}")
    if found.st_mode & writable:
        mode = stat.S_IMODE(found.st_mode)
        raise UntrustedError(f"{path} can be written by others (mode {mode:o}; chmod go-w it)")


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The folders and links on the way to `path`, itself included, from the root."""
    step, links = Path("/"), 0
    yield step, os.lstat(step)
    waiting = list(reversed(path.absolute().parts[1:]))
    while waiting:
        part = waiting.pop()
        if part == "..":
            step = step.parent  # of a path without links
            continue
        found = os.lstat(step / part)
        yield step / part, found
        if not stat.S_ISLNK(found.st_mode):
            step = step / part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise UntrustedError(f"{path} leads through more than {_MOST_LINKS} links")
        target = Path(os.readlink(step / part))
        step = Path("/") if target.is_absolute() else step
        waiting += reversed(target.parts[1:] if target.is_absolute() else target.parts)
