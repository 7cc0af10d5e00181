"""From the chunks of a study to its tables, which depend on the chunks alone."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.blocks import LONG
from chinchilla_jax._util.labels import HEADLINE
from chinchilla_jax._util.part_files import checksum
from chinchilla_jax.intervals.methods import METHODS
from chinchilla_jax.intervals.parameters import IntervalRequest, interval_columns
from chinchilla_jax.intervals.tokens_per_param import interval_bands
from chinchilla_jax.laws import Chinchilla
from chinchilla_jax.solvers.counted import counted_lanes
from chinchilla_jax.solvers.status import STATUS_NAMES, Status
from chinchilla_jax.study.centres import centre_objectives
from chinchilla_jax.study.chunks import Chunk
from chinchilla_jax.study.execution.stage_clocks import StageClocks
from chinchilla_jax.study.makers import ALL, Makers
from chinchilla_jax.study.spec.conditions import Condition
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.chunk_files import ChunkRecord, ChunkStore, record_of
from chinchilla_jax.study.storage.law_columns import law_columns, stored_laws
from chinchilla_jax.study.storage.tables import FILES, DictionaryColumn, columns_of, table_bytes, to_table

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from chinchilla_jax.laws.fitted import FittedLaws
    from chinchilla_jax.study.execution.jobs import ChunkResult

_LONG_CONDITION = threading.Lock()
_THREADS = 4  # that summarise: more would mostly wait for the GIL


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConditionSummary:
    """The rows of the tables for one condition.

    Attributes:
        condition: the condition.
        records: one per chunk, in the order of the resamples.
        params: columns of the params table, without `condition`.
        tokens_per_param: columns of the tokens-per-parameter table that are the condition's own.
        cpu_seconds: CPU time that the summary took.
    """

    condition: Condition
    records: tuple[ChunkRecord, ...]
    params: Mapping[str, Any]
    tokens_per_param: Mapping[str, Any]
    cpu_seconds: float


def summarise_condition(
    spec: StudySpec, store: ChunkStore, chunks: Sequence[Chunk], names: Mapping[Chunk, str]
) -> ConditionSummary:
    """Read all chunks of one condition and summarise them.

    Raises:
        DamagedPartError: the content of a chunk is not what its name says.
    """
    clocks = StageClocks()
    records: list[ChunkRecord] = []

    def tables() -> Iterator[pa.Table]:
        for chunk in chunks:
            table, record = store.read(names[chunk])
            records.append(record)
            yield table

    count = sum(len(chunk.resamples) for chunk in chunks)
    # Two conditions of ten million resamples side by side would take two gigabytes.
    with _LONG_CONDITION if count > LONG else contextlib.nullcontext():
        natural, codes = law_columns(tables(), count, spec.model)
        return _summary(spec, chunks[0].condition, natural, codes, records, clocks)


def summarise_result(spec: StudySpec, chunk: Chunk, result: ChunkResult) -> ConditionSummary:
    """`summarise_condition` of a condition of one chunk from what was written, without reading it back."""
    clocks = StageClocks()
    natural = {name: np.asarray(result.fits[name]) for name in spec.model.parameters}
    records = [record_of(chunk, result, spec.model.parameters)]
    return _summary(spec, chunk.condition, natural, result.fits["status"], records, clocks)


def _summary(
    spec: StudySpec,
    condition: Condition,
    natural: dict[str, NDArray[np.float64]],
    codes: NDArray[np.int8],
    records: Sequence[ChunkRecord],
    clocks: StageClocks,
) -> ConditionSummary:
    """The summary of a condition from its fits, (R,), and the records of its chunks; ends the clocks."""
    law, units = spec.model, records[0].units
    laws = stored_laws(law, natural, units)
    points = {
        row["objective"]: stored_laws(law, {name: row[name] for name in law.parameters}, units)
        for row in records[0].points
    }
    certified = {row["objective"]: Status[row["status"]].certified for row in records[0].points}
    params, ratios = summary_columns(spec, laws, counted_lanes(codes, spec.boundary), points, certified)
    clocks.end("summary")
    return ConditionSummary(
        condition=condition,
        records=tuple(records),
        params=params,
        tokens_per_param=ratios,
        cpu_seconds=clocks.cpu_seconds["summary"],
    )


def summary_columns(
    spec: StudySpec,
    laws: FittedLaws,
    counted: NDArray[np.bool_],
    points: Mapping[str, FittedLaws],
    certified: Mapping[str, bool],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two summary tables of one condition, for every method and level, as columns.

    Intervals use the point fit of the bootstrap's own estimator; "besiroglu2024" (for `Huber` only) uses
    the `HuberScale` point fit, as published. Normal methods prescribe under the five-parameter law only, from
    laws drawn around the point.

    Args:
        spec: gives the levels, the budgets and the seed of the normal draws.
        laws: the bootstrap fits, fields (R,).
        counted: which of them count, (R,).
        points: the point fits by the name of their objective.
        certified: whether they are; where one is not, no tokens per parameter are estimated.

    Returns:
        Rows of params without the column condition; and of tokens_per_param without the columns that are the
        same for every condition, see `_shared_columns`.
    """
    centres = centre_objectives(spec)
    requests = [
        IntervalRequest(points[objective], level, method)
        for method, objective in centres.items()
        for level in spec.levels
    ]
    parameters = interval_columns(laws, counted, requests)
    prescribing = _prescribing(spec)
    requests = [each for each in requests if each.method in prescribing]
    bands = [band for band, _ in interval_bands(laws, spec.flops, requests, seed=spec.seed, counted=counted)]
    for request, band in zip(requests, bands, strict=True):
        if not certified[centres[request.method]]:
            band[HEADLINE] = np.full(len(spec.flops), np.nan)
    own = [name for name in bands[0] if name != "flops"]
    return parameters, {name: np.concatenate([band[name] for band in bands]) for name in own}


