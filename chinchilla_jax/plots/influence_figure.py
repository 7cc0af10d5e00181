"""Figure: the residual of each run and how far it moves the answer, and the answer without the worst runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREY, VERMILLION, Look, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax.analysis.run_influence import Influence

_NAMED = 5
_NAME_WIDTH, _NAME_HEIGHT = 40.0, 8.0  # of a name, in points
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
    colours = np.where(change > 0, BLUE, np.where(change < 0, VERMILLION, GREY))
    axes.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1)
    axes.scatter(
        flops,
        residuals,
        s=6.0 + 90.0 * size / largest,
        c=colours.tolist(),
        alpha=0.75,
        linewidths=0.0,
        zorder=2,
    )
    axes.set_xscale("log")
    named = np.argsort(-size, kind="stable")[:_NAMED]
    named = named[(size[named] > 0) & np.isfinite(residuals[named])]
    names = [str(table["row"].iloc[run]) for run in named]
    _name_points(axes, flops[named], residuals[named], names)
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel("ln predicted \N{MINUS SIGN} ln observed loss, without the run")
    axes.set_title("larger: moves tokens per parameter more")


def _name_points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str]) -> None:
    """Names beside their points, from the lowest up, each above those it would cover."""
    if not len(x):
        return
    points = axes.transData.transform(np.column_stack([x, y])) * 72.0 / axes.figure.dpi
    placed: list[tuple[float, float]] = []
    for k in np.argsort(points[:, 1], kind="stable"):
        at, height = points[k, 0], points[k, 1] + 4.0
        for other, taken in placed:
            if abs(at - other) < _NAME_WIDTH:
                height = max(height, taken + _NAME_HEIGHT)
        placed.append((at, height))
        axes.annotate(
            names[k], (x[k], y[k]), xytext=(5.0, height - points[k, 1]), textcoords="offset points",
            fontsize=7.0,
        )  # fmt: skip


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
    readable_axis(axes, "y")
    axes.set_xlabel("runs left out together (%)")
    axes.set_ylabel(quantity_label("optimal_tokens_per_param"))
    axes.set_title("without the worst runs")
    # Below, where no line can run.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
