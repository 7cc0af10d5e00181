"""Intervals of several methods side by side, one panel per quantity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import number_text
from chinchilla_jax.plots.style import BLACK, BLUE, ORANGE, SKY, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_COLOURS = (BLUE, SKY, ORANGE)
_LOG = ("A", "B", "optimal_params", "optimal_tokens", "tokens_per_param")


@styled
def plot_intervals(table: pd.DataFrame) -> Figure:
    """Draw every interval as a bar around the estimate, wider levels thinner.

    Args:
        table: of `analysis.interval_table`.

    Returns:
        The figure; a bar that is infinite or missing is left out.

    Raises:
        UsageError: the table is empty.
    """
    from matplotlib.figure import Figure

    panels = list(table.groupby(["quantity", "flops", "params", "tokens"], sort=False, dropna=False))
    if not panels:
        raise UsageError("plot_intervals: the table is empty")
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    methods = list(dict.fromkeys(table["method"]))
    height = 0.9 + 0.24 * len(methods)
    figure = Figure(figsize=(2.9 * columns, height * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, ((quantity, flops, params, _), chosen) in zip(grid.flat, panels, strict=False):
        _panel(axes, chosen, methods)
        if quantity in _LOG:
            axes.set_xscale("log")
        place = flops if math.isnan(params) else params
        unit = "FLOP" if math.isnan(params) else "params"
        title = str(quantity).replace("_", " ")
        axes.set_title(title if math.isnan(place) else f"{title}, {number_text(place)} {unit}")
        readable_axis(axes, "x", most=4)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(len(labels), 1))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    levels = sorted(rows["level"].unique(), reverse=True)
    for i, level in enumerate(levels):
        named = False
        for row in rows[rows["level"] == level].to_dict("records"):
            if not np.isfinite([row["low"], row["high"]]).all():
                continue
            y = methods.index(row["method"])
            axes.plot(
                [row["low"], row["high"]],
                [y, y],
                color=_COLOURS[i % len(_COLOURS)],
                linewidth=2.0 + 3.0 * i,
                solid_capstyle="butt",
                label=None if named else f"{level:.0%}",
            )
            named = True
    estimates = rows.drop_duplicates("method")
    axes.plot(
        estimates["estimate"],
        [methods.index(method) for method in estimates["method"]],
        "|",
        color=BLACK,
        markersize=9,
        label="estimate",
    )
    axes.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
