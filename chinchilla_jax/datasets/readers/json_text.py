"""JSON: one object per line, or one document, as training loops, trackers and pandas write them.

| document                                      | what a row is                                    |
|-----------------------------------------------|--------------------------------------------------|
| [{...}, {...}]                                | an object                                        |
| {"runs": [{...}, {...}], ...}                 | an object of the only list of objects (1)        |
| {"run-1": {...}, "run-2": {...}}              | an object; its name becomes the column "run"     |
| {"runs": {"run-1": {...}, ...}, ...}          | an object, likewise                              |
| {"params": [...], "tokens": [...], ...}       | a place in the lists; other fields are left out  |
| {"params": {"0": ...}, ...} (pandas)          | a name in the inner objects                      |
| {"columns": [...], "data": [[...], ...]}      | an inner list                                    |
| {...}                                         | the whole                                        |

(1) with the fields beside the list, where these hold a quantity that the objects lack.
Fields of nested objects get the name "outer.inner".
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.meaning import quantity_of
from chinchilla_jax.datasets.readers.headers import n_quantities
from chinchilla_jax.datasets.readers.limits import require_cell_memory, require_columns, require_json_memory
from chinchilla_jax.datasets.table import Table

_EXAMPLE = '{"params": 1e9, "tokens": 2e10, "loss": 2.6}'
_ONE_PER_LINE = f"write one run per line, such as {_EXAMPLE}"
_MOST_JUDGED = 1000  # objects, of which each is a run or not
_Columns = dict[str, list[object]]


def read_json(text: str, where: str) -> Table:
    """The table in a JSON document, or in lines of JSON.

    Raises:
        DataError: it is neither, or does not say what its rows are.
    """
    require_json_memory(where, text)
    try:
        document = _parsed(text)
    except ValueError as error:
        begins, _, rest = text.lstrip().partition("\n")
        if begins.startswith("{") and (begins.rstrip().endswith("}") or not rest.strip()):
            return _lines(text, where)
        row = f"row {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{where}: {row}not JSON ({_reason(error)}); {_ONE_PER_LINE}") from None
    except RecursionError:
        raise DataError(f"{where}: not a table of runs (nested too deeply); {_ONE_PER_LINE}") from None
    return table_of_document(document, where)


def table_of_document(document: object, where: str, row_word: str = "row") -> Table:
    """The table in lists and mappings, by the table above.

    Args:
        document: as `json.loads` returns it.
        where: its name in messages.
        row_word: "row" to count rows from 1, "index" to count them from 0.

    Raises:
        DataError: it does not say what its rows are.
    """
    start = int(row_word == "row")
    if isinstance(document, Mapping):
        columns = _columns(document, where)
        if columns is not None:
            if not columns:
                raise DataError(f"{where}: it has no columns; give one run per object, such as {_EXAMPLE}")
            require_columns(where, len(columns))
            cells = list(columns.values())
            rows = range(start, start + len(cells[0]))
            return Table(where, tuple(columns), cells.__getitem__, rows, row_word)
        records: Sequence[object] = _records(document, where)
    elif isinstance(document, Sequence) and not isinstance(document, str):
        records = document
    else:
        raise DataError(f"{where}: {short(document)} is not a table; {_ONE_PER_LINE}")
    rows = range(start, start + len(records))
    return table_of_records(records, rows, where, row_word)


def table_of_records(
    records: Sequence[object], rows: Sequence[object], where: str, row_word: str = "row"
) -> Table:
    """A row for each object; a field that an object lacks is empty.

    Raises:
        DataError: one of them is no object.
    """
    fields: list[dict[str, object]] = []
    for row, record in zip(rows, records, strict=True):
        if not isinstance(record, Mapping):
            kind = "a dict; give one dict per run"
            if row_word == "row":
                kind = f"a JSON object; {_ONE_PER_LINE}"
            raise DataError(f"{where}: {row_word} {row}: {short(record)} is not {kind}")
        fields.append(flattened(_hoisted(record)))
    header = tuple(dict.fromkeys(name for record in fields for name in record))
    require_columns(where, len(header))
    require_cell_memory(where, rows=0, cells=len(header) * len(fields) // 8)  # empty cells are one object
    if not header:
        raise DataError(f"{where}: it is empty; give one run per object, such as {_EXAMPLE}")
    return Table(where, header, lambda i: [record.get(header[i], "") for record in fields], rows, row_word)


def flattened(value: Mapping[Any, Any], prefix: str = "") -> dict[str, object]:
    """The fields, those of nested objects named "outer.inner".

    A list of {"key": ..., "value": ...}, as MLflow writes, is an object too, and {"value": ..., "desc": ...},
    as Weights & Biases keeps a configuration, is its value. Names that begin with "_" are
    left out: Weights & Biases uses them for its own bookkeeping.
    """
    fields: dict[str, object] = {}
    stack = [(prefix, value)]
    while stack:
        before, mapping = stack.pop()
        for name, inner in mapping.items():
            if str(name).startswith("_"):
                continue
            inner = _plain(inner)
            if isinstance(inner, Mapping):
                stack.append((f"{before}{name}.", inner))
            else:
                fields[f"{before}{name}"] = inner
    return fields


def _hoisted(record: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A run as MLflow's REST API gives it, with the names that `mlflow.search_runs` would give."""
    info, data = record.get("info"), record.get("data")
    if isinstance(info, Mapping) and isinstance(data, Mapping) and "metrics" in data:
        return {**info, **data}
    return record


