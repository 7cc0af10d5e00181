"""The directory of an atlas.

| file                   | content                                                                          |
|------------------------|----------------------------------------------------------------------------------|
| atlas.json             | seed, tables, state, checksums of the tables below and of what they are made from |
| <table>/               | the study of a table, a study directory like any other                           |
| breakdown/<table>/     | what every search of its breakdown found                                         |
| summary/*.parquet, csv | the tables of the atlas, see `tables.py`                                         |
| figures/, report.html  | made from these                                                                  |

All below atlas.json is a function of the studies and of the searches, which resume by themselves; so an atlas
that was killed anywhere resumes, and gives the same tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.directories import Directory, refuse_no_folder
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.part_files import checksum, read_sound
from chinchilla_jax._util.sealed_json import is_sealed_json, opened_json, sealed_json
from chinchilla_jax.study.atlas.spec import TABLES, AtlasSpec
from chinchilla_jax.study.atlas.tables import KINDS
from chinchilla_jax.study.result import read_file
from chinchilla_jax.study.storage.tables import parse_table, table_bytes

if TYPE_CHECKING:
    import pandas as pd

RECORD = "atlas.json"
BREAKDOWN = "breakdown"
FORMAT = 1
_OURS = {*TABLES, BREAKDOWN, "summary", "figures", "report.html"}


def place(directory: Directory, *names: str) -> str:
    """Where something in the directory is, as a path or URL that `open_directory` takes."""
    return "/".join((directory.location.rstrip("/"), *names))


def claim(directory: Directory, spec: AtlasSpec) -> dict[str, Any]:
    """Make sure that the directory is this atlas's, and return its record.

    Tables may be added, and resamples; tables that are there already stay.

    Raises:
        UsageError: the directory holds something else, or an atlas of another seed or with more resamples.
        DataError: its record is damaged.
    """
    refuse_no_folder(directory)
    directory.clean_up(("summary", "figures"))
    try:
        record = read_record(directory)
    except FileNotFoundError:
        others = sorted(directory.entries() - _OURS)
        if others:
            raise UsageError(
                f"{directory}: holds {others[0]} but no {RECORD}; give a directory that is new or empty"
            ) from None
        record = {"format": FORMAT, "seed": spec.seed, "resamples": spec.resamples, "tables": []}
    if record["seed"] != spec.seed:
        raise UsageError(
            f"{directory}: holds an atlas with seed {record['seed']}, not {spec.seed}; give that seed, or "
            "another directory"
        )
    if record["resamples"] > spec.resamples:
        more = record["resamples"]
        raise UsageError(
            f"{directory}: this atlas already has {more:,} resamples; give --resamples {more} or more"
        )
    tables = [name for name in TABLES if name in (*record["tables"], *spec.tables)]
    wanted = record | {"tables": tables, "resamples": spec.resamples}
    if wanted != record:
        record = wanted | {"state": "running"}
        write_record(directory, record)
    return record


def read_record(directory: Directory) -> dict[str, Any]:
    """The content of atlas.json.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is damaged, or of a later version.
    """
    content = read_sound(directory, RECORD, is_sealed_json)
    try:
        fields, _ = opened_json(content)
    except ValueError as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(
            f"{directory.at(RECORD)}: damaged ({reason}); remove this file and run the atlas again into the "
            "same directory"
        ) from None
    if fields.get("format") != FORMAT:
        raise DataError(f"{directory.at(RECORD)}: written by another version of chinchilla_jax")
    return fields


def read_existing(directory: Directory) -> dict[str, Any]:
    """`read_record`, where there must be an atlas.

    Raises:
        UsageError: there is none.
        DataError: its record cannot be read.
    """
    try:
        return read_record(directory)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{directory}: no atlas (no atlas.json); see `chinchilla-jax study atlas`") from None


def write_record(directory: Directory, record: Mapping[str, Any]) -> None:
    """Replace atlas.json, atomically."""
    directory.write(RECORD, sealed_json(record))


def is_atlas(directory: Directory) -> bool:
    """Whether there is a record of an atlas."""
    return directory.exists(RECORD)


def record_spec(record: Mapping[str, Any]) -> AtlasSpec:
    """The atlas of a record, all its tables."""
    return AtlasSpec(tables=tuple(record["tables"]), resamples=record["resamples"], seed=record["seed"])


def inputs_checksum(studies: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """What an atlas's tables are made from: the records of its studies, the settings of its breakdowns."""
    found = {
        name: [[part["file"] for part in info["parts"]], info["checksums"]] for name, info in studies.items()
    }
    return checksum(json.dumps([found, settings], sort_keys=True).encode())


def write_tables(directory: Directory, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Write every table as Parquet and as CSV; their checksums by name."""
    import pyarrow as pa

    found = {}
    for kind in KINDS:
        frame = tables[kind]
        parquet = table_bytes(pa.Table.from_pandas(frame, preserve_index=False))
        text = frame.to_csv(index=False, lineterminator="\n").encode()
        for suffix, content in (("parquet", parquet), ("csv", text)):
            name = f"summary/{kind}.{suffix}"
            directory.write(name, content)
            found[name] = checksum(content)
    return found


def read_table(directory: Directory, kind: str, record: Mapping[str, Any]) -> pd.DataFrame:
    """One of the tables of a finished atlas.

    Raises:
        DataError: it is missing, or not as it was written.
    """
    name = f"summary/{kind}.parquet"
    return parse_table(directory.at(name), read_file(directory, name, record["checksums"])).to_pandas()
