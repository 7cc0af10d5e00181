"""JSON objects that carry their own checksum, for files that a program writes and reads back."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "checksum"
"""The field that holds it."""


def sealed_json(fields: Mapping[str, Any]) -> bytes:
    """`fields` as JSON, one to a line, and last a checksum of the others.

    Numbers are finite, as JSON has no others.
    """
    whole = {**fields, SEAL: seal(fields)}
    lines = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in whole.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def opened_json(content: bytes) -> tuple[dict[str, Any], bool]:
    """The fields without their checksum, and whether there was one: older versions wrote none.

    Raises:
        ValueError: no JSON object, or one that was changed since it was sealed; the text says which.
    """
    try:
        fields = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    if SEAL not in fields:
        return fields, False
    if not _is_as_written(content):
        raise ValueError("wrong checksum")
    del fields[SEAL]
    return fields, True


@functools.lru_cache(maxsize=2)  # a file is read several times in a row, and some are long
def _is_as_written(content: bytes) -> bool:
    """Whether a JSON object with a checksum is what `sealed_json` wrote.

    Compared byte by byte: twice the same name, or other spaces, are a change that fields do not show.
    """
    fields = json.loads(content)
    return fields.pop(SEAL) == seal(fields) and content == sealed_json(fields)


def is_sealed_json(content: bytes) -> bool:
    """Whether this is what `sealed_json` wrote."""
    try:
        return opened_json(content)[1]
    except ValueError:
        return False


def seal(fields: Mapping[str, Any]) -> str:
    """The checksum of `fields`."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