def _plain(value: object) -> object:
    if isinstance(value, Mapping) and "value" in value and value.keys() <= {"value", "desc"}:
        return value["value"]
    if not isinstance(value, list) or not value:
        return value
    pairs = all(isinstance(each, Mapping) and {"key", "value"} <= each.keys() for each in value)
    return {str(each["key"]): each["value"] for each in value} if pairs else value


def _lines(text: str, where: str) -> Table:
    rows: list[int] = []
    records: list[object] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(_parsed(line))
        except (ValueError, RecursionError) as error:
            reason = _reason(error)
            raise DataError(f"{where}: row {number}: not a JSON object ({reason}); {_ONE_PER_LINE}") from None
        rows.append(number)
    return table_of_records(records, rows, where)


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{short(twice)} is given twice in one object")
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _columns(document: Mapping[Any, Any], where: str) -> _Columns | None:
    """The cells by the name of their column, if the document is written by columns."""
    if _is_split(document):
        header = [str(name) for name in document["columns"]]
        for row, record in enumerate(document["data"], start=1):
            if len(record) != len(header):
                raise DataError(
                    f"{where}: row {row}: {len(record)} cells where the header has {len(header)}; complete it"
                )
        return {name: [record[i] for record in document["data"]] for i, name in enumerate(header)}
    values = list(document.values())
    if values and all(isinstance(each, Mapping) for each in values):
        keys = list(values[0])
        by_columns = n_quantities(document) >= 2 and n_quantities(values[0]) < 2
        if by_columns and all(list(each) == keys for each in values):
            return {str(name): list(each.values()) for name, each in document.items()}
    lists = {str(name): each for name, each in document.items() if isinstance(each, list)}
    by_columns = len(lists) == len(values) > 0 or n_quantities(lists) >= 2
    if not by_columns or _lists_of_objects(document):
        return None
    if len({len(each) for each in lists.values()}) > 1:
        raise unequal_lengths(where, {name: len(each) for name, each in lists.items()})
    return lists


def unequal_lengths(where: str, lengths: Mapping[str, int]) -> DataError:
    """Build (not raise) the error about columns of these lengths."""
    shown = ", ".join(f"{short(name)} {length}" for name, length in list(lengths.items())[:8])
    return DataError(f"{where}: columns of different lengths ({shown}); give one value per run in each")


def _is_split(document: Mapping[Any, Any]) -> bool:
    names, data = document.get("columns"), document.get("data")
    return isinstance(names, list) and isinstance(data, list) and all(isinstance(row, list) for row in data)


def _with_outer(records: list[Any], outer: Mapping[Any, Any], where: str) -> list[object]:
    """The objects of a list, with the fields beside it where these hold a quantity that the objects lack.

    One run's file may hold its size and tokens once, and a list of its evaluations or checkpoints.
    """
    beside = {name: each for name, each in flattened(outer).items() if not isinstance(each, list)}
    names = {name for record in records for name in flattened(record)}
    require_columns(where, len(names))
    inside = set(map(quantity_of, names))
    if {quantity_of(name) for name in beside} <= inside | {None}:
        return list(records)
    return [{**beside, **record} for record in records]


def _records(document: Mapping[Any, Any], where: str) -> list[object]:
    lists = _lists_of_objects(document)
    if len(lists) > 1:
        named = ", ".join(short(name) for name in lists[:5])
        raise DataError(f"{where}: {len(lists)} lists of objects ({named}); keep the one that holds the runs")
    if lists:
        beside = {name: each for name, each in document.items() if name != lists[0]}
        return _with_outer(document[lists[0]], beside, where)
    inner = [each for each in document.values() if isinstance(each, Mapping)]
    candidates: list[Mapping[Any, Any]] = [document, *inner] if len(inner) == 1 else [document]
    for candidate in candidates:
        first = itertools.islice(candidate.values(), _MOST_JUDGED)
        if (
            candidate
            and all(isinstance(each, Mapping) for each in candidate.values())
            and all(map(_is_run, first))
        ):
            return [{"run": name, **each} for name, each in candidate.items()]
    return [document]


def _is_run(value: Mapping[Any, Any]) -> bool:
    return n_quantities(flattened(value)) >= 2


def _lists_of_objects(document: Mapping[Any, Any]) -> list[Any]:
    return [
        name
        for name, value in document.items()
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value)
    ]
