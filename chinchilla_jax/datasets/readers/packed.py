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

_XZ_MEMORY = 256 * 2**20  # that of xz -9 is 65 MiB


class _Xz(io.RawIOBase):
    """An xz stream. A file may ask for 4 GiB of memory to read it, and `LZMAFile` gives it."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Read from `stream`."""
        self._stream, self._decoder = stream, self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; none at the end."""
        while True:
            if self._decoder.eof:  # another stream may follow
                rest = self._decoder.unused_data or self._stream.read(2**20)
                rest = rest.lstrip(b"\0")  # padding
                if not rest:
                    return b""
                self._decoder = self._new()
            else:
                rest = self._stream.read(2**20) if self._decoder.needs_input else b""
                if not rest and self._decoder.needs_input:
                    raise EOFError("the file ends within the compressed data")
            if part := self._decoder.decompress(rest, size):
                return part


def _zstd(stream: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")


_OPENERS: tuple[tuple[bytes, str, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lambda stream: _Xz(stream)),
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
