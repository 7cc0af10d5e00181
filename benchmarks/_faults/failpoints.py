"""Failpoints at every write, sync, rename, removal and start of a process, from outside the package.

The functions of Python's library through which all of these go are replaced by ones that count. At the point
that the plan names, and only below the folders that it names, a deed is done: the process is killed before,
in the middle of or after the call, the power fails (what was not synced is lost), or the call fails.

| kind   | calls                                                               | the middle is             |
|--------|---------------------------------------------------------------------|---------------------------|
| open   | os.open and open, for writing                                       | an empty file             |
| write  | write of a file or of a handle                                      | half of the bytes         |
| sync   | os.fsync, os.fdatasync                                              | nothing                   |
| rename | os.replace, os.rename, os.link                                      | nothing                   |
| remove | os.unlink, os.remove, os.rmdir                                      | nothing                   |
| mkdir  | os.mkdir                                                            | nothing                   |
| spawn  | subprocess.Popen, and the processes of multiprocessing (Dask's)     | nothing                   |
| remote | calls of s3fs that change something, writes and removals in memory: | the answer is lost        |
"""

from __future__ import annotations

import builtins
import dataclasses
import errno
import importlib.abc
import importlib.machinery
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

VARIABLE = "CHINCHILLA_JAX_FAULTS"
KILLS = ("killed before", "killed in the middle", "killed after", "power cut")
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EDQUOT": errno.EDQUOT}
LASTING = ("ENOSPC", "EDQUOT")  # a full disk stays full for the process
_SIGKILL = signal.Signals["SIGKILL"]
SHORT = "short write"
EVERY = (*KILLS, *ERRORS, SHORT)
_REMOTE = {"put_object", "delete_object", "delete_objects", "copy_object", "upload_part",
           "create_multipart_upload", "complete_multipart_upload"}  # fmt: skip


