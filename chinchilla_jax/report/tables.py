"""The tables of the page, each from one file of the study directory, and the meanings of their columns."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax._util.labels import COUNTING_NAMES
from chinchilla_jax._util.text import scaled_number
from chinchilla_jax.analysis import trend_table
from chinchilla_jax.intervals import slope_table
from chinchilla_jax.perturbations import Composition
from chinchilla_jax.planning.plausibility import band_doubts
from chinchilla_jax.plots.sweeps import SWEEPS, family_words, in_words
from chinchilla_jax.plots.tables import select
from chinchilla_jax.report.facts import BAND_COLUMNS, METHOD, Facts
from chinchilla_jax.report.numbers import answer_text, exact, plain, shown, shown_column
from chinchilla_jax.study.storage.tables import FILES

if TYPE_CHECKING:
    import pandas as pd

# A longer table is folded until the reader opens it.
_FOLDED_ABOVE = 24
_MOST_ROWS = 2000  # shown of a table that is not the study's own
_STANDARD_ERROR_DIGITS = 2
_COUNTS = ("params", "tokens")  # read as "1.78B"
_ROUNDING = 1e-12  # rounding error of a slope between values of order 1

MEANINGS: Mapping[str, str] = {
    "condition": "what is changed, and by how much; files name it by its code",
    "family": "what is changed",
    "value": "size of the perturbation, in the unit of its family",
    "repeat": "number of the draw of a random perturbation",
    "params": "how the parameters of the models are counted",
    "parameter": "parameter of the law L(N, D) = E + A N^-alpha + B D^-beta, in nats per token",
    "estimate": "point fit on all runs",
    "standard_error": "standard deviation over the resamples that count",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "median": "median over the resamples that count",
    "level": "share of the resamples inside the interval",
    "method": "how the interval was made",
    "n_converged": "resamples that count",
    "n_failed": "resamples that do not count, left out of every number",
    "n_repeats": "draws that the median is taken over",
    "n_missing": "draws without a resample that counts",
    "flops": "training compute C in FLOP",
    "doubt": "what makes the row hard to believe",
    "contains_unperturbed": "whether the interval contains the estimate of the unperturbed runs",
    "slope": "change of the transformed parameter per unit of the transformed size",
    "r_squared": "share of the variance that the line explains",
    "slope_per_decade": "change of the median tokens per parameter per factor of ten in compute",
    "law": "loss that the fitted law predicts",
    "residual %": "observed loss over the law's, less 1",
    "leverage": "share of its own loss in the law's prediction of it, from 0 to 1",
    "icc": "intraclass correlation of the residuals",
    "status": "how the fits ended",
    "objective": "estimator",
}


class Cell(NamedTuple):
    """One cell: its text, its value in the CSV, whether its column is numeric, and where it leads."""

    text: str
    value: str
    numeric: bool
    anchor: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: its name, whether it is numeric, and its meaning ("" if the name says it)."""

    name: str
    numeric: bool
    meaning: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageTable:
    """One table of the page.

    Attributes:
        id: its anchor on the page, and the name of its CSV file.
        title: the heading.
        caption: what it shows.
        source: file in the study directory that its numbers come from; "" if none.
        columns: in the order of the cells.
        rows: anchor of the row ("" for none) and its cells.
        fold: whether it is folded however short it is.
    """

    id: str
    title: str
    caption: str
    source: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    fold: bool = False

    @property
    def folded(self) -> bool:
        """Whether the reader opens it, as one that is too long."""
        return self.fold or len(self.rows) > _FOLDED_ABOVE


