"""The runs of a page as a table, each with its residual and an anchor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.report.cells import PageTable, page_table

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.report.subject import Subject

RUNS = "runs"
"""The id of the table."""
_OWN = ("row", "law", "leverage", "weight")
MOST_ROWS = 2000
MOST_WORST = 8


def run_anchor(position: int) -> str:
    """The anchor of the run at this position."""
    return f"run-{position}"


def worst_first(subject: Subject) -> list[int]:
    """Positions of the runs that the fit counts, those of the largest residuals first."""
    fit = subject.fit
    sizes = np.abs(fit.residuals)
    if fit.weights is not None:
        sizes = np.where(fit.weights > 0, sizes, -1.0)
    order = np.argsort(-np.nan_to_num(sizes, nan=-1.0), kind="stable")
    return [int(i) for i in order if sizes[i] >= 0]


def shown_rows(subject: Subject) -> list[int]:
    """Positions of the runs in the table: all, or of a long table those that lie farthest from the law."""
    n = len(subject.runs)
    return list(range(n)) if n <= MOST_ROWS else sorted(worst_first(subject)[:MOST_ROWS])


def runs_frame(subject: Subject) -> pd.DataFrame:
    """One row per run: row, residual %, loss, that of the law, counts, leverage, and every further column."""
    import pandas as pd

    runs, fit = subject.runs, subject.fit
    design = subject.diagnosis if subject.pictures else None
    leverage = None if design is None else design.runs["leverage"].to_numpy()
    further = {**runs.variables, **runs.groups, **runs.labels}
    return pd.DataFrame(
        {
            "row": [runs.name_row(i) for i in range(len(runs))],
            "residual %": 100 * np.expm1(-fit.residuals),
            "loss": runs.loss,
            "law": runs.loss * np.exp(fit.residuals),
            "params": runs.params,
            "tokens": runs.tokens,
            "flops": runs.flops,
            **({} if leverage is None else {"leverage": leverage}),
            **({} if fit.weights is None else {"weight": fit.weights}),
            **{name: values for name, values in further.items() if name not in _OWN},
        }
    )


def runs_table(subject: Subject) -> PageTable:
    """The table of the runs, to be folded."""
    chosen = shown_rows(subject)
    cut = (
        f" The {len(chosen):,} of {len(subject.runs):,} rows that lie farthest from the law."
        if len(chosen) < len(subject.runs)
        else ""
    )
    return page_table(
        runs_frame(subject).iloc[chosen],
        id=RUNS,
        title="The runs",
        caption="Residual is the observed loss over the law's, less 1." + cut,
        anchors=[run_anchor(i) for i in chosen],
        fold=True,
    )


def worst_table(subject: Subject) -> PageTable:
    """The rows farthest from the law, each linked to its row in the table of the runs."""
    worst = worst_first(subject)[:MOST_WORST]
    return page_table(
        runs_frame(subject).iloc[worst],
        id="worst-rows",
        title="The rows farthest from the law",
        caption="By the size of the residual: the observed loss over the law's, less 1.",
        links=[run_anchor(i) for i in worst],
    )
