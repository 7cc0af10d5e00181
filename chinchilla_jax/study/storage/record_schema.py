"""What a study.json holds, field by field, and whether one does; the same of the record in a chunk.

| field               | value                                                                             |
|---------------------|-----------------------------------------------------------------------------------|
| format              | 2; 1 before it carried a checksum                                                 |
| numerics            | whole number, see `study/numerics.py`: which versions compute the same digits     |
| state, error        | running, interrupted, failed or complete; why it failed                           |
| spec                | the study, see `StudySpec.from_record`                                            |
| n_conditions, n_fits| counts                                                                            |
| blocks              | [first, stop] of each range of resamples, from 0, without gaps                    |
| seed                | of the study                                                                      |
| data_hash(es)       | of the runs, by interpretation                                                    |
| versions, device    | what computed it                                                                  |
| started, wall_time  | ISO 8601; seconds                                                                 |
| *status_counts      | fits by status                                                                    |
| notes               | condition and note                                                                |
| timing              | seconds by stage                                                                  |
| tables, checksums   | size (bytes) and checksum of each small table                                     |
| parts               | file, condition, first, stop, size (bytes) and checksum of each chunk             |
| checksum            | of all other fields                                                               |

The last three are there when the study is complete, and so are workers and peak_memory. Fields that are not
listed are kept and not looked at. File names lead to the places of this layout and nowhere else.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from chinchilla_jax._util.errors import short
from chinchilla_jax.study.storage.tables import FILES, RUNS

_STATES = ("running", "interrupted", "failed", "complete")
_MOST = 2**63 - 1
_MOST_SECONDS = 1e12
_HASH = re.compile(r"[0-9a-f]{16,64}")
_CHECKSUM = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"fits/part-[0-9a-f]+(-[0-9a-f]+)*\.parquet")

Check = Callable[[str, Any], None]
"""Takes the place of a value in the record, for messages, and the value; raises `SchemaError`."""


class SchemaError(ValueError):
    """A record, or a part of one, is not as described; the text is one line with the place."""


def _refuse(place: str, value: object, wanted: str) -> SchemaError:
    return SchemaError(f"{place} is {short(value)}, not {wanted}")


def text(place: str, value: Any) -> None:
    """Text of any length."""
    if not isinstance(value, str):
        raise _refuse(place, value, "a text")


def matching(pattern: re.Pattern[str], wanted: str) -> Check:
    """Text that matches as a whole."""

    def check(place: str, value: Any) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _refuse(place, value, wanted)

    return check


def one_of(*allowed: str) -> Check:
    """One of these texts."""

    def check(place: str, value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise _refuse(place, value, f"one of {', '.join(allowed)}")

    return check


def count(place: str, value: Any) -> None:
    """A whole number from 0 that fits into 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise _refuse(place, value, "a count")


