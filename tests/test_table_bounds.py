"""Tables that a few bytes make endless are one line: what they hold is counted before it is read."""

from __future__ import annotations

import io
import json
import lzma
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from chinchilla_jax import load_runs
from chinchilla_jax._util.errors import DataError
from chinchilla_jax.datasets.reading import read_bytes

HEADER = "params,tokens,loss"


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def feather(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def same(count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), ["x" * 200_000])


def lines(row: str, count: int) -> bytes:
    return (f"{HEADER}\n" + f"{row}\n" * count).encode()


def asks_for_memory() -> bytes:
    """An xz stream whose header says that 1.5 GiB are needed to read it."""
    content = bytearray(lzma.compress(b"params\n", lzma.FORMAT_XZ, preset=0))
    size = (content[12] + 1) * 4
    head = bytearray(content[12 : 12 + size - 4])
    head[head.index(0x21) + 2] = 37  # the size of the dictionary
    content[12 : 12 + size] = head + struct.pack("<I", zlib.crc32(bytes(head)))
    return bytes(content)


MEMORY, COLUMNS = "CHINCHILLA_JAX_MAX_TABLE_MEMORY", "CHINCHILLA_JAX_MAX_COLUMNS"
BOMBS = {
    "rows of one number": (lambda: parquet(params=np.ones(300_000), loss=np.ones(300_000)), MEMORY),
    "a long list": (lambda: parquet(params=[1e9], x=[[0] * 1_000_000]), MEMORY),
    "nulls": (lambda: feather(params=pa.nulls(1_000_000)), MEMORY),
    "short cells": (lambda: lines("1," * 60, 25_000), MEMORY),
    "short rows": (lambda: lines("1,1,1", 200_000), MEMORY),
    "line ends": (lambda: b"N,D,L\n" + b"\r" * 300_000, MEMORY),
    "empty objects": (lambda: b"[" + b"{}," * 300_000 + b"{}]", MEMORY),
    "lists": (lambda: b"[" * 2_000_000, MEMORY),
    "columns of a CSV": (lambda: ",".join(f"c{i}" for i in range(2000)).encode() + b"\n", COLUMNS),
    "columns of JSON": (lambda: json.dumps([{f"c{i}": 1} for i in range(1001)]).encode(), COLUMNS),
    "columns of Parquet": (lambda: parquet(**{f"c{i}": [1] for i in range(1001)}), COLUMNS),
    "a row without end": (lambda: HEADER.encode() + b"\n" + b"," * 1_000_000, COLUMNS),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_expands_is_counted_first(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the limit and the variable that raises it."""
    monkeypatch.setenv(MEMORY, "1e8")  # for a test that is quick
    monkeypatch.setenv(COLUMNS, "1000")
    make, variable = BOMBS[bomb]
    with pytest.raises(DataError, match=variable):
        read_bytes(make(), "t")


@pytest.mark.parametrize("content", [b'{"columns": [], "data": []}', b'params\ttokens\n"1"2\t3\n'])
def test_what_fuzzing_found_is_a_line_that_prints(content: bytes) -> None:
    """A table without columns was a traceback; the tab of a message was printed as it is."""
    with pytest.raises(DataError) as caught:
        read_bytes(content, "t")
    assert str(caught.value).isprintable()


def test_a_long_text_that_all_rows_share_is_held_once() -> None:
    """20,000 rows of 200 kB each are 4 GB as a list of texts."""
    n = 20_000
    table = read_bytes(parquet(params=np.ones(n), x=same(n)), "t")
    cells = table.column(1)
    assert len(cells) == n
    assert cells[0] is cells[-1]


def test_a_long_cell_is_no_label() -> None:
    """NumPy would make room for the longest text in every row: 37 GB here."""
    rows = [
        f"{10**8 + 1000 * i},{10**9 + 7 * i},{3 + i % 7 / 10},{'a' if i % 2 else 'b'}" for i in range(20_000)
    ]
    rows[0] = rows[0][:-1] + "x" * 100_000
    runs = load_runs(io.StringIO("\n".join([f"{HEADER},tag", *rows])))
    assert "tag" not in runs.labels


def test_xz_that_asks_for_gigabytes_is_refused() -> None:
    """The decoder's memory is bounded, whatever the header says."""
    with pytest.raises(DataError, match="damaged xz file"):
        read_bytes(asks_for_memory(), "t")
    assert read_bytes(lzma.compress(b"a,b\n1,2\n") + lzma.compress(b"3,4\n"), "t").column(1) == ["2", "4"]


def test_a_field_that_is_given_twice_in_a_large_object_is_found_at_once() -> None:
    """It was looked for by comparing every field with every other."""
    fields = ",".join(f'"c{i}":1' for i in range(100_000))
    with pytest.raises(DataError, match="'c99999' is given twice"):
        read_bytes(f'[{{{fields},"c99999":2}}]'.encode(), "t")


@pytest.mark.parametrize("quantity", ["params", "tokens", "loss"])
@pytest.mark.parametrize("value", [1e-312, 5e-324, "1e-312", "1e-400"])
def test_numbers_below_the_normal_range_are_one_line(quantity: str, value: object) -> None:
    """Their reciprocals are infinite, and a fit of them ended as any other bad fit."""
    rows = [{"params": 1e9 * (i + 1), "tokens": 2e10 + i * i, "loss": 2.5 + i / 10} for i in range(9)]
    rows[3][quantity] = value  # type: ignore[assignment]
    with pytest.raises(DataError, match=f"index 3, column '{quantity}': .* too small for a float64"):
        load_runs(rows)
