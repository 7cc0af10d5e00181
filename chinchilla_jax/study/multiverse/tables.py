"""The table of a multiverse: all of its runs in every counting, and which of them its own flags rule out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.catalogue import dataset_info, dataset_names, figure_names
from chinchilla_jax.datasets.interpretations import Interpretations
from chinchilla_jax.datasets.load import load_runs, require_reading
from chinchilla_jax.datasets.reading import require_table
from chinchilla_jax.datasets.runs import QUANTITIES
from chinchilla_jax.study.multiverse.options import listed
from chinchilla_jax.study.multiverse.rows import without_worst

if TYPE_CHECKING:
    from chinchilla_jax.datasets.reading import TableLike

COUNT_COLUMNS = ("params_non_embedding", "params_without_input_embedding")
"""Columns of the embedded tables that count the parameters of the same models otherwise."""
_RECOUNTS = {"chinchilla": ("as_plotted", "standard", "best_fit")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """What a multiverse is about.

    Attributes:
        by_counting: all n runs, by the name of the counting; the plain one first.
        flagged: runs that the table's own flags rule out, (n,).
        dropped: how many runs of highest loss are left out where nothing is said, as published.
    """

    by_counting: Mapping[str, Runs]
    flagged: NDArray[np.bool_]
    dropped: int = 0

    @property
    def plain(self) -> Runs:
        """All runs in the plain counting, in which answers are stated."""
        return next(iter(self.by_counting.values()))

    @property
    def usual(self) -> Runs:
        """The runs that are fitted where nothing is said, in the plain counting."""
        return self.plain.take(self.is_usual)

    @property
    def is_usual(self) -> NDArray[np.bool_]:
        """Which runs are fitted where nothing is said, (n,)."""
        kept = ~self.flagged
        return without_worst(kept, self.plain.loss[kept], self.dropped)


def read_table(data: Runs | TableLike, countings: Any, reading: Mapping[str, Any]) -> Table:
    """Read the table in every counting that is asked for, or that it has.

    Args:
        data: runs, or anything that `load_runs` takes.
        countings: of chinchilla names, of other tables columns by name; None for all that the table has.
        reading: further keywords of `load_runs`.

    Raises:
        DataError: the table cannot be read.
        UsageError: a counting, or a keyword, does not fit the table.
    """
    require_reading(reading, "multiverse", data)  # type: ignore[arg-type]
    if isinstance(data, Runs):
        if countings is not None:
            raise UsageError(
                "multiverse: Runs have the one counting that they were read in; give the table, as a path, a "
                "name or a DataFrame, for several countings"
            )
        return Table(by_counting={data.counting: data}, flagged=np.zeros(len(data), bool))
    require_table(data, "multiverse")
    own: dict[str, Any] = dict(reading)
    for name, instead in (("params", "countings"), ("drop_highest_loss", "rows"), ("losses", "one loss")):
        if own.pop(name, None):
            raise UsageError(f"multiverse: {name} is a choice that the analyses make; give {instead} instead")
    if isinstance(data, str) and data in figure_names():
        return _read_figure(data, countings, own)
    columns = _count_columns(data, countings, own)
    own.pop("countings", None)
    every = {**own, "ignore_flags": True, "drop_highest_loss": 0}
    whole = {
        name: load_runs(data, **every, params=name, countings=columns)
        for name in Interpretations(countings=columns).names
    } or {"as_given": load_runs(data, **every)}
    plain = next(iter(whole.values()))
    if own.get("ignore_flags"):
        return Table(by_counting=whole, flagged=np.zeros(len(plain), bool))
    kept = load_runs(data, **{**own, "drop_highest_loss": 0}, **_plainly(columns))
    return Table(by_counting=whole, flagged=_without(plain, kept))


def _plainly(columns: Mapping[str, str]) -> dict[str, Any]:
    return {"params": next(iter(columns)), "countings": columns} if columns else {}


def _read_figure(name: str, countings: Any, own: Mapping[str, Any]) -> Table:
    """Read a table that is read off a figure: countings are names, flags there are none."""
    offered = _RECOUNTS.get(name, ("as_plotted",))
    asked = offered if countings is None else listed("countings", countings)
    known = ("as_plotted", "reported", "standard", "best_fit") if name in _RECOUNTS else offered
    for each in asked:
        if each not in known:
            raise unknown_name(f"counting of {name}", each, known)
    runs = {each: load_runs(name, params=each, drop_highest_loss=0, **own) for each in asked}
    dropped = dataset_info(name).drop_highest_loss
    plain = next(iter(runs.values()))
    return Table(by_counting=runs, flagged=np.zeros(len(plain), bool), dropped=dropped)


def _count_columns(data: Any, countings: Any, own: Mapping[str, Any]) -> dict[str, str]:
    """Columns of counts by the name of the counting; none where the table has one counting."""
    given = own.get("countings") if countings is None else countings
    if given is not None:
        if not isinstance(given, Mapping):
            raise UsageError(
                "multiverse: countings of your own table are columns by name, such as {'total': 'params', "
                "'non_embedding': 'params_non_embedding'} (--counting NAME=COLUMN)"
            )
        return dict(given)
    if not (isinstance(data, str) and data in dataset_names()):
        return {}
    there = [name for name in COUNT_COLUMNS if name in dataset_info(data).columns]
    return {name: name for name in ("params", *there)} if there else {}


def _without(whole: Runs, kept: Runs) -> NDArray[np.bool_]:
    """Which of all runs are not among those that the flags leave, (n,); the order is the same in both.

    Rows are told apart by their numbers too: in a DataFrame that was put together, labels repeat.
    """
    found = np.ones(len(whole), bool)
    left = iter(_keys(kept))
    wanted = next(left, None)
    for place, key in enumerate(_keys(whole)):
        if key == wanted:
            found[place] = False
            wanted = next(left, None)
    if wanted is not None:
        raise UsageError(
            "multiverse: the flagged rows of this table cannot be told; delete them, or the flags"
        )
    return found


def _keys(runs: Runs) -> list[tuple[Any, ...]]:
    """What tells a run from others: its row, and its numbers."""
    rows = [None] * len(runs) if runs.rows is None else runs.rows.tolist()
    return list(zip(rows, *(getattr(runs, name).tolist() for name in QUANTITIES), strict=True))
