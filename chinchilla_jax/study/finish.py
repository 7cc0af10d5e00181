"""From the pieces of a study to its tables: a function of the pieces alone, whoever computed them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.solvers.status import STATUS_NAMES
from chinchilla_jax.study.pieces import PieceRecord, PieceStore, checksum
from chinchilla_jax.study.plan import Condition, Piece
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.stage_clocks import StageClocks
from chinchilla_jax.study.tables import COLUMNS, FILES, table_bytes, to_table
from chinchilla_jax.study.work import summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConditionSummary:
    """What the tables say of one condition.

    Attributes:
        condition: which.
        records: what each of its pieces says, in the order of the blocks.
        params: columns of the params table, without `condition`.
        tokens_per_param: columns of the tokens-per-parameter table, without `condition`.
        cpu_seconds: CPU time of making this.
    """

    condition: Condition
    records: tuple[PieceRecord, ...]
    params: Mapping[str, Any]
    tokens_per_param: Mapping[str, Any]
    cpu_seconds: float


def summarise_condition(
    spec: StudySpec, store: PieceStore, pieces: Sequence[Piece], names: Mapping[Piece, str]
) -> ConditionSummary:
    """Read all pieces of one condition and summarise them.

    Raises:
        DamagedPieceError: a piece is not what was written.
    """
    import pyarrow.compute as pc

    clocks = StageClocks()
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in (*PARAMETERS, "converged")}
    records = []
    for piece in pieces:
        table, record = store.load(names[piece])
        records.append(record)
        for name in PARAMETERS:
            columns[name].append(table[name].to_numpy())
        columns["converged"].append(pc.equal(table["status"], "CONVERGED").to_numpy())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    points = {
        row["objective"]: ScalingLaw(**{name: row[name] for name in PARAMETERS}) for row in records[0].points
    }
    laws = ScalingLaw(**{name: joined[name] for name in PARAMETERS})
    params, tokens_per_param = summarise(spec, laws, joined["converged"], points)
    clocks.end("summary")
    return ConditionSummary(
        condition=pieces[0].condition,
        records=tuple(records),
        params=params,
        tokens_per_param=tokens_per_param,
        cpu_seconds=clocks.cpu_seconds["summary"],
    )


class Finisher:
    """Summarises conditions in the background as their pieces come in, and writes the tables at the end.

    Args:
        spec: the study.
        store: its pieces.
        workers: threads.
    """

    def __init__(self, spec: StudySpec, store: PieceStore, workers: int) -> None:
        """Nothing is read yet."""
        self._spec, self._store = spec, store
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="summary")
        self._conditions: dict[int, list[Piece]] = {}
        for piece in store.pieces:
            self._conditions.setdefault(piece.index, []).append(piece)
        self._summaries: dict[int, Future[ConditionSummary]] = {}

    def start(self, names: Mapping[Piece, str], index: int | None = None) -> None:
        """Begin with the conditions (or the one) of which all pieces are in `names`."""
        for number in self._conditions if index is None else (index,):
            pieces = self._conditions[number]
            if number not in self._summaries and all(piece in names for piece in pieces):
                self._summaries[number] = self._pool.submit(
                    summarise_condition, self._spec, self._store, pieces, names
                )

    def write(self) -> dict[str, Any]:
        """Wait for all conditions, write the small tables, and return their fields of study.json."""
        summaries = [self._summaries[index].result() for index in sorted(self._conditions)]
        tables = {
            FILES[kind]: table_bytes(to_table(kind, columns)) for kind, columns in _tables(summaries).items()
        }
        for name, content in tables.items():
            self._store.directory.write(name, content)
        return _counts(summaries) | {
            "tables": {name: len(content) for name, content in tables.items()},
            "checksums": {name: checksum(content) for name, content in tables.items()},
        }

    def cpu_seconds(self) -> float:
        """CPU time of all summaries; after `write`."""
        return sum(summary.result().cpu_seconds for summary in self._summaries.values())

    def close(self) -> None:
        """Drop what has not begun; what has is waited for by nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _tables(summaries: Sequence[ConditionSummary]) -> dict[str, dict[str, Any]]:
    """Columns of every small table, by its kind."""
    rows: dict[str, list[Mapping[str, Any]]] = {"conditions": [], "point": []}
    for summary in summaries:
        condition, first = summary.condition, summary.records[0]
        fields = {name: getattr(condition, name) for name in ("family", "value", "repeat", "params")}
        rows["conditions"].append({"condition": condition.id, "n_runs": first.n_runs} | fields)
        rows["point"] += [{"condition": condition.id} | dict(row) for row in first.points]
    tables: dict[str, dict[str, Any]] = {
        kind: {name: [row[name] for row in rows[kind]] for name in COLUMNS[kind]} for kind in rows
    }
    ids = np.array([summary.condition.id for summary in summaries], dtype=object)
    for kind in ("params", "tokens_per_param"):
        parts = [getattr(summary, kind) for summary in summaries]
        columns = {
            name: np.concatenate([part[name] for part in parts])
            for name in COLUMNS[kind]
            if name != "condition"
        }
        tables[kind] = {"condition": np.repeat(ids, [len(part["level"]) for part in parts]), **columns}
    return tables


def _counts(summaries: Sequence[ConditionSummary]) -> dict[str, Any]:
    """Statuses, notes and versions, for study.json."""
    fits: Counter[str] = Counter()
    points: Counter[str] = Counter()
    notes = []
    versions = []
    for summary in summaries:
        for record in summary.records:
            fits.update(record.status_counts)
            if record.versions not in versions:
                versions.append(record.versions)
        points.update(row["status"] for row in summary.records[0].points)
        notes += [{"condition": summary.condition.id, "note": note} for note in summary.records[0].notes]
    if len(versions) > 1:
        differing = sorted({name for found in versions for name in found if found[name] != versions[0][name]})
        notes.append(
            {
                "condition": "all",
                "note": f"pieces were computed by different versions of {', '.join(differing)}; their last "
                "digits may differ from those of a study computed by one",
            }
        )
    return {
        "status_counts": {name: fits[name] for name in STATUS_NAMES},
        "point_status_counts": {name: points[name] for name in STATUS_NAMES},
        "notes": notes,
    }