def seconds(place: str, value: Any) -> None:
    """A duration."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _MOST_SECONDS:  # which NaN is not either
        raise _refuse(place, value, "a number of seconds")


def moment(place: str, value: Any) -> None:
    """A date and time of ISO 8601."""
    try:
        datetime.datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        raise _refuse(place, value, "a date and time") from None


def optional(check: Check) -> Check:
    """Nothing, or what `check` accepts."""
    return lambda place, value: None if value is None else check(place, value)


def list_of(check: Check) -> Check:
    """A list, each item as `check` accepts."""

    def check_list(place: str, value: Any) -> None:
        if not isinstance(value, list):
            raise _refuse(place, value, "a list")
        for number, item in enumerate(value):
            check(f"{place}[{number}]", item)

    return check_list


def table_of(check: Check, *names: str) -> Check:
    """An object whose values `check` accepts; with `names`, it has these and no others."""

    def check_table(place: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise _refuse(place, value, "an object")
        if names and {*names} != {*value}:
            raise SchemaError(f"{place} has {short(sorted(value), 80)}, not {', '.join(names)}")
        for name, item in value.items():
            check(f"{place}.{name if name.isidentifier() else short(name)}", item)

    return check_table


def _of_tables(check: Check) -> Check:
    """An object with a value for each small table; that of the runs is not there in earlier versions."""

    def check_tables(place: str, value: Any) -> None:
        runs = (RUNS,) if isinstance(value, dict) and RUNS in value else ()
        table_of(check, *FILES.values(), *runs)(place, value)

    return check_tables


def fields(required: Mapping[str, Check], others: Mapping[str, Check]) -> Check:
    """An object with the fields of `required` and perhaps of `others`; further ones are left alone."""

    def check_fields(place: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise _refuse(place or "it", value, "an object")
        before = f"{place}." if place else ""
        for name in required:
            if name not in value:
                raise SchemaError(f"{before}{name} is missing")
        for name, check in (*required.items(), *others.items()):
            if name in value:
                check(f"{before}{name}", value[name])

    return check_fields


def _stage(place: str, value: Any) -> None:
    (table_of(seconds) if isinstance(value, dict) else seconds)(place, value)


def _blocks(place: str, value: Any) -> None:
    list_of(list_of(count))(place, value)
    end = 0
    for number, block in enumerate(value):
        if len(block) != 2 or block[0] != end or block[1] <= block[0]:
            raise _refuse(f"{place}[{number}]", block, f"a range of resamples that begins at {end}")
        end = block[1]
    if not value:
        raise _refuse(place, value, "a list of ranges of resamples")


def _block(place: str, value: Any) -> None:
    list_of(count)(place, value)
    if len(value) != 2 or value[0] >= value[1]:
        raise _refuse(place, value, "a range of resamples")


def _units(place: str, value: Any) -> None:
    numbers = isinstance(value, list) and all(isinstance(each, float) for each in value)
    if not numbers or len(value) != 4 or not all(math.isfinite(each) for each in value):
        raise _refuse(place, value, "four numbers")


def _versions(place: str, value: Any) -> None:
    table_of(text)(place, value)
    fields({"chinchilla_jax": text}, {})(place, value)


_DEVICE = fields(
    {"platform": text, "kind": text, "count": count, "machine": text, "cores": count},
    {},
)
_ANY = fields(
    {
        "state": one_of(*_STATES),
        "spec": fields({}, {}),
        "n_conditions": count,
        "n_fits": count,
        "data_hash": matching(_HASH, "a hash"),
        "versions": _versions,
        "started": moment,
    },
    {
        "numerics": count,
        "error": optional(text),
        "blocks": _blocks,
        "seed": count,
        "data_hashes": table_of(matching(_HASH, "a hash")),
        "device": optional(_DEVICE),
        "made_on": table_of(count),
        "wall_time": optional(seconds),
        "status_counts": table_of(count),
        "point_status_counts": table_of(count),
        "notes": list_of(fields({"condition": text, "note": text}, {})),
        "timing": table_of(_stage),
        "workers": count,
        "peak_memory": optional(count),
        "read": list_of(text),
        "resampling": text,
        "goodness": text,
    },
)
_COMPLETE = fields(
    {
        "status_counts": table_of(count),
        "point_status_counts": table_of(count),
        "notes": list_of(fields({"condition": text, "note": text}, {})),
        "timing": table_of(_stage),
        "seed": count,
        "wall_time": optional(seconds),
        "device": _DEVICE,
        "checksums": _of_tables(matching(_CHECKSUM, "a checksum")),
        "tables": _of_tables(count),
        "parts": list_of(
            fields(
                {
                    "file": matching(_PART, "the name of a file in fits"),
                    "condition": text,
                    "first": count,
                    "stop": count,
                    "bytes": count,
                    "checksum": matching(_CHECKSUM, "a checksum"),
                },
                {},
            )
        ),
    },
    {},
)


_CHUNK = fields(
    {
        "condition": text,
        "block": _block,
        "n_runs": count,
        "points": list_of(fields({"objective": text, "status": text, "steps": count}, {})),
        "notes": list_of(text),
        "versions": table_of(text),
        "status_counts": table_of(count),
    },
    {"made_on": text, "units": _units},
)


def check_chunk(record: Any) -> None:
    """Refuse what is not the record in a chunk's file.

    Raises:
        SchemaError: as for `check_record`.
    """
    _CHUNK("", record)


def check_record(record: Any) -> None:
    """Refuse what is not the record of a study.

    Raises:
        SchemaError: it names the first field that is missing or not as described.
    """
    _ANY("", record)
    interpretations = record["spec"].get("interpretations")
    if "data_hashes" in record and isinstance(interpretations, list):
        for name in interpretations:
            if isinstance(name, str) and name not in record["data_hashes"]:
                raise SchemaError(f"data_hashes has none for {short(name)}, which spec.interpretations has")
    blocks, resamples = record.get("blocks"), record["spec"].get("resamples")
    if blocks and isinstance(resamples, int) and blocks[-1][1] != resamples:
        raise SchemaError(f"blocks ends at {blocks[-1][1]}, and spec.resamples is {short(resamples)}")
    if record["state"] == "complete":
        _COMPLETE("", record)
        _check_parts(record)


def _check_parts(record: Mapping[str, Any]) -> None:
    """Compare the parts of a complete study with its size."""
    parts = record["parts"]
    names = {part["file"] for part in parts}
    conditions = {part["condition"] for part in parts}
    if len(names) != len(parts):
        raise SchemaError("parts names a file twice")
    if len(conditions) != record["n_conditions"]:
        raise SchemaError(
            f"parts has {len(conditions)} conditions, and n_conditions is {record['n_conditions']}"
        )
    fits = sum(part["stop"] - part["first"] for part in parts)
    if fits != record["n_fits"]:
        raise SchemaError(f"parts has {fits} fits, and n_fits is {record['n_fits']}")
