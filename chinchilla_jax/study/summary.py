"""What a study keeps in memory while its fits go to disk: small tables, counts and notes."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from chinchilla_jax.solvers.status import STATUS_NAMES
from chinchilla_jax.study.tables import COLUMNS
from chinchilla_jax.study.work import ConditionResult


class Summary:
    """Collects results in any order and gives tables in the order of the plan.

    Args:
        n_conditions: how many results there will be.

    Attributes:
        seconds: time within conditions by stage, summed over conditions (and so over threads).
    """

    def __init__(self, n_conditions: int) -> None:
        """Start empty."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._kept: list[dict[str, Any] | None] = [None] * n_conditions
        self._statuses: Counter[str] = Counter()

    def add(self, index: int, result: ConditionResult) -> None:
        """Keep the summary of one condition, at its place in the plan; its fits are let go."""
        for stage, seconds in result.seconds.items():
            self.seconds[stage] += seconds
        self._statuses.update(Counter(result.fits["status"].tolist()))
        condition = result.condition
        row = {name: getattr(condition, name) for name in ("family", "value", "repeat", "params")}
        self._kept[index] = {
            "condition": condition.id,
            "conditions": row | {"n_runs": result.n_runs},
            "point": result.points,
            "params": result.params,
            "tokens_per_param": result.tokens_per_param,
            "notes": result.notes,
        }

    @property
    def status_counts(self) -> dict[str, int]:
        """Bootstrap fits by status, every status named."""
        return {name: self._statuses[name] for name in STATUS_NAMES}

    @property
    def point_status_counts(self) -> dict[str, int]:
        """Point fits by status, every status named."""
        found = Counter(row["status"] for kept in self._results() for row in kept["point"])
        return {name: found[name] for name in STATUS_NAMES}

    def notes(self) -> list[dict[str, str]]:
        """What went wrong, as {"condition": id, "note": sentence}."""
        return [{"condition": k["condition"], "note": note} for k in self._results() for note in k["notes"]]

    def tables(self) -> dict[str, dict[str, Any]]:
        """Columns of every small table, by its kind."""
        results = self._results()
        rows = {
            "conditions": [{"condition": kept["condition"]} | kept["conditions"] for kept in results],
            "point": [
                {"condition": kept["condition"]} | dict(row) for kept in results for row in kept["point"]
            ],
        }
        tables: dict[str, dict[str, Any]] = {
            kind: {name: [row[name] for row in rows[kind]] for name in COLUMNS[kind]} for kind in rows
        }
        for kind in ("params", "tokens_per_param"):
            frames = [kept[kind] for kept in results]
            lengths = [len(frame) for frame in frames]
            columns = {
                name: np.concatenate([frame[name].to_numpy() for frame in frames])
                for name in COLUMNS[kind]
                if name != "condition"
            }
            ids = np.array([kept["condition"] for kept in results], dtype=object)
            tables[kind] = {"condition": np.repeat(ids, lengths), **columns}
        return tables

    def _results(self) -> list[dict[str, Any]]:
        missing = [index for index, kept in enumerate(self._kept) if kept is None]
        if missing:
            raise RuntimeError(f"the result of condition {missing[0]} is missing")
        return [kept for kept in self._kept if kept is not None]
