"""Figure: the residual of each run and how far it moves the answer, and the answer without the worst runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.marks import name_points
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREY, VERMILLION, Look, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.analysis.run_influence import Influence

_NAMED = 5
_LOOKS = {
    "residual": (Look(BLACK, "o", "-"), "largest residuals"),
    "raise": (Look(VERMILLION, "v", (0, (6, 1.5))), "those that raise it most"),
    "lower": (Look(BLUE, "^", (0, (3, 1.2, 1, 1.2))), "those that lower it most"),
}


@styled
def influence(found: Influence, *, axes: AxesLike = None) -> tuple[Axes, Axes]:
    """Draw which runs move tokens per parameter, and what it is without the worst of them.

    On the left each run is its residual by the fit without it, the larger the more it moves tokens per
    parameter, in the colour of the direction; the five that do most are named.

    Args:
        found: of `analysis.influence`.
        axes: where to draw (runs, without); None for a new figure.

    Returns:
        Both Axes.
    """
    where = panels(["runs", "without"], axes, columns=2, size=(8.8, 4.4), shown=True)
    left, right = where.axes.values()
    _draw_runs(left, found.table)
    _draw_without(right, found.without)
    return left, right


def _draw_runs(axes: Axes, table: pd.DataFrame) -> None:
    flops = training_flops(table["params"].to_numpy(), table["tokens"].to_numpy())
    residuals, change = (table[name].to_numpy(np.float64) for name in ("left_out", "change"))
    size = np.nan_to_num(np.abs(change), nan=0.0)
    largest = max(float(size.max(initial=0.0)), 1e-300)
    areas = 6.0 + 90.0 * size / largest
    axes.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1)
    # In the colours of the other panel: without a run that lowers it, the answer is higher.
    for of, colour, words in (
        (change > 0, BLUE, "lowers tokens per parameter"),
        (change < 0, VERMILLION, "raises it"),
        (~(np.abs(change) > 0), GREY, "does neither"),
    ):
        if of.any():
            axes.scatter(
                flops[of], residuals[of], s=areas[of], color=colour, alpha=0.75, linewidths=0.0, zorder=2,
                label=words,
            )  # fmt: skip
    axes.set_xscale("log")
    named = np.argsort(-size, kind="stable")[:_NAMED]
    named = named[(size[named] > 0) & np.isfinite(residuals[named])]
    names = [str(table["row"].iloc[run]) for run in named]
    name_points(axes, names, flops[named], residuals[named])
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel("ln predicted \N{MINUS SIGN} ln observed loss, without the run")
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    legend_above(axes, note="each run by what it does to the answer, the larger the more")


def _draw_without(axes: Axes, without: pd.DataFrame) -> None:
    ratio = float((without["tokens_per_param"] / np.exp(without["change"])).median())
    axes.axhline(ratio, color=GREY, linewidth=1.0, zorder=1, label="all runs")
    for way, rows in without.groupby("way", sort=False):
        look, words = _LOOKS[str(way)]
        rows = rows.sort_values("share")
        axes.plot(
            100.0 * rows["share"], rows["tokens_per_param"], color=look.colour, marker=look.marker,
            linestyle=look.dashes, label=words,
        )  # fmt: skip
    axes.set_yscale("log")
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    axes.set_xlabel("runs left out together (%)")
    axes.set_ylabel(quantity_label("optimal_tokens_per_param"))
    legend_above(axes, note="without the worst runs")
