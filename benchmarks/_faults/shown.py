"""What the files of a place show: digests without the times and processes of the run."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Of the page: when, where, how long, and with how much memory.
_OF_THE_RUN = re.compile(
    r"<dt>(?:Started|Time|Peak memory|Device|Versions|Processor)</dt><dd>.*?</dd>|\d{4}-\d\d-\d\d"
    r"|<meta name=\"chinchilla[^>]*>"
)
_OF_THE_RECORD = ("state", "error", "spec", "blocks", "data_hashes", "status_counts", "notes", "parts")
_TABLES, _PICTURES = (".parquet",), (".png", ".pdf", ".svg", ".html")
IGNORED = re.compile(r"(^|/)\.at-work\.")


def local_files(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its relative name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def shown(files: Mapping[str, bytes], *, numbers: bool = False) -> dict[str, str]:
    """A digest for each file.

    Args:
        files: content by name.
        numbers: take the numbers of tables and not their bytes, which hold versions, and no pictures.
    """
    found = {}
    for name, content in files.items():
        if IGNORED.search(name) or (numbers and not name.endswith(_TABLES)):
            continue
        if numbers:
            name = re.sub(r"-[0-9a-f]{32}\.parquet$", "", name)
            content = _numbers(content)
        elif name.endswith(".html"):
            content = _OF_THE_RUN.sub("", content.decode(errors="replace")).encode()
        elif name.rpartition("/")[2] in ("study.json", "derived.json"):
            content = _record(content)
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names of tables and records, and of figures and pages, that differ, are missing or too many."""
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    pictures = [name for name in names if name.endswith(_PICTURES)]
    return [name for name in names if name not in pictures], pictures


def _record(content: bytes) -> bytes:
    try:
        record: dict[str, Any] = json.loads(content)
    except ValueError:
        return content
    figures = record.get("figures") or {}
    kept = {name: record.get(name) for name in _OF_THE_RECORD}
    return json.dumps([kept, figures.get("whole"), figures.get("files")], sort_keys=True).encode()


def _numbers(content: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Without threads, which a process that forks must not have.
        table = pq.read_table(pa.BufferReader(content), use_threads=False, pre_buffer=False)
    except (pa.ArrowException, OSError):
        return content
    stream = io.BytesIO()
    for name in sorted(table.column_names):
        values = table[name].to_pylist()
        stream.write(
            repr((name, [each.hex() if isinstance(each, float) else each for each in values])).encode()
        )
    return stream.getvalue()
