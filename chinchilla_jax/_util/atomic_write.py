"""Atomic writes: a file appears complete or not at all, also in a folder that others may write."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from chinchilla_jax._util.system import host_name, is_alive, open_flags, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ATTEMPTS = 100  # at a name of 64 random bits that is free


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A stream to write to; at the end of the block its content is on the disk under the name `path`.

    A reader of `path` sees either the old content or the new. After an error the old content remains and the
    temporary file is removed, after a kill by the next write to that folder. A link of the name `path` is
    replaced, not followed.
    """
    remove_left_behind(path.parent)
    with written_aside(path, replace) as stream:
        yield stream


@contextlib.contextmanager
def written_aside(path: Path, give_name: Callable[[Path, Path], None]) -> Iterator[BinaryIO]:
    """A stream to a file beside `path`, which `give_name` gives that name once its content is on the disk.

    The file beside it is removed in any case.
    """
    with _errors_name(path):
        temporary, stream = exclusive_file(path.parent)
        try:
            with stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            give_name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def replace_by(path: Path, content: bytes) -> None:
    """Give `path` this content, which is on the disk when it appears, as with `atomic_write`.

    In as few calls of the system as that takes: where threads wait for the GIL, each costs two waits.
    """
    with _errors_name(path):
        temporary, handle = _exclusive(path.parent)
        try:
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Give errors the name of the file that was asked for, in place of none or that of the temporary one."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None or str(error.filename).endswith(".tmp")
        if error.errno is None or not unnamed:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # of the class of its number


def exclusive_file(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file with a random name, open for writing; the name says who writes it.

    As in the module tempfile, the name cannot be guessed, an existing file or link is never opened, and what
    is written goes to the file that was made, whatever its name leads to later. Unlike there, the permissions
    are those of any new file: the result may be meant for a group.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    path, handle = _exclusive(folder)
    return path, open(handle, "wb")


def _exclusive(folder: Path) -> tuple[Path, int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    flags |= open_flags("O_NOFOLLOW", "O_CLOEXEC", "O_NOINHERIT", "O_BINARY")
    for _ in range(_ATTEMPTS):
        path = folder / f".{secrets.token_hex(8)}.{host_name()}.{os.getpid()}.tmp"
        with contextlib.suppress(FileExistsError):
            return path, os.open(path, flags, 0o666)
    raise FileExistsError(f"{folder}: no free name for a temporary file")


def remove_left_behind(folder: Path) -> None:
    """Remove the temporary files of processes of this machine that have ended; nothing where that fails."""
    with contextlib.suppress(OSError):
        for file in folder.glob(".*.tmp"):
            host, pid = file.name.split(".")[2:4] if file.name.count(".") == 4 else ("", "")
            if host == host_name() and pid.isdigit() and not is_alive(int(pid)):
                file.unlink(missing_ok=True)