def page_table(
    frame: pd.DataFrame,
    *,
    id: str,
    title: str,
    caption: str,
    source: str = "",
    anchors: Sequence[str] = (),
    links: Sequence[str] = (),
    texts: Mapping[str, Sequence[str]] = MappingProxyType({}),
    law: str = "",
    fold: bool = False,
) -> PageTable:
    """A DataFrame as a table of the page, without its index.

    Args:
        frame: columns of numbers, booleans or strings.
        id: see `PageTable`.
        title: see `PageTable`.
        caption: see `PageTable`.
        source: see `PageTable`.
        anchors: one per row; empty for none.
        texts: of the cells of a column, where they are not the numbers in four digits.
        links: where the first cell of each row leads; empty for nowhere.
        law: whose parameters these are, see `Facts.law`.
        fold: see `PageTable`.
    """
    meanings = {**MEANINGS, "parameter": f"parameter of the law {law}"} if law else MEANINGS
    columns = []
    cells = []
    for name in frame.columns:
        values = [plain(value) for value in frame[name].tolist()]
        numeric = any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        columns.append(Column(str(name), numeric, meanings.get(str(name), "")))
        digits = _STANDARD_ERROR_DIGITS if name == "standard_error" else 4
        read = texts[name] if name in texts else _texts(str(name), values, digits)
        cells.append([Cell(text, exact(value), numeric) for text, value in zip(read, values, strict=True)])
    if links:
        cells[0] = [cell._replace(anchor=link) for cell, link in zip(cells[0], links, strict=True)]
    rows = tuple(zip(anchors or [""] * len(frame), zip(*cells, strict=True), strict=True))
    return PageTable(
        id=id, title=title, caption=caption, source=source, columns=tuple(columns), rows=rows, fold=fold
    )


def _texts(name: str, values: Sequence[Any], digits: int) -> list[str]:
    """The cells of a column to read."""
    if name in _COUNTS and all(isinstance(value, float) for value in values):
        return [scaled_number(value) if math.isfinite(value) else shown(value) for value in values]
    return shown_column(values, digits)


def condition_anchors(facts: Facts) -> dict[str, str]:
    """The anchor of each condition in the table `at-budget`."""
    return {str(name): f"at-budget-{i}" for i, name in enumerate(facts.conditions["condition"])}


def at_budget(facts: Facts) -> PageTable:
    """Every condition at the page's budget."""
    named = condition_words(facts)
    compared = "" if facts.reference is None else f" Compared with: {named[facts.reference]}."
    return page_table(
        _with_doubts(facts, facts.at_budget.assign(flops=facts.budget)).drop(columns="flops"),
        id="at-budget",
        title=f"Every condition at {shown(facts.budget)} FLOP",
        caption=f"Compute-optimal tokens per parameter with the {facts.interval}.{compared}",
        source=FILES["tokens_per_param"],
        anchors=list(condition_anchors(facts).values()),
        texts=_words(facts, facts.at_budget),
    )


def condition_words(facts: Facts) -> dict[str, str]:
    """What each condition changes, in words, and how its parameters are counted where that varies."""
    table = facts.conditions
    several = table["params"].nunique() > 1
    named = {}
    for row in table.itertuples():
        name = str(row.condition)
        if row.family == "identity":
            words = "unperturbed"
        elif row.family == Composition.family:
            words = " and ".join(map(_part_words, name.partition("@")[0].split("|")))
        else:
            words = in_words(str(row.family), float(row.value))
            words += f", draw {row.repeat}" if row.repeat else ""
        count = COUNTING_NAMES.get(str(row.params), str(row.params))
        named[name] = f"{words} ({count})" if several else words
    return named


def _part_words(part: str) -> str:
    """One part of a composition; that of a user's own class keeps its id."""
    family, _, size = part.partition("=")
    return in_words(family, float(size.partition("#")[0])) if family in SWEEPS else part


def _words(facts: Facts, frame: pd.DataFrame) -> dict[str, list[str]]:
    """What a table reads where it says otherwise in a file: names in words, ratios as in the answer."""
    named = condition_words(facts)
    known: dict[str, Callable[[Any], str]] = {
        "condition": lambda name: named.get(name, name),
        "family": lambda name: "unperturbed" if name == "identity" else family_words(name),
    }
    if "parameter" not in frame:
        known |= dict.fromkeys(BAND_COLUMNS, lambda value: answer_text("tokens_per_param", value))
    texts = {name: [read(value) for value in frame[name]] for name, read in known.items() if name in frame}
    for axis in {"transform_x", "transform_y"} & set(frame):
        texts[axis] = ["plain" if name == "identity" else name for name in frame[axis]]
    if "params" in frame and "condition" in frame:
        texts["params"] = [COUNTING_NAMES.get(str(name), str(name)) for name in frame["params"]]
    return texts


