"""Figure: errors of predictions by distance, and how often their intervals hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import percent_text
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.planning.backtesting import Backtest

_LINES = {
    "error": (BLACK, "-", "the law"),
    "error_power_law": (VERMILLION, (0, (6, 1.5)), "power law of compute"),
    "error_lowest": (GREEN, (0, (1.5, 1.5)), "lowest loss so far"),
    "error_nearest": (ORANGE, (0, (3, 1.2, 1, 1.2)), "nearest run"),
}


@styled
def backtest(found: Backtest, *, axes: AxesLike = None) -> tuple[Axes, Axes]:
    """Draw the errors of predictions by distance, and how often their intervals hold.

    Args:
        found: of `chinchilla_jax.backtest`.
        axes: where to draw (error, covered); None for a new figure.

    Returns:
        Both Axes.
    """
    where = panels(["error", "covered"], axes, columns=2, size=(8.8, 4.2), shown=True)
    error, covered = where.axes.values()
    table, bands = found.table, found.bands
    decades = table["log_distance"].to_numpy(np.float64) / math.log(10.0)
    error.plot(
        decades, 100 * table["error"].abs(), ".", color=GREY, markersize=2.5, alpha=0.4,
        label="predictions of the law",
    )  # fmt: skip
    for name, (colour, dashes, label) in _LINES.items():
        _draw_line(error, bands["from_decades"], 100 * bands[name], colour, dashes, f"median of {label}")
    error.set_yscale("log")
    error.set_xlabel("decades of compute beyond the window")
    error.set_ylabel("size of the error (%)")
    covered.axhline(
        100 * found.level, color=GREY, linewidth=1.0, label=f"promised: {percent_text(found.level)}"
    )
    for name, colour, dashes, label in (
        ("covered_new_run", SKY, "-", "of one new run"),
        ("covered_mean", BLUE, (0, (6, 1.5)), "of the law's mean"),
        ("covered_calibrated", VERMILLION, (0, (1.5, 1.5)), "of one new run, calibrated by earlier windows"),
    ):
        _draw_line(covered, bands["from_decades"], 100 * bands[name], colour, dashes, label)
    covered.set_ylim(0, 102)
    covered.set_xlabel("decades of compute beyond the window, from")
    covered.set_ylabel("runs inside the interval (%)")
    for each in (error, covered):
        readable_axis(each, "x")
        readable_axis(each, "y")
        legend_above(each)
    return error, covered


def _draw_line(axes: Axes, x: pd.Series, y: pd.Series, colour: str, dashes: Any, label: str) -> None:
    if y.notna().any():
        axes.plot(x, y, color=colour, linestyle=dashes, marker="o", label=label)