def _prescribing(spec: StudySpec) -> list[str]:
    """The methods of the table tokens_per_param, in order."""
    drawn = isinstance(spec.model, Chinchilla)
    return [method for method in centre_objectives(spec) if drawn or not METHODS[method].normal]


class Summariser:
    """Summarises conditions in the background as their chunks come in, and writes the tables at the end.

    Args:
        spec: the study.
        store: its chunks.
        workers: of the study, of which no more threads summarise than there are.

    Attributes:
        written: the small tables by kind; after `write`.
    """

    def __init__(self, spec: StudySpec, store: ChunkStore, workers: int) -> None:
        """Nothing is read yet."""
        self._spec, self._store = spec, store
        self._pool = ThreadPoolExecutor(min(workers, _THREADS), thread_name_prefix="summary")
        self._conditions: dict[int, list[Chunk]] = {}
        for chunk in store.chunks:
            self._conditions.setdefault(chunk.index, []).append(chunk)
        self._summaries: dict[int, Future[ConditionSummary]] = {}
        self.written: Mapping[str, pa.Table] = {}

    def start(self, names: Mapping[Chunk, str]) -> None:
        """Start on the conditions of which all chunks are in `names`."""
        for number in self._conditions:
            self._start(number, names)

    def start_written(
        self, names: Mapping[Chunk, str], chunk: Chunk, summary: ConditionSummary | None
    ) -> None:
        """Start on the condition of a chunk that was just written, if all of its chunks are in `names`.

        With its summary, if that is there and no other chunk is the condition's.
        """
        if summary is None or len(self._conditions[chunk.index]) > 1 or chunk.index in self._summaries:
            self._start(chunk.index, names)
            return
        done: Future[ConditionSummary] = Future()
        done.set_result(summary)
        self._summaries[chunk.index] = done

    def _start(self, number: int, names: Mapping[Chunk, str]) -> None:
        chunks = self._conditions[number]
        if number not in self._summaries and all(chunk in names for chunk in chunks):
            self._summaries[number] = self._pool.submit(
                summarise_condition, self._spec, self._store, chunks, names
            )

    def write(self) -> dict[str, Any]:
        """Wait for all conditions, write the small tables, and return their fields of study.json."""
        summaries = [self._summaries[index].result() for index in sorted(self._conditions)]
        self.written = {
            kind: to_table(kind, columns, self._store.parameters)
            for kind, columns in _tables(self._spec, summaries).items()
        }
        tables = {FILES[kind]: table_bytes(table) for kind, table in self.written.items()}
        # Side by side, since a disk that syncs one file syncs others at the same time.
        list(self._pool.map(self._store.directory.write, tables.keys(), tables.values()))
        return _counts(summaries) | {
            "tables": {name: len(content) for name, content in tables.items()},
            "checksums": {name: checksum(content) for name, content in tables.items()},
        }

    def cpu_seconds(self) -> float:
        """CPU time of all summaries; after `write`."""
        return sum(summary.result().cpu_seconds for summary in self._summaries.values())

    def close(self) -> None:
        """Cancel what has not started, without waiting for the rest."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _tables(spec: StudySpec, summaries: Sequence[ConditionSummary]) -> dict[str, dict[str, Any]]:
    """Columns of every small table, by its kind."""
    rows: dict[str, list[Mapping[str, Any]]] = {"conditions": [], "point": []}
    for summary in summaries:
        condition, first = summary.condition, summary.records[0]
        fields = {name: getattr(condition, name) for name in ("family", "value", "repeat", "params")}
        rows["conditions"].append({"condition": condition.id, "n_runs": first.n_runs} | fields)
        rows["point"] += [{"condition": condition.id} | dict(row) for row in first.points]
    tables: dict[str, dict[str, Any]] = {
        kind: {name: [row[name] for row in rows[kind]] for name in columns_of(kind, spec.model.parameters)}
        for kind in rows
    }
    ids = [summary.condition.id for summary in summaries]
    for kind, shared in (("params", {}), ("tokens_per_param", _shared_columns(spec, len(summaries)))):
        parts = [getattr(summary, kind) for summary in summaries]
        tables[kind] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} | shared
        of_condition = np.repeat(np.arange(len(ids)), len(tables[kind]["low"]) // len(ids))
        tables[kind]["condition"] = DictionaryColumn(of_condition, ids)
    return tables


def _shared_columns(spec: StudySpec, conditions: int) -> dict[str, Any]:
    """The columns of tokens_per_param that are the same for every condition, below each other."""
    methods = _prescribing(spec)
    # By condition, method, level and budget, of which a row has one each.
    shape = (conditions, len(methods), len(spec.levels), len(spec.flops))
    method, level = np.arange(len(methods))[:, None, None], np.asarray(spec.levels)[:, None]
    return {
        "flops": np.broadcast_to(np.asarray(spec.flops), shape).ravel(),
        "level": np.broadcast_to(level, shape).ravel(),
        "method": DictionaryColumn(np.broadcast_to(method, shape).ravel(), methods),
    }


def _counts(summaries: Sequence[ConditionSummary]) -> dict[str, Any]:
    """Statuses, notes and versions, for study.json."""
    fits: Counter[str] = Counter()
    points: Counter[str] = Counter()
    notes = []
    makers = Makers()
    for summary in summaries:
        for record in summary.records:
            fits.update(record.status_counts)
            makers.add(record)
        points.update(row["status"] for row in summary.records[0].points)
        notes += [{"condition": summary.condition.id, "note": note} for note in summary.records[0].notes]
    notes += [{"condition": ALL, "note": note} for note in makers.notes()]
    return {
        "made_on": dict(makers.processors),
        "status_counts": {name: fits[name] for name in STATUS_NAMES},
        "point_status_counts": {name: points[name] for name in STATUS_NAMES},
        "notes": notes,
    }