def _with_doubts(facts: Facts, frame: pd.DataFrame) -> pd.DataFrame:
    """A table of tokens per parameter with a column of doubts, if there is one."""
    doubts = band_doubts(frame, facts.largest)
    return frame.assign(doubt=doubts) if any(doubts) else frame


def statuses(facts: Facts) -> PageTable:
    """How many fits ended how."""
    import pandas as pd

    info = facts.study.info
    frame = pd.DataFrame(
        {
            "status": list(info["status_counts"]),
            "bootstrap fits": list(info["status_counts"].values()),
            "point fits": [info["point_status_counts"].get(name, 0) for name in info["status_counts"]],
        }
    )
    return page_table(
        frame,
        id="statuses",
        title="How the fits ended",
        caption=_counted(facts),
        source="study.json",
    )


def _counted(facts: Facts) -> str:
    """Which fits enter the numbers of the page."""
    if facts.study.spec.boundary == "keep":
        return "Only certified optima, CONVERGED or (with E = 0) BOUNDARY, enter a number on this page."
    return "Only CONVERGED fits enter a number on this page; optima with E = 0, BOUNDARY, are left out of it."


def failures(facts: Facts) -> PageTable | None:
    """Conditions with fits that do not count, or with notes; None if there are none."""
    import pandas as pd

    # A condition may have a note for each of its two point fits; both go into its one row.
    notes: dict[str, list[str]] = {}
    for note in facts.study.info["notes"]:
        notes.setdefault(note["condition"], []).append(note["note"])
    rows = facts.at_budget
    rows = rows[(rows["n_failed"] > 0) | rows["condition"].isin(list(notes))]
    if rows.empty:
        return None
    frame = pd.DataFrame(rows[["condition", "n_converged", "n_failed"]])
    frame["note"] = [" ".join(notes.get(str(name), ())) for name in rows["condition"]]
    return page_table(
        frame,
        texts=_words(facts, frame),
        id="failures",
        title="Conditions with fits that do not count, or with notes",
        caption="Counts are of bootstrap fits; notes are about the point fits on all runs.",
        source="study.json",
    )


_PARAMS_COLUMNS = [
    "condition",
    "parameter",
    "estimate",
    "standard_error",
    "low",
    "high",
    "n_converged",
    "n_failed",
]


def unperturbed_params(facts: Facts) -> PageTable:
    """The parameters of the unperturbed conditions, by every method."""
    frame = _unperturbed(facts, facts.study.params)
    frame = frame[[*_PARAMS_COLUMNS[:-2], "level", "method", *_PARAMS_COLUMNS[-2:]]]
    return page_table(
        frame,
        texts=_words(facts, frame),
        id="params-unperturbed",
        title="Fitted parameters of the unperturbed runs",
        caption="Estimates, standard errors and intervals by count of the parameters and by method.",
        source=FILES["params"],
        law=facts.law,
    )


def unperturbed_ratios(facts: Facts) -> PageTable:
    """Tokens per parameter of the unperturbed conditions, at a budget per decade."""
    rows = select(_unperturbed(facts, facts.study.tokens_per_param), method=METHOD, level=facts.level)
    rows = rows[rows["flops"].isin(_few_budgets(facts))][["condition", "flops", *BAND_COLUMNS]]
    return page_table(
        _with_doubts(facts, rows),
        texts=_words(facts, rows),
        id="tokens-per-param-unperturbed",
        title="Tokens per parameter of the unperturbed runs",
        caption=f"Compute-optimal tokens per parameter with the {facts.interval}; the file has every budget.",
        source=FILES["tokens_per_param"],
    )


