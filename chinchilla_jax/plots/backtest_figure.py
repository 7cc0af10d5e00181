"""Figure: errors of predictions by distance, and how often their intervals hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_LINES = {
    "error": (BLACK, "-", "the law"),
    "error_power_law": (VERMILLION, (0, (6, 1.5)), "power law of compute"),
    "error_lowest": (GREEN, (0, (1.5, 1.5)), "lowest loss so far"),
    "error_nearest": (ORANGE, (0, (3, 1.2, 1, 1.2)), "nearest run"),
}


@styled
def backtest(table: pd.DataFrame, bands: pd.DataFrame, *, level: float = 0.8, ax: AxesLike = None) -> Figure:
    """Draw `Backtest.table` and `Backtest.bands`.

    Args:
        table: a dot for the error of each prediction, at its distance.
        bands: median errors of the law and of its rivals, and the share of runs in each interval.
        level: what that share should be.
        ax: two Axes, "error" and "covered"; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["error", "covered"], ax, columns=2, size=(8.4, 3.8))
    axes = where.axes["error"]
    decades = table["log_distance"].to_numpy(np.float64) / math.log(10.0)
    axes.plot(decades, 100 * table["error"].abs(), ".", color=GREY, markersize=2.5, alpha=0.4)
    for name, (colour, dashes, label) in _LINES.items():
        axes.plot(
            bands["from_decades"], 100 * bands[name], color=colour, linestyle=dashes, marker="o", label=label
        )
    axes.set_yscale("log")
    axes.set_xlabel("decades of compute beyond the window")
    axes.set_ylabel("size of the error (%)")
    axes.legend(loc="lower right")
    axes = where.axes["covered"]
    axes.axhline(100 * level, color=GREY, linewidth=1.0, label=f"promised: {100 * level:.4g}%")
    for name, colour, dashes, label in (
        ("covered_new_run", SKY, "-", "of one new run"),
        ("covered_mean", BLUE, (0, (6, 1.5)), "of the law's mean"),
        ("covered_calibrated", VERMILLION, (0, (1.5, 1.5)), "of one new run, calibrated by earlier windows"),
    ):
        share = 100 * bands[name]
        axes.plot(bands["from_decades"], share, color=colour, linestyle=dashes, marker="o", label=label)
    axes.set_ylim(0, 102)
    axes.set_xlabel("decades of compute beyond the window, from")
    axes.set_ylabel("runs inside the interval (%)")
    axes.legend(loc="best")
    return where.figure
