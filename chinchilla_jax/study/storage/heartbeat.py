"""Whether a process is computing a study: a lock file that it holds and touches while it does.

The file .at-work.<host>.<process> carries a lock, which the system releases when the process ends, however it
ends, and a time, which the process renews. Other machines may not see a lock; they see the time.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chinchilla_jax._util.atomic_write import exclusive_file
from chinchilla_jax._util.directories import Directory, LocalDirectory
from chinchilla_jax._util.system import has_locks, host_name, is_locked, lock, open_flags

_NAME = re.compile(r"\.at-work\.([A-Za-z0-9-]+)\.\d+\.\d+")
_BEAT_SECONDS = 60.0
_AS_IT_IS = open_flags("O_NOFOLLOW", "O_NONBLOCK")  # follow no link, wait for no pipe
_SILENCE_SECONDS = 300.0  # after which a process of another machine is taken for dead


@contextlib.contextmanager
def heartbeat(directory: Directory) -> Iterator[None]:
    """Show that this process is computing in `directory`, until the block ends.

    Does nothing where that cannot be shown: on remote directories and systems without locks.
    """
    if not isinstance(directory, LocalDirectory) or not has_locks():
        yield
        return
    file = directory.path / f".at-work.{host_name()}.{os.getpid()}.{secrets.randbits(48)}"
    for left in _files(directory.path):
        if _from_here(left) and not _locked(left):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            # Locked before it gets its name, so that it is never taken for a dead process's.
            nameless, stream = exclusive_file(directory.path)
            stack.callback(_end, (nameless, file), stream)
            lock(stream)
            nameless.rename(file)
            stack.enter_context(_beating(file))
        yield


def is_running(directory: Directory) -> bool | None:
    """Whether a process is computing this study now; None where that cannot be known."""
    if not isinstance(directory, LocalDirectory) or not has_locks():
        return None
    return any(_locked(file) or (not _from_here(file) and _recent(file)) for file in _files(directory.path))


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob(".at-work.*") if _NAME.fullmatch(file.name) and _is_file(file)]


def _is_file(path: Path) -> bool:
    """Whether it is a file and no link: where others write too, anything may have the name."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _from_here(file: Path) -> bool:
    match = _NAME.fullmatch(file.name)
    return match is not None and match[1] == host_name()


def _locked(file: Path) -> bool:
    """Whether a process that this machine knows of holds the lock."""
    try:
        handle = os.open(file, os.O_RDONLY | _AS_IT_IS)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, and not readable
        return _recent(file)
    try:
        held = is_locked(handle)
    finally:
        os.close(handle)
    return _recent(file) if held is None else held


def _recent(file: Path) -> bool:
    try:
        return time.time() - file.lstat().st_mtime < _SILENCE_SECONDS
    except OSError:
        return False


@contextlib.contextmanager
def _beating(file: Path) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(file, follow_symlinks=False)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _end(files: tuple[Path, ...], stream: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        for file in files:
            file.unlink(missing_ok=True)
    stream.close()