def slopes(facts: Facts) -> PageTable:
    """Trend of the median tokens per parameter of the unperturbed conditions."""
    frame = slope_table(_unperturbed(facts, facts.study.tokens_per_param))
    frame = frame[frame["level"] == facts.level].drop(columns="level")
    return page_table(
        frame,
        texts=_words(facts, frame),
        id="slopes",
        title="Trend of the tokens per parameter with compute",
        caption="Least-squares slope of the median over log10 of the training compute, over all budgets.",
        source=FILES["tokens_per_param"],
    )


def family_params(facts: Facts, family: str) -> PageTable:
    """The fitted parameters of every condition of a family."""
    members = facts.conditions.loc[facts.conditions["family"] == family, "condition"]
    rows = facts.params[facts.params["condition"].isin(members)]
    return page_table(
        rows[_PARAMS_COLUMNS],
        texts=_words(facts, rows[_PARAMS_COLUMNS]),
        id=f"params-{family}",
        title="Fitted parameters",
        caption=f"One row per condition and parameter, with the {facts.interval}.",
        source=FILES["params"],
        law=facts.law,
    )


def family_ratios(facts: Facts, family: str) -> PageTable:
    """Tokens per parameter of a family by size, at a budget per decade, repeats taken together."""
    curves = facts.curves(family)
    columns = ["value", "flops", *BAND_COLUMNS]
    over = ""
    if curves["n_repeats"].max() > 1:
        columns += ["n_repeats", "n_missing"]
        over = " Each number is the median over the repeats of a size."
    rows = curves[curves["flops"].isin(_few_budgets(facts))][columns]
    return page_table(
        _with_doubts(facts, rows),
        texts=_words(facts, rows),
        id=f"tokens-per-param-{family}",
        title="Tokens per parameter",
        caption=f"Compute-optimal tokens per parameter with the {facts.interval}.{over} "
        "The file has every budget.",
        source=FILES["tokens_per_param"],
    )


def trends(facts: Facts) -> PageTable:
    """How each parameter moves with the size of each perturbation."""
    known = facts.conditions[facts.conditions["family"].isin(["identity", *facts.families])]
    table = trend_table(known, facts.study.params[facts.study.params["level"] == facts.level], METHOD)
    return page_table(
        texts=_words(facts, table),
        frame=table.assign(slope=table["slope"].where(table["slope"].abs() > _ROUNDING, 0.0)),
        id="trends",
        title="Trends of the parameters",
        caption="A straight line through the estimates of each family, on the transformed axes that the "
        "table names; R² is left out where the parameter does not move or there are only two sizes, and "
        "slopes within rounding error are shown as 0.",
        source=FILES["params"],
        law=facts.law,
    )


def other_tables(facts: Facts) -> list[PageTable]:
    """Tables in summary/ that are not the study's own, shown unchanged."""
    import pandas as pd

    tables = []
    shown_already = {Path(name).name for name in FILES.values()}
    directory = facts.study.directory
    for name in sorted(directory.list_files("summary")):
        stem, dot, suffix = name.rpartition(".")
        if dot + suffix != ".parquet" or name in shown_already:
            continue
        try:
            frame = pd.read_parquet(io.BytesIO(directory.read(f"summary/{name}")))
        except (OSError, ValueError):  # still being written, or not a table
            continue
        cut = f" The first {_MOST_ROWS:,} of {len(frame):,} rows." if len(frame) > _MOST_ROWS else ""
        tables.append(
            page_table(
                frame.head(_MOST_ROWS),
                id=f"table-{stem}",
                title=stem.replace("_", " ").capitalize(),
                caption=f"As found in the study's directory.{cut}",
                source=f"summary/{name}",
            )
        )
    return tables


def _unperturbed(facts: Facts, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["condition"].isin(facts.countings["condition"])]


def _few_budgets(facts: Facts) -> np.ndarray:
    """The study's budgets at whole decades and the page's own; all of them if there are few."""
    if len(facts.budgets) <= 12:
        return facts.budgets
    logs = np.log10(facts.budgets)
    whole = facts.budgets[np.abs(logs - np.rint(logs)) < 1e-9]
    return np.unique([*(whole if len(whole) else facts.budgets[[0, -1]]), facts.budget])
