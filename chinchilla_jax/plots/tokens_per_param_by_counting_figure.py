"""Figure: compute-optimal tokens per parameter under each way to count the models' parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import COUNTING_NAMES
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.plots.legends import shaded
from chinchilla_jax.plots.marks import finish_ratio_axes, missing_entry
from chinchilla_jax.plots.panels import AxesLike, finish_legend, panels
from chinchilla_jax.plots.styles import counting_looks, styled
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
    from matplotlib.figure import Figure

_CORNER = 0.35  # share of the axes' height that the legend may need
_WIDEST_TITLE = 40  # characters; a wider title would reach into the bands


def tokens_per_param_by_counting_table(
    study: StudyTables, *, method: str = "percentile", level: float | None = None
) -> pd.DataFrame:
    """Bands of compute-optimal tokens per parameter of the unperturbed conditions.

    Returns:
        counting, condition, flops, low, median, high, level, method; flops ascending within an
        counting. NaN where a counting has no bands. `attrs` has runs, the FLOP of the smallest and the
        largest one.

    Raises:
        UsageError: the study has no such method or level.
    """
    rows = select(study.tokens_per_param, method=method, level=level).sort_values("flops", kind="stable")
    rows, runs = shown_budgets(study, rows)
    table = complete(countings(study), rows, "flops", BANDS)
    table.attrs["runs"] = runs
    return table


@styled
def tokens_per_param_by_counting(table: pd.DataFrame, *, ax: AxesLike = None) -> Figure:
    """Draw `tokens_per_param_by_counting_table`: a median and a band per counting.

    The line at 20 is the rule of thumb of Hoffmann et al. 2022 (arXiv:2203.15556), the vertical one the
    budget of Gopher and Chinchilla, 5.76e23 FLOP.

    Args:
        table: as above.
        ax: an Axes to draw on; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["tokens per parameter"], ax, size=(5.4, 3.8))
    axes = where.axes["tokens per parameter"]
    axes.set_xscale("log")
    axes.set_yscale("log")
    missing = []
    handles = []
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
    finish_ratio_axes(axes, table["flops"], table.attrs.get("runs"))
    # Bands are narrow at the left and widen to the right, so one corner at the left is free.
    title = f"median and {interval_name(table)}"
    if len(title) > _WIDEST_TITLE:
        title = title.replace(" (", "\n(", 1)
    finish_legend(
        where,
        [*handles, *shaded(axes), *missing_entry(missing)],
        loc=_free_corner(axes, table),
        title=title,
        title_fontsize=8.0,
        alignment="left",
        # Room for two whole dashes: a key cut within a dash would read as dash-dot.
        handlelength=3.04,
    )
    return where.figure


def _free_corner(axes: Axes, table: pd.DataFrame) -> str:
    """Where the legend goes: below the curves, or above them where the 20:1 line runs along the bottom."""
    low, high = np.log(axes.get_ylim())
    left = table.loc[table["flops"] == table["flops"].min(), ["low", "high"]].to_numpy(dtype=np.float64)
    left = left[np.isfinite(left) & (left > 0)]
    if not left.size:
        return "lower left"
    rule, top = (np.log([RULE_OF_THUMB, left.max()]) - low) / (high - low)
    return "upper left" if rule < _CORNER and top < 1 - _CORNER else "lower left"