def deeds(kind: str) -> tuple[str, ...]:
    """What can happen at a point of this kind."""
    if kind == "write":
        return EVERY
    if kind == "remote":
        return (*KILLS[:3], "EIO")
    if kind == "spawn":
        return ("killed before", "killed after", "ENOSPC")
    return (*KILLS, *ERRORS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where to do what.

    Attributes:
        folders: points elsewhere do not count; remote ones and processes always do.
        at: the number of the point, from 0; -1 only counts.
        deed: one of `EVERY`.
        log: a file that gets a line for every point, and what was done; outside the folders.
        kinds: those that count; empty for all.
        children: whether to act in the processes that the command starts instead.
    """

    folders: tuple[str, ...]
    at: int
    deed: str
    log: str
    kinds: tuple[str, ...] = ()
    children: bool = False

    def to_json(self) -> str:
        """As `VARIABLE` holds it."""
        return json.dumps(dataclasses.asdict(self))


def arm_from_environment() -> None:
    """Arm what `VARIABLE` says, if anything."""
    text = os.environ.get(VARIABLE)
    if text:
        fields = json.loads(text)
        child = fields.pop("parent", None) is not None
        fields["folders"], fields["kinds"] = tuple(fields["folders"]), tuple(fields["kinds"])
        plan = Plan(**fields)
        os.environ[VARIABLE] = json.dumps(dataclasses.asdict(plan) | {"parent": os.getpid()})
        if child == plan.children:
            arm(plan)


def arm(plan: Plan) -> None:
    """Replace the functions, for the rest of this process."""
    layer = _Layer(plan)
    layer.replace_files()
    layer.replace_processes()
    sys.meta_path.insert(0, _AfterImport(layer))
    for name in _AfterImport.MODULES:
        if name in sys.modules:
            layer.replace_remote(sys.modules[name])


class _Layer:
    """Counts points, and acts at one of them. Keeps the functions that it replaces."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.count, self.fired, self.paths, self.unsynced = 0, False, dict[int, str](), set[str]()
        self.lock = threading.Lock()
        self.open, self.write = os.open, os.write
        self.log = self.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def point(
        self, kind: str, path: Any, do: Callable[[], Any], middle: Callable[[], Any] | None = None
    ) -> Any:
        """Do what a replaced function does, or the deed; `middle` is the half of it."""
        deed = self._deed(kind, path)
        if deed is None:
            return do()
        if deed in ERRORS:
            number = errno.EAGAIN if kind == "spawn" else ERRORS[deed]
            raise OSError(number, os.strerror(number), str(path))
        if deed == SHORT and middle is not None:
            return middle()
        if deed == "killed in the middle" and middle is not None:
            middle()
        elif deed in ("killed after", "power cut"):
            do()
        if deed == "power cut":
            for name in self.unsynced:
                if os.path.exists(name):
                    os.truncate(name, 0)
        os.kill(os.getpid(), _SIGKILL)
        return None

    def _deed(self, kind: str, path: Any) -> str | None:
        plan = self.plan
        where = "" if path is None else os.path.abspath(os.fsdecode(path)) if kind != "remote" else str(path)
        inside = kind in ("remote", "spawn") or where.startswith(plan.folders)
        if not inside or (plan.kinds and kind not in plan.kinds):
            return None
        with self.lock:
            number = self.count
            self.count += 1
            # Where points come in another order than before, at the next of a kind that can take it.
            act = not self.fired and 0 <= plan.at <= number and plan.deed in deeds(kind)
            self.fired |= act
            fired = self.fired
        lasting = fired and plan.deed in LASTING and kind in ("open", "write", "mkdir", "rename")
        self.write(self.log, f"{json.dumps([number, kind, where, plan.deed if act else ''])}\n".encode())
        return plan.deed if act or lasting else None

    def replace_files(self) -> None:
        """`os`, `io` and `builtins`."""
        layer, real_open = self, io.open

        def os_open(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                handle = layer.open(path, flags, *rest, **named)
                layer.paths[handle] = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
                return handle
            handle = int(layer.point("open", path, *[lambda: layer.open(path, flags, *rest, **named)] * 2))
            layer.paths[handle] = os.path.abspath(os.fsdecode(path))
            return handle

        def os_write(handle: int, content: Any) -> int:
            path, half = layer.paths.get(handle), memoryview(content)[: len(content) // 2]
            if path is None:
                return layer.write(handle, content)
            layer.unsynced.add(path)
            return int(
                layer.point(
                    "write", path, lambda: layer.write(handle, content), lambda: layer.write(handle, half)
                )
            )

        class File(io.FileIO):
            """A file whose writes are points."""

            place = ""

            def write(self, content: Any) -> int:
                half = memoryview(content).cast("B")
                half = half[: max(len(half) // 2, 1)]
                layer.unsynced.add(self.place)
                return int(
                    layer.point("write", self.place, lambda: super(File, self).write(content),
                                lambda: super(File, self).write(half))
                )  # fmt: skip

        def open_file(
            file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
            newline: Any = None, closefd: bool = True, opener: Any = None,
        ) -> Any:  # fmt: skip
            given = layer.paths.get(file) if isinstance(file, int) else file
            if not set(mode) & set("wax+") or given is None or opener is not None:
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            plain = mode.replace("b", "").replace("t", "")
            raw = File(file, plain, closefd) if isinstance(file, int) else layer.point(
                "open", file, *[lambda: File(file, plain, closefd)] * 2)  # fmt: skip
            raw.place = os.path.abspath(os.fsdecode(given))
            layer.paths[raw.fileno()] = raw.place
            if buffering == 0:
                return raw
            stream: Any = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

        def one_path(kind: str, name: str) -> None:
            real = getattr(os, name)

            def replaced(path: Any, *rest: Any, **named: Any) -> Any:
                return layer.point(kind, path, lambda: real(path, *rest, **named))

            setattr(os, name, replaced)

        def renaming(name: str) -> None:
            real = getattr(os, name)

            def replaced(source: Any, target: Any, *rest: Any, **named: Any) -> Any:
                result = layer.point("rename", target, lambda: real(source, target, *rest, **named))
                if os.path.abspath(os.fsdecode(source)) in layer.unsynced:
                    layer.unsynced.add(os.path.abspath(os.fsdecode(target)))
                return result

            setattr(os, name, replaced)

        def syncing(name: str) -> None:
            real = getattr(os, name)

            def replaced(handle: Any) -> None:
                number = handle if isinstance(handle, int) else handle.fileno()
                path = layer.paths.get(number)
                layer.point("sync", path, lambda: real(handle)) if path else real(handle)
                layer.unsynced.discard(path or "")

            setattr(os, name, replaced)

        os.open, os.write = os_open, os_write
        builtins.open = io.open = open_file
        for name in ("unlink", "remove", "rmdir"):
            one_path("remove", name)
        one_path("mkdir", "mkdir")
        for name in ("replace", "rename", "link"):
            renaming(name)
        for name in ("fsync", "fdatasync"):
            syncing(name)

    def replace_processes(self) -> None:
        """`subprocess` and `multiprocessing`."""
        import subprocess
        from multiprocessing import util

        layer, popen, spawn = self, subprocess.Popen, util.spawnv_passfds

        class Popen(popen):  # type: ignore[misc, valid-type]
            def __init__(self, *given: Any, **named: Any) -> None:
                layer.point("spawn", None, lambda: super(Popen, self).__init__(*given, **named))

        def spawned(*given: Any) -> Any:
            return layer.point("spawn", None, lambda: spawn(*given))

        subprocess.Popen = Popen  # type: ignore[misc]
        util.spawnv_passfds = spawned  # type: ignore[assignment]

    def replace_remote(self, module: ModuleType) -> None:
        """The memory file system of fsspec, or s3fs."""
        layer = self
        if module.__name__ == "s3fs.core":
            real = module.S3FileSystem._call_s3

            async def call(store: Any, method: str, *given: Any, **named: Any) -> Any:
                if method not in _REMOTE:
                    return await real(store, method, *given, **named)
                deed = layer._deed("remote", f"{method} {named.get('Key', '')}")
                if deed == "killed before":
                    os.kill(os.getpid(), _SIGKILL)
                if deed == "EIO":
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                result = await real(store, method, *given, **named)
                if deed == "killed in the middle":  # the answer is lost
                    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
                if deed is not None:
                    os.kill(os.getpid(), _SIGKILL)
                return result

            module.S3FileSystem._call_s3 = call
            return
        for name in ("pipe_file", "rm_file"):
            self._replace_memory(module.MemoryFileSystem, name)

    def _replace_memory(self, store: Any, name: str) -> None:
        real, layer = getattr(store, name), self

        def replaced(system: Any, path: str, *given: Any, **named: Any) -> Any:
            return layer.point("remote", f"{name} {path}", lambda: real(system, path, *given, **named))

        setattr(store, name, replaced)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Replaces functions of modules that are imported later."""

    MODULES = ("s3fs.core", "fsspec.implementations.memory")

    def __init__(self, layer: _Layer) -> None:
        self._layer = layer

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual one, whose module is changed once it has been executed."""
        if name not in self.MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute, layer = spec.loader.exec_module, self._layer

        def exec_module(module: ModuleType) -> None:
            execute(module)
            layer.replace_remote(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
