"""Figure: coverage of every interval method against its nominal level, one panel per quantity."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chinchilla_jax._util.text import number_text
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, ORANGE, VERMILLION, styled

_COLUMNS, _WIDTH, _HEIGHT = 4, 2.9, 2.5  # of a panel, in inches
_NARROW = (2, 2.05, 2.0)  # the same on a telephone
_TOLERANCE = 0.02
_LOOKS = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (ORANGE, "D"))
_NAMES = {"highest_density": "highest\ndensity", "studentised": "student-\nised"}


@styled
def plot_coverage(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw coverage with two standard errors, a column per method and a colour per level.

    Args:
        table: of `analysis.coverage_table`.
        narrow: for a screen that is no wider than two panels.

    Returns:
        The figure. Grey bands extend two percentage points to either side of each level.
    """
    panels = list(table.groupby(["quantity", "flops"], sort=False, dropna=False))
    columns, width, height = _NARROW if narrow else (_COLUMNS, _WIDTH, _HEIGHT)
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    methods = list(dict.fromkeys(table["method"]))
    lowest = float(np.nanmin(table["coverage"] - 2 * table["coverage_error"]))
    for axes, ((quantity, flops), rows_of) in zip(grid.flat, panels, strict=False):
        _panel(axes, rows_of, methods)
        title = str(quantity).replace("_", " ")
        space = "\n" if narrow else " "
        axes.set_title(title if math.isnan(flops) else f"{title},{space}{number_text(flops)} FLOP")
        axes.set_ylim(max(min(lowest, 0.7) - 0.02, 0.0), 1.02)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("coverage")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if narrow else len(labels))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    for i, (level, group) in enumerate(rows.groupby("level")):
        colour, marker = _LOOKS[i % len(_LOOKS)]
        axes.axhspan(level - _TOLERANCE, level + _TOLERANCE, color="#E4E4E4", zorder=0)
        axes.axhline(level, color=BLACK, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
        by_method = group.set_index("method").reindex(methods)
        axes.errorbar(
            np.arange(len(methods)) + 0.12 * (i - 0.5),
            by_method["coverage"],
            yerr=2 * by_method["coverage_error"],
            fmt=marker,
            color=colour,
            capsize=2.0,
            linewidth=1.0,
            label=f"{level:.0%} intervals, with two standard errors",
        )
    axes.set_xticks(range(len(methods)), [_NAMES.get(name, name) for name in methods], rotation=60)
    axes.grid(axis="x", visible=False)
    axes.set_xlim(-0.6, len(methods) - 0.4)
