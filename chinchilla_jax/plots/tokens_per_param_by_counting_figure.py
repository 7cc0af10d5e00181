"""Figure: compute-optimal tokens per parameter under each way to count the models' parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import COUNTING_NAMES, HEADLINE
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.laws.compute import usual_budget
from chinchilla_jax.plots.legends import legend_below, shaded
from chinchilla_jax.plots.marks import finish_ratio_axes, missing_entry
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import Look, counting_looks, styled
from chinchilla_jax.plots.tables import (
    BANDS,
    StudyTables,
    complete,
    countings,
    drawable,
    interval_name,
    select,
    shown_budgets,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def tokens_per_param_by_counting_table(
    study: StudyTables, *, method: str = "percentile", level: float | None = None
) -> pd.DataFrame:
    """Bands of compute-optimal tokens per parameter of the unperturbed conditions.

    Returns:
        counting, condition, flops, low, median, high, level, method; flops ascending within an
        counting; and estimate, where the study has it. NaN where a counting has no bands. `attrs` has runs,
        the FLOP of the smallest and the largest one, and budget, that of the headline (FLOP).

    Raises:
        UsageError: the study has no such method or level.
    """
    rows = select(study.tokens_per_param, method=method, level=level).sort_values("flops", kind="stable")
    rows, runs = shown_budgets(study, rows)
    table = complete(countings(study), rows, "flops", [*BANDS, *({HEADLINE} & set(rows))])
    table.attrs = {"runs": runs, "budget": usual_budget(study.spec.data, study.runs().flops)}
    return table


@styled
def tokens_per_param_by_counting(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw `tokens_per_param_by_counting_table`: a median and a band per counting.

    The line at 20 is the rule of thumb of Hoffmann et al. 2022 (arXiv:2203.15556), the vertical one the
    budget of Gopher and Chinchilla, 5.76e23 FLOP.

    Args:
        table: as above.
        ax: an Axes to draw on; None for a new figure.

    Returns:
        The Axes.
    """
    where = panels(["tokens per parameter"], ax, size=(5.4, 4.4))
    axes = where.axes["tokens per parameter"]
    axes.set_xscale("log")
    axes.set_yscale("log")
    missing = []
    handles, estimates = [], []
    looks = counting_looks([str(name) for name in dict.fromkeys(table["counting"])])
    for name, every in table.groupby("counting", sort=False):
        words = COUNTING_NAMES.get(str(name), str(name))
        rows = drawable(every)
        if not np.isfinite(rows["median"]).any():
            missing.append(words)
            continue
        look = looks[str(name)]
        axes.fill_between(
            rows["flops"], rows["low"], rows["high"], color=look.colour, alpha=0.09, linewidth=0, zorder=1
        )
        for edge in ("low", "high"):
            axes.plot(rows["flops"], rows[edge], color=look.colour, linewidth=0.6, alpha=0.8, zorder=1)
        handles += axes.plot(
            rows["flops"],
            rows["median"],
            color=look.colour,
            linestyle=look.dashes,
            linewidth=1.8,
            label=words,
        )
        estimates += _mark_estimate(axes, rows, look, table.attrs.get("budget"))
    finish_ratio_axes(axes, table["flops"], table.attrs.get("runs"))
    listed = [*handles, *estimates[:1], *shaded(axes), *missing_entry(missing)]
    legend_below(axes, listed, columns=2, title=f"median and {interval_name(table)}")
    return axes


def _mark_estimate(axes: Axes, rows: pd.DataFrame, look: Look, budget: float | None) -> list[Line2D]:
    """The headline: the estimate at the usual budget, beside the median of the resamples."""
    if budget is None or HEADLINE not in rows or not rows["flops"].min() <= budget <= rows["flops"].max():
        return []
    value = float(np.exp(np.interp(np.log(budget), np.log(rows["flops"]), np.log(rows[HEADLINE]))))
    if not 0 < value < np.inf:
        return []
    text = f"estimate at {flops_text(budget)} FLOP"
    return axes.plot(budget, value, look.marker, color=look.colour, markersize=5.5, zorder=4, label=text)
