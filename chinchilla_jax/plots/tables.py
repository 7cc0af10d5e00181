"""The tables that figures read from a study, and selections from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.labels import COUNTING_NAMES, interval_text
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax.intervals.tokens_per_param import positive_budgets
from chinchilla_jax.perturbations import Composition, Identity
from chinchilla_jax.plots.grids import BEYOND

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs

BANDS = ["low", "median", "high"]
PARAMETER_COLUMNS = ["estimate", "low", "high", "n_converged", "n_failed"]


class StudyTables(Protocol):
    """The part of a study that figures read: its tables and its runs.

    `spec.seed` is the seed of the study's random perturbations; `runs()` are the unperturbed runs, those of
    the condition `identity`. A study may also have `point`, the table of its point fits.
    """

    @property
    def conditions(self) -> pd.DataFrame:
        """condition, family, value, repeat, params, n_runs."""

    @property
    def params(self) -> pd.DataFrame:
        """condition, parameter, estimate, standard_error, low, high, level, method, n_converged, n_failed."""

    @property
    def tokens_per_param(self) -> pd.DataFrame:
        """condition, flops, low, median, high, level, method."""

    @property
    def spec(self) -> Any:
        """Has `seed`, a whole number, and `data`, the name or path of the table of runs."""

    def runs(self) -> Runs:
        """The unperturbed runs."""


def select(table: pd.DataFrame, *, method: str, level: float | None = None) -> pd.DataFrame:
    """The rows of one method and one level of a summary table.

    Args:
        table: `study.params` or `study.tokens_per_param`.
        method: "percentile", "gaussian" or "besiroglu2024".
        level: share of the resamples inside an interval; None for 0.8 or the nearest level of the
            study.

    Raises:
        UsageError: the table has no such method or level.
    """
    methods = sorted(map(str, table["method"].unique()))
    if method not in methods:
        raise unknown_name("method", method, methods)
    rows = table[table["method"] == method]
    levels = np.unique(rows["level"].to_numpy(dtype=np.float64))
    nearest = levels[np.argmin(np.abs(levels - (0.8 if level is None else level)))]
    if level is not None and not np.isclose(nearest, level, rtol=0.0, atol=1e-9):
        present = ", ".join(f"{each:g}" for each in levels)
        raise UsageError(f"level={short(level)}: the study has intervals of {present}; choose one of them")
    return rows[rows["level"] == nearest]


def as_array(
    table: pd.DataFrame, axes: Mapping[str, ArrayLike], columns: Sequence[str]
) -> NDArray[np.float64]:
    """Columns of a summary table as an array.

    Args:
        table: one row for each combination of the keys, in any order; some may be missing.
        axes: key columns, with the distinct keys to take, in order; rows with other keys are left out.
        columns: to take.

    Returns:
        Shape (keys of the first axis, ..., columns), NaN where the table has no row.
    """
    import pandas as pd

    indexes = {name: pd.Index(keys) for name, keys in axes.items()}
    place = np.zeros(len(table), np.intp)  # of each row in the array
    wanted: slice | NDArray[np.bool_] = slice(None)
    for name, index in indexes.items():
        # Looking up text is slow, so look up each distinct key once.
        codes, present = pd.factorize(table[name], use_na_sentinel=False)
        found = index.get_indexer(present)
        if (found < 0).any():
            wanted = (found[codes] >= 0) & (True if isinstance(wanted, slice) else wanted)
        place = place * len(index) + found[codes]
    array = np.full((math.prod(map(len, indexes.values())), len(columns)), np.nan)
    for column, name in enumerate(columns):
        array[place[wanted], column] = table[name].to_numpy(np.float64)[wanted]
    return array.reshape(*map(len, indexes.values()), len(columns))


def complete(conditions: pd.DataFrame, rows: pd.DataFrame, key: str, columns: Sequence[str]) -> pd.DataFrame:
    """A summary table with a row for every condition and key, NaN where it has none.

    Args:
        conditions: one row per condition, with a column `condition`; its other columns are kept.
        rows: of one method and level, from `select`.
        key: "parameter" or "flops".
        columns: of `rows` to take.

    Returns:
        The columns of `conditions`, the key, `columns`, level and method.
    """
    grid = conditions.merge(rows[[key]].drop_duplicates(), how="cross")
    table = grid.merge(rows[["condition", key, *columns]], how="left", on=["condition", key])
    return table.assign(level=rows["level"].iloc[0], method=rows["method"].iloc[0])


def shown_budgets(study: StudyTables, rows: pd.DataFrame) -> tuple[pd.DataFrame, tuple[float, float]]:
    """The rows of budgets near the runs, and the compute of the smallest and the largest run (FLOP).

    Near is from a tenth of the smallest to a hundred times the largest; the published table keeps the budgets
    of its study, which go up to those of later models.

    Args:
        study: with its runs.
        rows: a column flops, one or more rows per budget.
    """
    flops = study.runs().flops
    low, high = float(flops.min()), float(flops.max())
    near = rows["flops"].between(low / 10, BEYOND * high)
    if study.spec.data != "chinchilla" and rows["flops"][near].nunique() > 1:
        rows = rows[near]
    return rows, (low, high)


def budgets_among(known: ArrayLike, flops: ArrayLike, what: str) -> list[float]:
    """The budgets of a table that are asked for.

    Args:
        known: those of the table (FLOP).
        flops: those that are asked for, to rounding.
        what: has the budgets, for the message.

    Raises:
        UsageError: one of them is not there.
    """
    budgets, found = np.unique(np.asarray(known, np.float64)), []
    for asked in positive_budgets(flops).tolist():
        same = budgets[np.isclose(budgets, asked, rtol=1e-9)]
        if not len(same):
            there = list_text([flops_text(each) for each in budgets] or ["none"])
            raise UsageError(f"flops={flops_text(asked)}: {what} has {there}; give one of these")
        found.append(float(same[0]))
    return found


def countings(study: StudyTables) -> pd.DataFrame:
    """The unperturbed conditions: condition and counting, known countings first."""
    conditions = study.conditions
    found = conditions.loc[conditions["family"] == "identity", ["condition", "params"]]
    found = found.rename(columns={"params": "counting"})
    order = {name: i for i, name in enumerate(COUNTING_NAMES)}
    rank = found["counting"].map(lambda name: order.get(name, len(order)))
    return found.loc[rank.sort_values(kind="stable").index].reset_index(drop=True)


def families(study: StudyTables) -> list[str]:
    """The families of perturbation, in the study's order, without compositions (these have two sizes)."""
    left_out = (Identity.family, Composition.family)
    return [str(family) for family in dict.fromkeys(study.conditions["family"]) if family not in left_out]


