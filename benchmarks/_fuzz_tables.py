"""Tables of every kind that `load_runs` reads: odd, damaged and hostile. For fuzz.py.

| kind    | what is done                                                              |
|---------|---------------------------------------------------------------------------|
| cells   | cells that are no plain numbers: subnormal, endless, missing, control ... |
| names   | columns that are doubled, empty, very long, thousands, or hold escapes    |
| damaged | bytes are cut, doubled, exchanged, overwritten or spliced in              |
| options | conditions, units, groups and columns that a table may not have           |
| bomb    | a small file that stands for a large table                                |

Each is written as text, JSON, Parquet, Arrow, Excel or a folder, perhaps compressed, and read. It is read, or
refused in one line that prints; and takes less than ten seconds of processor time and a gigabyte.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import math
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from _fuzz_bombs import BOMBS

from chinchilla_jax import load_runs
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.cli import output

EXAMPLES = 10_000
MOST_SECONDS, MOST_BYTES = 10.0, 2**30
_EVERY = 50  # one example of so many is a bomb
_MOST_LETTERS = 4000

Rows = list[dict[str, Any]]
Draw = random.Random

_TOKENS: list[Any] = [
    "", " ", "nan", "NA", "None", "-", "?", "inf", "-inf", "1e400", "-1e400", "1e-312", "5e-324", "1e-400",
    "0", "-0.0", "-3", "1,5", "1.234.567", "1,234,567.8", "1 234 567", "1_000", "0x10", "1e5e5", "1.5B",
    "2 EFLOP", "3 bananas", "\u0661\u0662", "\uff11", "\u00bd", "1" * 5000, "9" * 400 + ".5", "1." * 2000,
    "e" * 3000, "=1+1", "@SUM(A1)", "+1-1", "'", '"', '""', "\\", "\t", "#", "# 1", "a\nb", "\x1b[31m",
    "\u202e", "\x07", "\x00", "\x7f", "\ufeff", "true", "2026-11-27", "[1]", "{}", '{"a": 1}', "null",
    "\U0001f600", "\ud7ff", "x" * 200_000,
]  # fmt: skip
_OBJECTS: list[Any] = [
    None, True, False, 0, -1, 10**30, 10**400, 5e-324, 1e-312, 1e308, math.nan, math.inf, [], [1, 2],
    {"a": 1}, {"value": 1}, [{"key": "a", "value": 1}], {"a": {"b": {"c": 1}}},
]  # fmt: skip
_NAMES = [
    "params", "N", "Model Size", "tokens", "D", "flops", "C", "loss", "L", "val/loss", "Loss (bits)",
    "tokens (B)", "params_active", "state", "status", "run", "run_name", "experiment", "outlier", "seed",
    "config", "summary", "_step", "", " ", "params ", "PARAMS", "\x1b[2Jloss", "loss\u202e", "a,b", "a\nb",
    '"', "=cmd", "#params", "N" * 100_000, "loss_" * 3000, "1e9", "a.b.c", "params.params", "\U0001f600",
    "metrics.loss", "perplexity", "bpb", "PF-days", "throughput/total_tokens", "|", ";", "x\x00y",
]  # fmt: skip
_CONDITIONS = [
    "loss < 3", "tokens / params > 20", "loss", "x == 'a' and", "((((loss)))) > 1", "9**9**9 > 1",
    "loss < 1e-312", "corpus in ('a', 'b')", "-" * 2000 + "1 > 0", "(" * 500 + "1" + ")" * 500 + " > 0",
    "__import__('os')", "loss == \x1b",
]  # fmt: skip


def prepared(folder: Path) -> Path:
    """Import what reading needs, so that the first example is no slower than others."""
    path = folder / "first.csv"
    path.write_bytes(_as_text(_rows(random.Random(0)), random.Random(0)))
    _read(path, {})
    return folder


def tried(folder: Path, draw: Draw, number: int) -> tuple[str, str, str]:
    """Kind, verdict and what happened for one example."""
    if number % _EVERY == _EVERY - 1:
        name = draw.choice(list(BOMBS))
        kind, what = f"bomb: {name}", name
        path = _put(folder, BOMBS[name](draw), number)
        options: dict[str, Any] = {}
    else:
        kind = draw.choice(["cells", "names", "damaged", "options"])
        rows = _rows(draw)
        if kind == "cells":
            _spoil_cells(rows, draw)
        elif kind == "names":
            rows = _spoil_names(rows, draw)
        form = draw.choice(list(_WRITERS))
        content = _written(form, rows, draw, folder / f"t{number}")
        if kind == "damaged" and isinstance(content, bytes):
            content = _damaged(content, draw)
        pack = draw.choice(["", "", "", *_PACKERS])
        if pack and isinstance(content, bytes):
            content = _PACKERS[pack](content)
            if draw.random() < 0.2:
                content = _damaged(content, draw)
        options = _options(draw) if kind == "options" else {}
        kind, what = f"{kind}: {form}", f"{form} {pack} {options!r:.200}"
        path = _put(folder, content, number)
    verdict, told = _limited(lambda: _read(path, options))
    _remove(path)
    return kind, verdict, f"{what}; {told}"


def _limited(read: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """What reading came to, by verdict and text, or that it took too much; with what it took."""
    with _measured() as measure:
        verdict, told = read()
    if measure["seconds"] > MOST_SECONDS:
        verdict = "hang"
    if measure["bytes"] > MOST_BYTES:
        verdict = "leak"
    return verdict, f"{told:.300}; {measure['seconds']:.1f} s, {measure['bytes'] / 1e6:.0f} MB"


@contextlib.contextmanager
def _measured() -> Any:
    """Processor time (s), and how much larger the process was at most (bytes; 0 where that is not known)."""
    found = {"seconds": 0.0, "bytes": 0.0}
    reset, before = Path("/proc/self/clear_refs"), 0
    with contextlib.suppress(OSError):
        reset.write_text("5")
        before = _kilobytes("VmRSS")
    begun = time.process_time()
    try:
        yield found
    finally:
        found["seconds"] = time.process_time() - begun
        if before:
            found["bytes"] = max(_kilobytes("VmHWM") - before, 0) * 1024.0


def _kilobytes(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _read(path: Path, options: dict[str, Any]) -> tuple[str, str]:
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            runs = load_runs(path, **options)
        except ChinchillaError as error:
            return _judged("refused", str(error), lines=False)
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {error}"
    arrays = (runs.params, runs.tokens, runs.flops, runs.loss)
    if not all(np.all(np.isfinite(array) & (array > 0)) for array in arrays):
        return "unusable", repr(runs)
    with contextlib.redirect_stdout(printed):
        output.print_runs(runs)
    said = "\n".join([printed.getvalue(), repr(runs), *(str(each.message) for each in caught)])
    return _judged("read", said, lines=True)


def _judged(verdict: str, text: str, *, lines: bool) -> tuple[str, str]:
    if not (text.replace("\n", "") if lines else text).isprintable():
        return "control characters", ascii(text)
    if len(text) > _MOST_LETTERS:
        return "long", text
    return verdict, text


# --- tables ------------------------------------------------------------------------------------------------


def _rows(draw: Draw) -> Rows:
    count = draw.choice([0, 1, 5, 6, 9, 15, 40])
    extra = draw.sample(["corpus", "seed", "run", "lr", "state"], draw.randrange(3))
    with_flops = draw.random() < 0.2
    rows: Rows = []
    for i in range(count):
        params, tokens = 10 ** draw.uniform(7, 10.5), 10 ** draw.uniform(9, 11.5)
        loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
        row: dict[str, Any] = {
            "params": round(params),
            "tokens": round(tokens),
            "loss": loss * draw.uniform(0.98, 1.02),
        }
        if with_flops:
            row["flops"] = 6 * params * tokens
        rows.append(row | {name: draw.choice(["a", "b", i, "finished", 1e-4]) for name in extra})
    return rows


def _spoil_cells(rows: Rows, draw: Draw) -> None:
    for _ in range(draw.randrange(1, 6)):
        if rows:
            row = draw.choice(rows)
            row[draw.choice([*row])] = draw.choice([*_TOKENS, *_OBJECTS])


def _spoil_names(rows: Rows, draw: Draw) -> Rows:
    added = draw.sample(_NAMES, draw.randrange(1, 6))
    if draw.random() < 0.03:
        added += [
            f"{draw.choice(['c', 'loss', 'params', 'N'])}{i}" for i in range(draw.choice([300, 3000, 12_000]))
        ]
    renamed = dict(zip(draw.sample(["params", "tokens", "loss"], 2), draw.sample(_NAMES, 2), strict=True))
    change = draw.random() < 0.5
    return [
        {renamed.get(name, name) if change else name: cell for name, cell in row.items()}
        | {name: draw.choice([1, "a", 2.5, 1e9]) for name in added}
        for row in rows
    ]


def _header(rows: Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _as_text(rows: Rows, draw: Draw, delimiter: str = ",") -> bytes:
    buffer, header = io.StringIO(newline=""), _header(rows)
    quoting: Literal[0, 1] = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(
        buffer, delimiter=delimiter, quoting=quoting, lineterminator=draw.choice(["\n", "\r\n", "\r"])
    )
    if draw.random() < 0.1:
        buffer.write(draw.choice(["sep=;\n", "# a comment\n", "Title\n\n", "|---|---|\n", "\n" * 30]))
    writer.writerow(header)
    for row in rows:
        writer.writerow([row.get(name, "") for name in header])
    return buffer.getvalue().encode("utf-8", "replace")


def _as_json(rows: Rows, draw: Draw) -> bytes:
    header = _header(rows)
    shape = draw.randrange(7)
    documents: list[Any] = [
        rows,
        {"runs": rows, "params": 1e9},
        {f"run-{i}": row for i, row in enumerate(rows)},
        {name: [row.get(name) for row in rows] for name in header},
        {"columns": header, "data": [[row.get(name) for name in header] for row in rows]},
        {name: {str(i): row.get(name) for i, row in enumerate(rows)} for name in header},
        {"a": rows, "b": rows},
    ]
    text = json.dumps(documents[shape], ensure_ascii=draw.random() < 0.5, default=str)
    return text.encode("utf-8", "replace")


def _as_lines(rows: Rows, draw: Draw) -> bytes:
    return "\n".join(json.dumps(row, default=str) for row in rows).encode()


def _arrow(rows: Rows) -> pa.Table:
    arrays = {}
    for name in _header(rows):
        cells = [row.get(name) for row in rows]
        try:
            arrays[name] = pa.array(cells)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            arrays[name] = pa.array([str(cell).encode("utf-8", "replace").decode() for cell in cells])
    return pa.table(arrays)


def _as_parquet(rows: Rows, draw: Draw) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(_arrow(rows), buffer, compression=draw.choice(["none", "snappy", "zstd", "gzip"]))
    return buffer.getvalue()


def _as_feather(rows: Rows, draw: Draw) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(
        _arrow(rows), buffer, compression=draw.choice(["uncompressed", "zstd", "lz4"])
    )
    return buffer.getvalue()


def _as_excel(rows: Rows, draw: Draw) -> bytes:
    import openpyxl
    from openpyxl.utils.exceptions import IllegalCharacterError

    book, header, buffer = openpyxl.Workbook(), _header(rows)[:2000], io.BytesIO()
    sheet = book.active
    assert sheet is not None
    for place, row in enumerate([dict(zip(header, header, strict=True)), *rows], start=1):
        for column, name in enumerate(header, start=1):
            with contextlib.suppress(IllegalCharacterError, ValueError, OverflowError):
                cell = row.get(name)
                small = (
                    cell is None
                    or isinstance(cell, str | float)
                    or (isinstance(cell, int) and abs(cell) < 2**63)
                )
                sheet.cell(place, column, cell if small else str(cell))
    if draw.random() < 0.2:
        book.create_sheet("\u202eother").append(["params", "tokens", "loss"])
    book.save(buffer)
    return buffer.getvalue()


def _as_folder(rows: Rows, draw: Draw, folder: Path) -> Path:
    folder.mkdir()
    for i, row in enumerate(rows):
        name = f"run{i}{draw.choice(['', '', chr(0x202E), chr(27) + '[2J'])}"
        content = _as_text([row], draw) if draw.random() < 0.5 else json.dumps(row, default=str).encode()
        suffix = draw.choice(["csv", "json", "csv", "json", "txt", "parquet"])
        (folder / f"{name}.{suffix}").write_bytes(
            _damaged(content, draw) if draw.random() < 0.05 else content
        )
    return folder


_WRITERS: dict[str, Callable[[Rows, Draw], bytes] | None] = {
    "csv": _as_text,
    "tsv": lambda rows, draw: _as_text(rows, draw, "\t"),
    "semicolons": lambda rows, draw: _as_text(rows, draw, ";"),
    "bars": lambda rows, draw: _as_text(rows, draw, "|"),
    "blanks": lambda rows, draw: _as_text(rows, draw, " "),
    "utf-16": lambda rows, draw: _as_text(rows, draw).decode().encode("utf-16"),
    "html": lambda rows, draw: b"<html><table>" + _as_text(rows, draw) + b"</table>",
    "json": _as_json,
    "jsonl": _as_lines,
    "parquet": _as_parquet,
    "feather": _as_feather,
    "xlsx": _as_excel,
    "folder": None,
}
_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda content: gzip.compress(content, 1),
    "bz2": lambda content: bz2.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def _written(form: str, rows: Rows, draw: Draw, folder: Path) -> bytes | Path:
    write = _WRITERS[form]
    return _as_folder(rows, draw, folder) if write is None else write(rows, draw)


def _damaged(content: bytes, draw: Draw) -> bytes:
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        if not data:
            break
        start = draw.randrange(len(data))
        stop = min(start + draw.choice([1, 1, 4, 64, 1000]), len(data))
        match draw.randrange(7):
            case 0:
                data[start] ^= 1 << draw.randrange(8)
            case 1:
                data[start:stop] = draw.randbytes(stop - start)
            case 2:
                del data[start:stop]
            case 3:
                data[start:start] = data[start:stop] * draw.choice([1, 2, 100])
            case 4:
                data[start:stop] = str(draw.choice(_TOKENS)).encode("utf-8", "replace")
            case 5:
                del data[start:]
            case 6:
                data[start : start + 4] = draw.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
    return bytes(data)


def _options(draw: Draw) -> dict[str, Any]:
    every: dict[str, Any] = {
        "where": draw.choice(_CONDITIONS),
        "best_of": draw.choice([("params", "tokens"), ("\x1b",), "seed"]),
        "columns": {draw.choice(["params", "loss", "flops"]): draw.choice(_NAMES)},
        "units": {
            draw.choice(["params", "loss", "tokens"]): draw.choice(["billions", "bits", "1e400", "\x1b", ""])
        },
        "groups": (draw.choice(_NAMES),),
        "experiment": draw.choice(_NAMES),
        "bytes_per_token": draw.choice([4.5, 1e-312, 1e308, -1.0]),
        "drop_missing": True,
        "final": True,
        "all_states": True,
        "drop_highest_loss": draw.choice([1, 5, 10**9]),
        "losses": {draw.choice(["a", "\x1b", "b$"]): draw.choice(["loss", "val/loss"])},
    }
    return {name: every[name] for name in draw.sample(list(every), draw.randrange(1, 4))}


def _put(folder: Path, content: bytes | Path, number: int) -> Path:
    if isinstance(content, Path):
        return content
    path = folder / f"t{number}{'' if number % 3 else chr(0x202E) + chr(27) + '[2J'}.csv"
    path.write_bytes(content)
    return path


def _remove(path: Path) -> None:
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink()
