"""Which rows of a table are its runs: of one experiment, by a condition, the last of a run, the best.

The choices are made in this order, each among the rows that the one before has left:

| choice     | rows that stay                                                                            |
|------------|-------------------------------------------------------------------------------------------|
| experiment | of one experiment, where the column "experiment" names several                            |
| where      | those for which every condition holds                                                     |
| states     | of runs that finished, by a column "state" or the like, unless `all_states`               |
| missing    | those without empty cells in the columns that are read, if `drop_missing`                 |
| final      | of each run the one with the most tokens; of equal ones the last                          |
| flags      | those that the table's own columns `outlier`, `exclude`, `keep` and such do not rule out  |
| best_of    | of each configuration the one with the lowest loss; of equal ones the first               |

(A run whose last row is an outlier is left out: its row before that is not what the run came to.)
A configuration is what the columns of `best_of` agree on. Params, tokens and flops may differ by half a
percent within one, as rounding to whole steps makes them; other columns are compared as texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.columns import match_table
from chinchilla_jax.datasets.flags import without_flagged
from chinchilla_jax.datasets.foreign import one_experiment
from chinchilla_jax.datasets.group_columns import is_run_name
from chinchilla_jax.datasets.interpretations import Interpretations
from chinchilla_jax.datasets.meaning import quantity_of
from chinchilla_jax.datasets.missing import without_missing
from chinchilla_jax.datasets.quantities import read_quantities
from chinchilla_jax.datasets.runs import QUANTITIES
from chinchilla_jax.datasets.states import finished_runs
from chinchilla_jax.datasets.where import rows_where

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets.table import Table

_ROUNDING = 0.005  # in ln of params, tokens and flops, within which they are one


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowChoice:
    """The choices; see the head of this file and `load_runs`.

    Raises:
        UsageError: one of them has no meaning.
    """

    experiment: str | None = None
    where: tuple[str, ...] = ()
    best_of: tuple[str, ...] = ()
    all_states: bool = False
    drop_missing: bool = False
    final: bool = False
    ignore_flags: bool = False

    def __post_init__(self) -> None:
        """Take a single text for a list of one, and check."""
        for name in ("where", "best_of"):
            given = getattr(self, name)
            texts = (given,) if isinstance(given, str) else () if given is None else given
            if not isinstance(texts, Sequence) or not all(isinstance(text, str) and text for text in texts):
                example = "\"corpus == 'c4'\"" if name == "where" else "('params', 'tokens')"
                raise UsageError(f"{name} is {short(given)}; give texts, such as {example}")
            object.__setattr__(self, name, tuple(texts))
        for name in ("all_states", "drop_missing", "final", "ignore_flags"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {short(getattr(self, name))}; give true or false")

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the choices that are not as usual."""
        usual = RowChoice()
        return tuple(
            each.name
            for each in dataclasses.fields(self)
            if getattr(self, each.name) != getattr(usual, each.name)
        )


def choose_rows(
    table: Table,
    choice: RowChoice,
    *,
    columns: Mapping[str, str] | None = None,
    groups: Sequence[str] = (),
    others: Interpretations | None = None,
) -> Table:
    """The chosen rows; what was left out is in the table's record.

    Args:
        table: the table.
        choice: what to keep.
        columns: as for `match_columns`.
        groups: columns that name runs, for `final`, before those that are named after runs.
        others: whose columns `drop_missing` needs too, so that all interpretations are of the same rows.

    Raises:
        DataError: no run has finished, a column of flags leaves out every row, or the loss, params or tokens
            that `final` and `best_of` need cannot be read.
        UsageError: a choice does not fit the table.
    """
    table = one_experiment(table, choice.experiment)
    for condition in choice.where:
        kept = rows_where(table, condition, _quantity_names(table, columns))
        table = _keep(table, kept, f"not where {condition}")
    table = finished_runs(table, all_states=choice.all_states)
    if choice.drop_missing:
        table = without_missing(table, match_table(table, columns))
        for quantity, named in (("params", others.countings), ("loss", others.losses)) if others else ():
            for column in named.values():
                position = match_table(table, {quantity: column}, quantities=(quantity,))
                table = without_missing(table, position)
    if choice.final:
        name, labels = _run_labels(table, groups)
        kept = _best(labels, -_quantities(table, columns)["tokens"], last=True)
        runs = count_text(len(kept), "run")
        table = _keep(table, kept, f"not the last of their run ({runs} by column {short(name)})")
    if not choice.ignore_flags:
        table = without_flagged(table)
    if choice.best_of:
        arrays = _quantities(table, columns)
        kept = _best(_configurations(table, choice.best_of, arrays), arrays["loss"])
        found = count_text(len(kept), "configuration")
        table = _keep(table, kept, f"not the best of their {' and '.join(choice.best_of)} ({found})")
    return table


