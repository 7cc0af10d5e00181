"""Files behind a URL, wherever fsspec reaches: s3://bucket/study, memory://study, ..."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from chinchilla_jax._util.directory import Directory, FileInfo
from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.remote import FileSystem
from chinchilla_jax._util.remote_errors import RemoteError, Trouble
from chinchilla_jax._util.urls import without_secrets

S = TypeVar("S")
T = TypeVar("T")

_READERS = 16  # calls at a time: waiting for answers takes no core
_ROUNDS = 3  # of writing a file whose content arrives changed
# Object stores have no folders that must exist. A bucket is not created: its name may be misspelt.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "r2"}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
}


class ServerError(ChinchillaError):
    """A server that cannot be reached, stays silent or breaks the connection; the text is one line."""


class RemoteDirectory(Directory):
    """A place that fsspec reaches by a URL.

    Args:
        location: the URL.

    Raises:
        UsageError: fsspec is not installed, or it does not know the URL, or lacks a package for it.
        ServerError: the server cannot be reached.
    """

    def __init__(self, location: str) -> None:
        """Find the file system that the URL names."""
        self.location = location
        self._shown = without_secrets(location)
        self._scheme = location.partition("://")[0].lower()
        self._system = self._plain(lambda: FileSystem(location))
        self._root = self._system.path.rstrip("/")

    def __str__(self) -> str:
        """The location without passwords."""
        return self._shown

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes:
        """See `Directory`; a file that the store itself finds damaged reads as empty, as a torn one may."""
        try:
            return cast(bytes, self._system.call(f"reading {name}", "cat_file", self._path(name)))
        except RemoteError as error:
            if error.trouble is Trouble.CHANGED:
                return b""
            raise self._line(error) from error

    def write(self, name: str, content: bytes, *, checked_later: bool = False) -> None:
        """See `Directory`."""
        for _ in range(_ROUNDS):
            self._send(name, content)
            # The second look tells a change on the way back from one on the way there.
            if checked_later or self.read(name) == content or self.read(name) == content:
                return
        raise ServerError(
            f"{self.at(name)}: what was written is not what is read back; check the connection and the "
            "store, and rerun the same command"
        )

    def create(self, name: str, content: bytes) -> bool:
        """See `Directory`."""
        if self.exists(name):
            return False
        try:
            self._send(name, content, mode="create")
        except FileExistsError:
            pass  # perhaps by an earlier attempt of this very call, whose answer was lost
        except UsageError:  # a store that knows no conditional writes
            self._send(name, content)
        found = self.read(name)
        if not found:  # damaged on the way
            self.write(name, content)
        return found in (b"", content)

    def _send(self, name: str, content: bytes, **options: str) -> None:
        """Write once; an object appears whole or not at all, and elsewhere checksums tell."""
        path, doing = self._path(name), f"writing {name}"
        if self._scheme not in _OBJECT_STORES:
            with contextlib.suppress(FileExistsError):
                self._call(doing, "makedirs", path.rpartition("/")[0], exist_ok=True)
        try:
            self._call(doing, "pipe_file", path, content, size=len(content), **options)
        except FileNotFoundError as error:
            raise UsageError(
                f"{self}: cannot be written ({error.__cause__}); create the bucket or folder, or check the "
                "address"
            ) from None

    def exists(self, name: str) -> bool:
        """See `Directory`."""
        self._system.forget()
        try:
            # fsspec's own `exists` takes any failure for an absent file.
            self._call(f"looking for {name}", "info", self._path(name))
        except FileNotFoundError:
            return False
        return True

    def list_files(self, folder: str) -> dict[str, FileInfo]:
        """See `Directory`."""
        self._system.forget()
        try:
            items = self._call(f"listing {folder or 'files'}", "ls", self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {
            item["name"].rsplit("/", 1)[1]: FileInfo(int(item["size"] or 0), _modified(item))
            for item in items
            if item["type"] == "file"
        }

    def entries(self) -> set[str]:
        """See `Directory`."""
        self._system.forget()
        try:
            items = self._call("listing files", "ls", self._root, detail=True)
        except FileNotFoundError:
            return set()
        paths = (item["name"].rstrip("/") for item in items)
        # An object store may list the folder itself.
        names = {path.rsplit("/", 1)[1] for path in paths if path.strip("/") != self._root.strip("/")}
        return {name for name in names if not name.startswith(".")}

    def remove(self, name: str) -> None:
        """See `Directory`."""
        with contextlib.suppress(FileNotFoundError):
            self._call(f"removing {name}", "rm_file", self._path(name))

    def each(self, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        """See `Directory`."""
        pool = ThreadPoolExecutor(_READERS, thread_name_prefix="remote")
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def clean_up(self, folders: Sequence[str] = ()) -> None:
        """Nothing to do: a partial upload has no name."""

    def _call(self, doing: str, method: str, *arguments: Any, **options: Any) -> Any:
        return self._plain(functools.partial(self._system.call, doing, method, *arguments, **options))

    def _plain(self, call: Callable[[], T]) -> T:
        """The result of a call, whose failure becomes one line."""
        try:
            return call()
        except RemoteError as error:
            raise self._line(error) from error

    def _line(self, error: RemoteError) -> ChinchillaError:
        reason = f"{error} while {error.doing}"
        if error.trouble is Trouble.NO_PACKAGE:
            return UsageError(
                f"{self}: needs a package that is not installed ({error}); pip install "
                "'chinchilla-jax[remote]', or give a local path"
            )
        if error.trouble is Trouble.DENIED:
            variables = _CREDENTIALS.get(self._scheme)
            how = f" ({variables})" if variables else ""
            return UsageError(f"{self}: no access ({reason}); set or check the credentials{how}")
        if error.trouble is Trouble.UNUSABLE:
            return UsageError(f"{self}: cannot be used ({reason}); check the address, or give a local path")
        kept = "everything written so far is kept: " if error.doing.startswith("writing") else ""
        return ServerError(
            f"{self}: {error.trouble.value} ({reason}); {kept}check the address and the connection, and "
            "rerun the same command"
        )


def _modified(item: dict[str, Any]) -> float | None:
    for name in ("mtime", "LastModified", "updated", "created"):
        value = item.get(name)
        if isinstance(value, int | float):
            return float(value)
        if value is not None and hasattr(value, "timestamp"):
            return float(value.timestamp())
    return None
