"""The one reader of tables: from a path, a URL, standard input or an object in memory to a `Table`.

Every table that a user gives is read here: runs, lists of models, runs of a ladder. Nothing is converted.
Whatever it is given, the outcome is a `Table` or one line.

| source                              | reader (`datasets.readers`)  |
|-------------------------------------|------------------------------|
| text in cells (CSV, aligned, ...)   | `delimited`                  |
| text that begins with { or [        | `json_text`                  |
| Parquet, Arrow IPC                  | `arrow`                      |
| .xlsx                               | `excel`                      |
| .gz, .bz2, .xz, .zst of these       | `packed` first               |
| a folder of these                   | `folder`                     |
| an open file of these               | here                         |
| a path, https://, s3://, ..., "-"   | `places` fetches the bytes   |
| a DataFrame, arrays, dicts, ...     | `in_memory`                  |

Kinds of files are told by their first bytes, so that a wrong suffix does no harm.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

from chinchilla_jax._util.errors import DataError, UsageError, short
from chinchilla_jax._util.urls import is_url
from chinchilla_jax.datasets.readers.delimited import read_delimited
from chinchilla_jax.datasets.readers.json_text import read_json
from chinchilla_jax.datasets.readers.packed import unpacked
from chinchilla_jax.datasets.readers.places import STANDARD_INPUT, name_of, read_place, shown_place
from chinchilla_jax.datasets.table import Table, show_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


class ArrowTable(Protocol):
    """A table of any library that speaks Arrow: pyarrow, polars, DuckDB, ..."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Its rows, for another library."""


