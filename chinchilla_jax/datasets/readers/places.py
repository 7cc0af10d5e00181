"""Where the bytes of a table lie: a file, standard input, or wherever fsspec reaches."""

from __future__ import annotations

import os
import re
import sys
from typing import IO

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.datasets.readers.limits import read_up_to_limit
from chinchilla_jax.datasets.table import show_text

STANDARD_INPUT = "-"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PRIVATE = re.compile(r"(?<=://)[^/@\s]*@|[?#].*", re.DOTALL)
_last_input: tuple[object, bytes] | None = None


def is_url(text: str) -> bool:
    """Whether a text is a URL, of any scheme."""
    return bool(_URL.match(text))


def shown_place(text: str) -> str:
    """A path or URL for messages: without passwords, and without a query, which may hold a signature."""
    return show_text(_PRIVATE.sub("", text) if is_url(text) else text)


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
    where = shown_place(url)
    try:
        import fsspec
    except ImportError:
        raise DataError(
            f"{where}: reading a URL needs fsspec; run pip install 'chinchilla-jax[remote]', or download it"
        ) from None
    # Each file system has errors of its own.
    try:
        system, path = fsspec.core.url_to_fs(url)
        with system.open(path, "rb") as stream:
            return read_up_to_limit(stream, where)
    except DataError:
        raise
    except ImportError as error:
        reason = _reason(error, url, where)
        raise DataError(
            f"{where}: its file system needs another package ({reason}); run pip install "
            "'chinchilla-jax[remote]', or download the table"
        ) from None
    except PermissionError as error:
        reason = _reason(error, url, where)
        raise DataError(f"{where}: no permission to read it ({reason}); check your credentials") from None
    except Exception as error:
        first = _first(error)  # a server that cannot be reached is a FileNotFoundError too
        if isinstance(first, FileNotFoundError) or _http_status(first) == 404:
            raise DataError(f"{where}: no such file; check the address") from None
        reason = _reason(first, url, where)
        remedy = "check the address"
        if "credential" in reason.casefold():
            remedy = "set them, or give the https:// address of a public file"
        raise DataError(f"{where}: cannot be read ({reason}); {remedy}") from None


def _first(error: BaseException) -> BaseException:
    """The error that led to this one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _http_status(error: BaseException) -> int | None:
    """The status that a web server answered with, as the errors of aiohttp and httpx carry it."""
    response = getattr(error, "response", None)
    status: int | None = getattr(error, "status", getattr(response, "status_code", None))
    return status


def _reason(error: BaseException, url: str, where: str) -> str:
    text = " ".join(str(error).replace(url, where).split()) or type(error).__name__
    text = _PRIVATE.sub("", text)
    return show_text(text if len(text) <= 120 else f"{text[:117]}...")


def name_of(path: str) -> str:
    """A short name of a place, for the runs in it."""
    if path == STANDARD_INPUT:
        return "standard input"
    shown = _PRIVATE.sub("", path) if is_url(path) else path
    return os.path.basename(shown.rstrip("/")) or shown
