"""What operating systems do not have in common, and what is done where one lacks it.

No other module asks which system this is.

| function            | has it            | elsewhere                                             |
|---------------------|-------------------|-------------------------------------------------------|
| open_flags          | each its own      | the flag is 0                                         |
| replace             | all               | Windows: tried again while a reader has the file open |
| link, cannot_link   | most file systems | an error that `cannot_link` knows                     |
| sync_folder         | POSIX             | nothing; files are synced on every system             |
| lock, is_locked     | POSIX             | nothing; None, unknown                                |
| cores               | Linux             | None, all of them                                     |
| limit_to_cores      | Linux             | nothing: workers share all cores                      |
| load                | POSIX             | None                                                  |
| processor_facts     | Linux             | none                                                  |
| peak_memory         | Linux, macOS      | None                                                  |
| address_space_limit | POSIX             | None                                                  |
| c_library           | glibc             | ""                                                    |
| without_ctrl_c      | POSIX             | nothing: Ctrl-C reaches workers too                   |
| wake_up_pipe        | POSIX             | a pair of sockets, which are slow to import           |
| processor           | POSIX             | what `platform` says, which is slow to import         |
| is_alive            | POSIX             | True: what it left is kept                            |
| users               | POSIX             | None: files are trusted by where they are             |

A capability is looked up when it is used, so that tests can take it away.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import operator
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None  # type: ignore[assignment]
try:
    import resource as _resource
except ImportError:  # Windows
    _resource = None  # type: ignore[assignment]
try:
    import grp as _grp
    import pwd as _pwd
except ImportError:  # Windows
    _grp = _pwd = None  # type: ignore[assignment]

# Any: type checkers know them only on systems that have them.
fcntl: Any = _fcntl
resource: Any = _resource
pwd: Any = _pwd
grp: Any = _grp
_os: Any = os
_signal: Any = signal

# Errors of file systems without links: FAT (EINVAL on Windows), and some network file systems.
_NO_LINKS = {errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_REPLACE_SECONDS = 5.0  # for another process to close a file; virus scanners take a second


def open_flags(*names: str) -> int:
    """Flags of `os.open` together; no system has all of them, and those that this one lacks are 0."""
    return functools.reduce(operator.or_, (getattr(os, name, 0) for name in names))


def replace(source: Path, target: Path) -> None:
    """Give `source` the name `target`, which may be taken: atomically.

    Windows refuses that while another process has the file `target` open, which takes moments.
    """
    end = time.monotonic() + (_REPLACE_SECONDS if sys.platform == "win32" else 0.0)
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.02)


def link(source: Path, target: Path) -> None:
    """Give `source` the name `target` too, if and only if that name is free.

    Raises:
        FileExistsError: it is not.
        OSError: `cannot_link` says whether the system has no such links.
    """
    if not hasattr(os, "link"):
        raise OSError(errno.ENOSYS, "no links", str(target))
    os.link(source, target)


def cannot_link(error: OSError) -> bool:
    """Whether an error of `link` says that there are no links here."""
    return error.errno in _NO_LINKS


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def has_locks() -> bool:
    """Whether `lock` locks, on file systems that can."""
    return fcntl is not None


def lock(stream: BinaryIO) -> None:
    """Lock an open file until it is closed, or this process has ended; nothing where that is not possible."""
    with contextlib.suppress(OSError):  # a file system without locks
        if has_locks():
            fcntl.flock(stream, fcntl.LOCK_EX)


def is_locked(handle: int) -> bool | None:
    """Whether another process of this machine holds the lock of an open file; None where that is unknown."""
    if not has_locks():
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    return False


def host_name() -> str:
    """This machine's name, with what a file name could not hold replaced by dashes."""
    import socket

    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def is_alive(pid: int) -> bool:
    """Whether a process of this machine may still be running."""
    if sys.platform == "win32":  # where os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def cores() -> list[int] | None:
    """The cores that this process may use; None where the system does not limit a process to some."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def load() -> float | None:
    """How many processes ran or wanted to in the last minute, on average; None where nobody knows."""
    if not hasattr(os, "getloadavg"):
        return None
    with contextlib.suppress(OSError):
        return os.getloadavg()[0]
    return None


def limit_to_cores(chosen: Collection[int]) -> None:
    """Let this process, and those that it will start, use only these cores; nothing but on Linux."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            # The threads that exist already; later ones inherit this.
            for thread in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(thread), chosen)


def processor() -> tuple[str, str]:
    """The kind of processor, such as "x86_64", and its model where no `processor_facts` tell it."""
    if hasattr(os, "uname"):
        return os.uname().machine, ""
    import platform

    return platform.machine(), platform.processor()


def processor_facts() -> list[str]:
    """Lines about the processors, such as "flags : fpu ..."; none where the system has no such text."""
    return _lines("/proc/cpuinfo")


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not say."""
    peaks = [line.split()[1] for line in _lines("/proc/self/status") if line.startswith("VmHWM:")]
    if peaks:
        return 1024 * int(peaks[0])
    if resource is None:
        return None
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else 1024 * peak


def address_space_limit() -> int | None:
    """The limit on the address space of this process (`ulimit -v`) in bytes; None where there is none."""
    if not hasattr(resource, "RLIMIT_AS"):
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else int(limit)


def c_library() -> str:
    """The C library and its version, such as "glibc 2.36"; "" where it does not say."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "" if hasattr(os, "confstr") else ""
    except (ValueError, OSError):
        return ""


def is_x86_linux_with_glibc() -> bool:
    """Whether this is x86-64 Linux with glibc, whose functions can be held to one set of instructions."""
    return sys.platform == "linux" and processor()[0] == "x86_64" and "glibc" in c_library()


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Threads and processes that start inside the block are not interrupted by Ctrl-C, where possible."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # starting it later would lift the block
    # Threads and processes take the mask of the thread that starts them.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def wake_up_pipe() -> tuple[Callable[[], int], int]:
    """A call that waits for the next byte and returns it, and the descriptor to write it to, not blocking."""
    if sys.platform != "win32":
        reads, writes = os.pipe()
        os.set_blocking(writes, False)
        return lambda: os.read(reads, 1)[0], writes
    import socket

    waiting, waking = socket.socketpair()
    waking.setblocking(False)
    return lambda: waiting.recv(1)[0], waking.detach()  # open as long as this process


class Users:
    """The users of a system on which every file has an owner, a group and permissions."""

    def own_id(self) -> int:
        """The number of the user of this process."""
        return int(_os.geteuid())

    def home(self) -> Path:
        """The user's home without links, as the system knows it; "/" if it has none."""
        try:
            return Path(pwd.getpwuid(self.own_id()).pw_dir).resolve()
        except (KeyError, OSError, RuntimeError):
            return Path("/")

    def name(self, number: int) -> str:
        """A user's name and number."""
        try:
            return f"{pwd.getpwuid(number).pw_name} (user {number})"
        except KeyError:
            return f"user {number}"

    def is_private(self, group: int) -> bool:
        """Whether a group is the one that many systems make for each user, with the user's name."""
        try:
            user, found = pwd.getpwuid(self.own_id()), grp.getgrgid(group)
        except KeyError:
            return False
        return (found.gr_name, group) == (user.pw_name, user.pw_gid) and {*found.gr_mem} <= {user.pw_name}


def users() -> Users | None:
    """The users, where a file's owner and permissions tell who can have written it."""
    return Users() if pwd is not None and hasattr(os, "geteuid") else None


def _lines(path: str) -> list[str]:
    """The lines of a file that Linux has."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
