"""JSON lines: one JSON object per line, as training loops and the Weights & Biases API write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.errors import DataError, short


def records_of(text: str, where: str) -> tuple[list[int], list[dict[str, object]]]:
    """The line number and the fields of each object; fields of nested objects are joined by dots.

    Args:
        text: the file.
        where: its name in messages.

    Raises:
        DataError: a line is not a JSON object.
    """
    rows, records = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise DataError(
                f"{where}: row {number}: not a JSON object ({reason}); write one run per line, "
                'such as {"params": 1e9, "tokens": 2e10, "loss": 2.6}'
            ) from None
        if not isinstance(value, Mapping):
            raise DataError(
                f"{where}: row {number}: {short(value)} is not a JSON object; write one run per line"
            )
        rows.append(number)
        records.append(flattened(value))
    return rows, records


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """The fields, those of nested objects named "outer.inner".

    Names that begin with "_" are left out: Weights & Biases uses them for its own bookkeeping.
    """
    fields: dict[str, object] = {}
    stack = [(prefix, value)]
    while stack:
        before, mapping = stack.pop()
        for name, inner in mapping.items():
            if str(name).startswith("_"):
                continue
            if isinstance(inner, Mapping):
                stack.append((f"{before}{name}.", inner))
            else:
                fields[f"{before}{name}"] = inner
    return fields
