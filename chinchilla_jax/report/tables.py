"""The tables of a study's page, each from one file of the study directory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import BAND_COLUMNS
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.analysis import trend_table
from chinchilla_jax.intervals import slope_table
from chinchilla_jax.planning.plausibility import band_doubts
from chinchilla_jax.plots.tables import select
from chinchilla_jax.report.cells import PageTable, page_table
from chinchilla_jax.report.facts import METHOD, Facts
from chinchilla_jax.report.words import table_words
from chinchilla_jax.study.storage.tables import FILES

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 2000  # shown of a table that is not the study's own
_ROUNDING = 1e-12  # rounding error of a slope between values of order 1


def condition_anchors(facts: Facts) -> dict[str, str]:
    """The anchor of each condition in the table `at-budget`."""
    return {str(name): f"at-budget-{i}" for i, name in enumerate(facts.conditions["condition"])}


def at_budget(facts: Facts) -> PageTable:
    """Every condition at the page's budget."""
    reference = facts.reference
    compared = "" if reference is None else f" Compared with: {facts.condition_words[reference]}."
    return page_table(
        _with_doubts(facts, facts.at_budget.assign(flops=facts.budget)).drop(columns="flops"),
        id="at-budget",
        title=f"Every condition at {flops_text(facts.budget)} FLOP",
        caption=f"Compute-optimal tokens per parameter with the {facts.interval}.{compared}",
        source=FILES["tokens_per_param"],
        anchors=list(condition_anchors(facts).values()),
        texts=table_words(facts, facts.at_budget),
    )


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
        texts=table_words(facts, frame),
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
        texts=table_words(facts, frame),
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
        texts=table_words(facts, rows),
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
        texts=table_words(facts, frame),
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
        texts=table_words(facts, rows[_PARAMS_COLUMNS]),
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
        texts=table_words(facts, rows),
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
        texts=table_words(facts, table),
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
