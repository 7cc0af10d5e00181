"""Compressed files, recognised by their first bytes: .gz, .bz2, .xz and .zst."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import IO, Any

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.readers.limits import read_up_to_limit


def _zstd(stream: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")


_OPENERS: tuple[tuple[bytes, str, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
)


def unpacked(content: bytes, where: str) -> bytes:
    """The content, without compression if it had any.

    Raises:
        DataError: it is damaged, or expands to more than a table of runs may hold.
    """
    for signature, name, opener in _OPENERS:
        if content.startswith(signature):
            return _expanded(content, where, name, opener)
    return content


def _expanded(content: bytes, where: str, name: str, opener: Callable[[IO[bytes]], Any]) -> bytes:
    try:
        with opener(io.BytesIO(content)) as stream:
            return read_up_to_limit(stream, where, expands=True)
    except DataError:
        raise
    except ImportError:
        raise DataError(f"{where}: reading {name} needs pyarrow; run pip install pyarrow") from None
    # Damaged streams raise OSError, EOFError, zlib.error, LZMAError and errors of Arrow.
    except Exception as error:
        reason = short(str(error).partition("\n")[0], 100) if str(error) else type(error).__name__
        raise DataError(f"{where}: damaged {name} file ({reason}); copy or compress it again") from None
