"""Where the bytes of a table lie: a file, standard input, or wherever fsspec reaches."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.text import visible
from chinchilla_jax._util.urls import is_url, without_secrets
from chinchilla_jax.datasets.readers.limits import read_up_to_limit
from chinchilla_jax.datasets.table import show_text

if TYPE_CHECKING:
    from chinchilla_jax._util.remote_errors import RemoteError

STANDARD_INPUT = "-"
_last_input: tuple[object, bytes] | None = None


def shown_place(text: str) -> str:
    """A path or URL for messages: without passwords, and without a query, which may hold a signature."""
    return show_text(without_secrets(text) if is_url(text) else text)


def read_place(path: str) -> bytes:
    """The content of a file, of a URL, or of standard input for "-".

    Raises:
        DataError: it cannot be read, or is larger than any table of runs.
    """
    if path == STANDARD_INPUT:
        return _standard_input()
    return _url(path) if is_url(path) else _file(path)


def _file(path: str) -> bytes:
    where = show_text(path)
    try:
        with open(path, "rb") as file:
            return read_up_to_limit(file, where)
    except FileNotFoundError:
        raise DataError(f"{where}: no such file; check the path") from None
    except PermissionError:
        raise DataError(
            f"{where}: no permission to read it; run chmod u+r on it, or copy it somewhere readable"
        ) from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{where}: cannot be opened ({reason}); check the path") from None


def _standard_input() -> bytes:
    """What is piped in; kept, since a command may read its table more than once."""
    global _last_input
    stream: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError("standard input: there is none; give the path of a table")
    if _last_input is None or _last_input[0] is not stream:
        try:
            _last_input = (stream, read_up_to_limit(stream, "standard input"))
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"standard input: cannot be read ({error}); give the path of a table") from None
    return _last_input[1]


def _url(url: str) -> bytes:
    from chinchilla_jax._util.remote import FileSystem
    from chinchilla_jax._util.remote_errors import RemoteError

    where = shown_place(url)
    try:
        return FileSystem(url).read("reading the table", lambda stream: read_up_to_limit(stream, where))
    except FileNotFoundError:
        raise DataError(f"{where}: no such file; check the address") from None
    except RemoteError as error:
        raise DataError(f"{where}: {_what_to_do(error)}") from None


def _what_to_do(error: RemoteError) -> str:
    from chinchilla_jax._util.remote_errors import Trouble

    reason = show_text(str(error))
    if error.trouble is Trouble.NO_PACKAGE:
        return (
            f"needs a package that is not installed ({reason}); run pip install 'chinchilla-jax[remote]', or "
            "download the table"
        )
    if error.trouble is Trouble.DENIED:
        return (
            f"cannot be read ({reason}); set or check the credentials, or give the https:// address of a "
            "public file"
        )
    if error.trouble is Trouble.UNUSABLE:
        return f"cannot be read ({reason}); check the address"
    return (
        f"cannot be read: {error.trouble.value} ({reason}); check the address and the connection, or "
        "download the table"
    )


def name_of(path: str) -> str:
    """A short name of a place, for the runs in it."""
    if path == STANDARD_INPUT:
        return "standard input"
    shown = without_secrets(path) if is_url(path) else path
    return visible(os.path.basename(shown.rstrip("/")) or shown)
