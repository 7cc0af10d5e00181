"""The tables of a study directory: their columns and types, as Parquet and back.

The order of the columns is part of the format. Strings are strings to every reader (in the file Parquet
keeps a dictionary of them), numbers float64 or int64. Units are plain counts and FLOP, losses in nats per
token.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax.laws.scaling_law import PARAMETERS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from chinchilla_jax.laws import Law

_LAW = dict.fromkeys(PARAMETERS, "float64")

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "conditions": {
        "condition": "string",
        "family": "string",
        "value": "float64",
        "repeat": "int64",
        "params": "string",
        "n_runs": "int64",
    },
    "point": {"condition": "string", "objective": "string"}
    | _LAW
    | {"objective_value": "float64", "status": "string", "steps": "int64"},
    "fits": {"condition": "string", "resample": "int64"}
    | _LAW
    | {"objective_value": "float64", "decrement": "float64", "status": "string", "steps": "int64"},
    "params": {
        "condition": "string",
        "parameter": "string",
        "estimate": "float64",
        "standard_error": "float64",
        "low": "float64",
        "high": "float64",
        "level": "float64",
        "method": "string",
        "n_converged": "int64",
        "n_failed": "int64",
    },
    "tokens_per_param": {
        "condition": "string",
        "flops": "float64",
        "low": "float64",
        "median": "float64",
        "high": "float64",
        "level": "float64",
        "method": "string",
        "estimate": "float64",
    },
}

"""By the kind of the table; under another law its parameters take the place of E, A, B, alpha and beta."""

REPAIR = "run the study again into the same directory to repair it"

RUNS = "runs.parquet"
"""The runs of a study, see `runs_file`; directories of earlier versions have none."""

FILES: Mapping[str, str] = {
    "conditions": "conditions.parquet",
    "point": "point.parquet",
    "params": "summary/params.parquet",
    "tokens_per_param": "summary/tokens_per_param.parquet",
}


@dataclasses.dataclass(frozen=True, eq=False)
class DictionaryColumn:
    """A column of few different strings, without an object per row.

    Attributes:
        codes: (rows,) integers, the index of each row's string.
        strings: what they stand for.
    """

    codes: NDArray[Any]
    strings: Sequence[str]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.codes)


def columns_of(kind: str, parameters: Sequence[str]) -> dict[str, str]:
    """The columns of a kind of table under a law with these parameters, with their types."""
    found = {name: dtype for name, dtype in COLUMNS[kind].items() if name not in _LAW}
    if len(found) == len(COLUMNS[kind]):
        return found
    before = dict(list(found.items())[:2])  # whose row it is
    return before | dict.fromkeys(parameters, "float64") | found


def require_parameters(law: Law) -> None:
    """Refuse a law with a parameter whose name a column has already.

    Raises:
        UsageError: it has one.
    """
    columns = {name for kind in ("fits", "point") for name in columns_of(kind, ())}
    for name in law.parameters:
        if name in columns:
            raise UsageError(
                f"law {law.name}: its parameter {name} has the name of a column of a study's tables; give it "
                "another"
            )


def to_table(kind: str, columns: Mapping[str, Any], parameters: Sequence[str] = PARAMETERS) -> pa.Table:
    """An Arrow table of one of the `COLUMNS`, in their order and types.

    Args:
        kind: a key of `COLUMNS`.
        columns: column name to its values (an array or a `DictionaryColumn`), all of one length.
        parameters: of the law.

    Raises:
        KeyError: a column is missing.
    """
    import pyarrow as pa

    arrays, types = [], columns_of(kind, parameters)
    for name, dtype in types.items():
        values = columns[name]
        if isinstance(values, DictionaryColumn):
            codes = _numbers(values.codes, values.codes.dtype.name)
            array = pa.DictionaryArray.from_arrays(codes, _strings(values.strings))
            if kind != "fits":  # which `fits_bytes` writes so that they are read back as strings
                array = array.dictionary_decode()
        elif dtype == "string":
            array = _strings(values)
        else:
            array = _numbers(values, dtype)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=list(types))


# From their memory: `pa.array` imports pandas, for a quarter of a second, to ask whether values are of it.


def _numbers(values: Any, dtype: str) -> pa.Array:
    import pyarrow as pa

    array = np.ascontiguousarray(values, dtype=dtype)
    return pa.Array.from_buffers(pa.type_for_alias(dtype), len(array), [None, pa.py_buffer(array)])


def _strings(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def table_bytes(table: pa.Table) -> bytes:
    """`table` as a Parquet file; the same table gives the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    # Dictionaries of numbers that hardly repeat cost both time and space.
    strings = [field.name for field in table.schema if field.type == pa.string()]
    pq.write_table(table, stream, compression="zstd", compression_level=1, use_dictionary=strings)
    return stream.getvalue()


def fits_bytes(table: pa.Table, metadata: Mapping[bytes, bytes]) -> bytes:
    """A table of fits as a Parquet file with `metadata`; the same arguments give the same bytes.

    The digits of fits are as good as random: compression would take more than half of the time to save 5% of
    the size. Columns that repeat or count up are encoded as such. The statistics of the column condition let
    readers skip files of other conditions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = pa.BufferOutputStream()
    counted = {"resample": "DELTA_BINARY_PACKED"}
    with pq.ParquetWriter(
        stream,
        table.schema,
        compression="none",
        use_dictionary=["condition", "status", "steps"],
        column_encoding=counted | {each.name: "PLAIN" for each in table.schema if each.type == pa.float64()},
        write_statistics=["condition", "resample"],
        store_schema=False,  # so that a dictionary is read back as strings
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(dict(metadata))
    return stream.getvalue().to_pybytes()


def parse_table(where: str, content: bytes) -> pa.Table:
    """The table in a Parquet file that `table_bytes` made.

    Raises:
        DataError: torn, or not a Parquet file; the message names it as `where`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(content)) as file:
            return file.read(use_threads=False)  # each is small, and many are read side by side
    except (pa.ArrowException, OSError) as error:
        raise torn(where, error) from None


def torn(where: str, error: Exception) -> DataError:
    """Build (not raise) the error for a file that was cut off or overwritten."""
    reason = " ".join(str(error).split())[:120]
    return DataError(f"{where}: torn or not what was written ({reason}); {REPAIR}")