def _keep(table: Table, kept: Sequence[int], why: str) -> Table:
    among = set(kept)
    return table.leave_out([row for row in range(len(table.rows)) if row not in among], why)


def _quantities(table: Table, columns: Mapping[str, str] | None) -> dict[str, NDArray[np.float64]]:
    return read_quantities(table, match_table(table, columns))


def _quantity_names(table: Table, columns: Mapping[str, str] | None) -> dict[str, int]:
    """The position of the column of each quantity, as far as it is certain."""
    names = [name.strip() for name in table.header]
    found: dict[str, int] = {}
    for quantity in QUANTITIES:
        told = (columns or {}).get(quantity)
        places = [
            place
            for place, name in enumerate(names)
            if (name == told != "" if told is not None else quantity_of(name) == quantity)
        ]
        if len(places) == 1:
            found[quantity] = places[0]
    return found


def _run_labels(table: Table, groups: Sequence[str]) -> tuple[str, list[str]]:
    """The column that names runs, and its texts."""
    names = [name.strip() for name in table.header]
    found = [name for name in groups if name in names] or [name for name in names if is_run_name(name)]
    if not found:
        raise UsageError(
            f"{table.where}: final needs a column of run names (run, run_name, run_id, trajectory); if "
            "another column names the runs, give it as --group NAME (groups=(NAME,) in Python)"
        )
    cells = table.column(names.index(found[0]))
    labels = [str(cell).strip() for cell in cells]
    if empty := [row for row, label in enumerate(labels) if label in ("", "None", "nan")]:
        raise UsageError(
            f"{table.where}: {table.name_rows(empty)}, column {short(found[0])}: no name of a run, which "
            "final needs; fill it in or delete the row"
        )
    return found[0], labels


def _configurations(
    table: Table, best_of: Sequence[str], arrays: Mapping[str, NDArray[np.float64]]
) -> list[tuple[object, ...]]:
    names = [name.strip() for name in table.header]
    parts: list[list[object]] = []
    for name in best_of:
        if name in QUANTITIES and name != "loss":
            continue
        if names.count(name) != 1:
            known = [*QUANTITIES[:3], *names]
            near = closest(name, known)
            hint = f"did you mean {near!r}?" if near else f"give any of {', '.join(map(short, known[:8]))}"
            raise UsageError(f"{table.where}: best_of: no column is named {short(name)}; {hint}")
        parts.append([str(cell).strip() for cell in table.column(names.index(name))])
    labels: list[tuple[object, ...]] = [()] * len(table.rows)
    for part in parts:
        labels = [(*label, cell) for label, cell in zip(labels, part, strict=True)]
    for quantity in (name for name in best_of if name in QUANTITIES and name != "loss"):
        labels = _split(labels, np.log(arrays[quantity]))
    return labels


def _split(labels: Sequence[tuple[object, ...]], logs: NDArray[np.float64]) -> list[tuple[object, ...]]:
    """Groups of one label each, cut where a value is more than rounding above the least of its group."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    of = np.array([numbers[label] for label in labels], np.int64)
    found: list[tuple[object, ...]] = [()] * len(labels)
    group, least, part = -1, -np.inf, -1
    for row in np.lexsort((logs, of)).tolist():
        if of[row] != group or logs[row] - least > _ROUNDING:
            group, least, part = int(of[row]), float(logs[row]), part + 1
        found[row] = (part,)
    return found


def _best(labels: Sequence[object], values: NDArray[np.float64], *, last: bool = False) -> list[int]:
    """Of each label the row of least value, in the order of the table; of equals the first or the last."""
    best: dict[object, int] = {}
    for row, label in enumerate(labels):
        other = best.setdefault(label, row)
        if values[row] < values[other] or (last and values[row] == values[other]):
            best[label] = row
    return sorted(best.values())