def conditions_of(study: StudyTables, family: str) -> pd.DataFrame:
    """The conditions of one family: condition, value, repeat, params, in the study's order.

    Raises:
        UsageError: the study has none.
    """
    conditions = study.conditions
    found = conditions.loc[conditions["family"] == family, ["condition", "value", "repeat", "params"]]
    if found.empty:
        raise unknown_name("family", family, families(study))
    return found.reset_index(drop=True)


def unperturbed_condition(study: StudyTables, family: str) -> str | None:
    """The unperturbed condition with the counts that this family perturbs; None if not in the study."""
    counting = conditions_of(study, family)["params"].iloc[0]
    identity = countings(study).set_index("counting")["condition"]
    return str(identity[counting]) if counting in identity.index else None


def interval_name(table: pd.DataFrame) -> str:
    """Level and method of a selected table, for a legend: "80% interval"."""
    return interval_text(float(table["level"].iloc[0]), str(table["method"].iloc[0]))


def drawable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its low, median and high as by `shown_or_nan`."""
    shown = shown_or_nan(table[BANDS].to_numpy(dtype=np.float64))
    return table.assign(**{column: shown[:, i] for i, column in enumerate(BANDS)})


def shown_or_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of any shape, with NaN in place of what a logarithmic axis cannot show.

    Zero and infinity are the prescriptions of a law without an interior optimum; NaN leaves a gap in a line.
    """
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
