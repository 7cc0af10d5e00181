"""What a failed call to a server means, whichever library made it.

Each file system of fsspec has errors of its own: those of botocore, aiohttp, httpx, requests, or the system.
They are told apart by their class, their HTTP status and the error that led to them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from chinchilla_jax._util.urls import without_secrets

_WIDTH = 160
_CLIENTS = {"aiohttp", "botocore", "httpcore", "httpx", "requests", "urllib3"}
# Answers of object stores with a status of 4xx that another attempt may not meet.
_PASSING_CODES = {"BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch"}


class Trouble(enum.Enum):
    """Why a call failed, and whether the same call may succeed later."""

    MISSING = "there is no such file"
    DENIED = "credentials are missing or not sufficient"
    UNUSABLE = "the request itself cannot be served"
    NO_PACKAGE = "a package that the file system needs is not installed"
    UNREACHABLE = "nothing accepts connections there"
    SILENT = "the server does not answer"
    BROKEN = "the connection broke, or the answer is not as it should be"
    CHANGED = "what arrives is not what was once sent to the store"

    @property
    def passes(self) -> bool:
        """Whether it may pass."""
        return self in (Trouble.UNREACHABLE, Trouble.SILENT, Trouble.BROKEN, Trouble.CHANGED)


class RemoteError(Exception):
    """A call that failed for good; its text is the reason, on one line and without secrets.

    Attributes:
        trouble: the kind of failure.
        doing: what the call was for, such as "reading study.json".
    """

    def __init__(self, trouble: Trouble, reason: str, doing: str) -> None:
        """Keep all three."""
        super().__init__(reason)
        self.trouble, self.doing = trouble, doing


def trouble_of(error: BaseException) -> Trouble:
    """The kind of failure that an error of a file system means."""
    import socket  # slow to import, and where nothing fails nothing needs it

    chain = list(_chain(error))
    first = chain[-1]
    if _answer(first).get("Code") in _PASSING_CODES:
        return Trouble.BROKEN
    statuses = _statuses(error)
    names = [type(each).__name__ for each in chain]
    if "FlexibleChecksumError" in names:  # botocore's
        return Trouble.CHANGED
    denied = isinstance(error, PermissionError) or "credential" in str(first).casefold()
    if denied or statuses & {401, 403} or any(map(_about_credentials, names)):
        return Trouble.DENIED
    if isinstance(first, ConnectionRefusedError | socket.gaierror) or any(map(_unreachable, names)):
        return Trouble.UNREACHABLE
    if any(isinstance(each, TimeoutError) for each in chain) or any("Timeout" in name for name in names):
        return Trouble.SILENT
    # A server that breaks the connection is a FileNotFoundError to some file systems.
    absent = isinstance(error, FileNotFoundError) and not _of_network(first)
    if 404 in statuses or absent:
        return Trouble.MISSING
    if isinstance(error, ImportError):
        return Trouble.NO_PACKAGE
    if isinstance(error, NotImplementedError | ValueError | TypeError) or "ParamValidationError" in names:
        return Trouble.UNUSABLE
    if any(400 <= status < 500 and status not in (408, 409, 429) for status in statuses) or 501 in statuses:
        return Trouble.UNUSABLE
    return Trouble.BROKEN


def exists_already(error: BaseException) -> bool:
    """Whether a file was to be created and is there."""
    return isinstance(error, FileExistsError) or 412 in _statuses(error)


def reason_of(error: BaseException, url: str) -> str:
    """The text of the error that led to this one, on one line; `url` and others lose their secrets."""
    first = list(_chain(error))[-1]
    text = _answer(first).get("Message") or str(first) or type(first).__name__
    text = " ".join(text.replace(url, without_secrets(url)).split())
    text = without_secrets(text)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """This error, and those that led to it."""
    yield error
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def _statuses(error: BaseException) -> set[int]:
    return {status for each in _chain(error) if (status := _http_status(each)) is not None}


def _http_status(error: BaseException) -> int | None:
    """The status that a web server answered with, as the errors of aiohttp, httpx and botocore carry it."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", getattr(response, "status_code", None))
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _answer(error: BaseException) -> dict[str, str]:
    """Code and Message of an object store's answer, as botocore's errors carry them; empty for others."""
    response = getattr(error, "response", None)
    found: dict[str, str] = response.get("Error", {}) if isinstance(response, dict) else {}
    return found


def _about_credentials(name: str) -> bool:
    """Whether a class of this name is: NoCredentialsError, ProfileNotFound, TokenRetrievalError, ..."""
    return any(word in name for word in ("Credential", "ProfileNotFound", "Token", "Auth"))


def _of_network(error: BaseException) -> bool:
    """Whether an error is about a connection, and not what a server answered."""
    return isinstance(error, ConnectionError) or type(error).__module__.partition(".")[0] in _CLIENTS


def _unreachable(name: str) -> bool:
    return name in ("EndpointConnectionError", "ConnectError") or name.startswith("ClientConnector")