TableLike: TypeAlias = (
    "str | os.PathLike[str] | IO[Any] | pd.DataFrame | ArrowTable | NDArray[Any] | Mapping[str, Any] | "
    "Sequence[Any]"
)
"""What `read_table` reads."""
KINDS = (
    "an embedded name, a path, a URL, or a table in memory (DataFrame, Arrow or polars table, NumPy records, "
    "dict of arrays, list of dicts)"
)
_USE_A_TABLE = "give a CSV or Parquet file with columns such as params, tokens, loss"
_SIGNATURES = (
    (b"\x89PNG", f"a PNG picture; {_USE_A_TABLE}"),
    (b"\xff\xd8\xff", f"a JPEG picture; {_USE_A_TABLE}"),
    (b"%PDF", f"a PDF document; {_USE_A_TABLE}"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save it as .xlsx, or the sheet as CSV UTF-8"),
    (b"\x1f\x8b", "a gzip archive in another; unpack it first"),
    (b"\x89HDF", "an HDF5 file; export it as CSV or Parquet"),
    (b"\x93NUMPY", "a NumPy file; load it, and give the array in Python"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
)
_TAR = (257, b"ustar")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_table(source: object, caller: str = "load_runs") -> Table:
    """The table that `source` names or is.

    Args:
        source: a path, a URL, "-" for standard input, an open file, or a table in memory.
        caller: the function that was given it, for messages.

    Raises:
        DataError: it cannot be read, or holds no table.
        UsageError: it is of a type that holds no table.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fsdecode(source)
        if not isinstance(source, str) and path == STANDARD_INPUT:
            path = os.path.join(os.curdir, path)  # Path("-") is a file
        return _read_path(path)
    require_table(source, caller)
    if _is_stream(source):
        return _read_stream(source)
    from chinchilla_jax.datasets.readers.in_memory import from_memory

    table = from_memory(source)
    if not table.header:
        raise DataError(f"{table.where}: it has no columns; give columns such as params, tokens, loss")
    return table


def require_table(source: object, caller: str) -> None:
    """Refuse what can hold no table.

    Raises:
        UsageError: it is of such a type; the line names `caller`, the function that was given it.
    """
    if isinstance(source, str | os.PathLike) or _is_stream(source):
        return
    from chinchilla_jax.datasets.readers.in_memory import holds_table

    if not holds_table(source):
        raise UsageError(
            f"{caller} cannot read {short(source)}, of type {type(source).__name__}; give {KINDS}"
        )


def _is_stream(source: object) -> bool:
    return isinstance(source, io.IOBase)


def _read_stream(source: Any) -> Table:
    """An open file, of text or of bytes."""
    where = type(source).__name__
    try:
        content = source.read()
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: cannot be read ({error}); give the path of the file") from None
    return read_bytes(content.encode() if isinstance(content, str) else content, where)


def name_of_source(source: object) -> str:
    """A short name of what `read_table` reads: that of a file, or of a type."""
    if isinstance(source, str | os.PathLike):
        return name_of(os.path.expanduser(os.fsdecode(source)))
    return type(source).__name__


def _read_path(path: str) -> Table:
    if path.startswith("file://"):
        path = path.removeprefix("file://")
    if path == STANDARD_INPUT:
        return read_bytes(read_place(path), "standard input")
    if is_url(path):
        return read_bytes(read_place(path), shown_place(path))
    path = os.path.expanduser(path)
    if path.lower().endswith(".toml"):
        raise DataError(
            f"{show_text(path)}: the spec of a study, not a table; chinchilla-jax study run takes it"
        )
    if os.path.isdir(path):
        from chinchilla_jax.datasets.readers.folder import read_folder

        return read_folder(path, _read_path)
    return read_bytes(
        read_place(path), show_text(path), named_parquet=path.lower().endswith((".parquet", ".pq"))
    )


def read_bytes(content: bytes, where: str, *, named_parquet: bool = False) -> Table:
    """Read the content of a file.

    Args:
        content: all of it, perhaps compressed.
        where: names it in messages.
        named_parquet: whether its name promises Parquet.

    Raises:
        DataError: it holds no table.
    """
    content = unpacked(content, where)
    # A reader is imported where its table is read: most tables are text.
    if content.startswith((b"PAR1", b"ARROW1")):
        from chinchilla_jax.datasets.readers.arrow import read_feather, read_parquet

        return (read_parquet if content.startswith(b"PAR1") else read_feather)(content, where)
    if content.startswith(b"PK\x03\x04"):
        from chinchilla_jax.datasets.readers.excel import read_excel

        return read_excel(content, where)
    if content.startswith(b"SQLite") and b"CREATE TABLE settings (value" in content:
        raise DataError(
            f"{where}: not a table but a database of chinchilla-jax progress; write its runs to a table with "
            f"chinchilla-jax progress export {where} runs.csv"
        )
    for signature, what in _SIGNATURES:
        if content.startswith(signature):
            raise DataError(f"{where}: not a table but {what}")
    if content[_TAR[0] :].startswith(_TAR[1]):
        raise DataError(f"{where}: not a table but a tar archive; unpack it, and give the file or its folder")
    text = _decoded(content, where)
    start = text.lstrip()[:1]
    if not start:
        raise DataError(f"{where}: the file is empty; {_USE_A_TABLE}")
    if named_parquet:
        raise DataError(
            f"{where}: not Parquet despite its suffix (it does not start with PAR1); if it is CSV, rename it"
        )
    if start == "<":
        raise DataError(f"{where}: not a table but HTML or XML; {_USE_A_TABLE}{_raw_address(where)}")
    return read_json(text, where) if start in "{[" else read_delimited(text, where)


def _decoded(content: bytes, where: str) -> str:
    """The text, in UTF-8, or in UTF-16 with the mark by which Windows programs announce it."""
    wide = content.startswith(_UTF16)
    if not wide and b"\0" in content:
        raise DataError(f"{where}: holds NUL bytes: UTF-16 text or a binary file; save it as CSV in UTF-8")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise DataError(f"{where}: damaged UTF-16 text ({error.reason}); save it as UTF-8") from None
        row = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02x}"
        raise DataError(
            f"{where}: row {row}: byte {byte} is not UTF-8 (another encoding?); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{where}: holds NUL bytes: a binary file; save it as CSV in UTF-8")
    return text


def _raw_address(where: str) -> str:
    return "; a page about a file has another address than the raw file" if is_url(where) else ""
