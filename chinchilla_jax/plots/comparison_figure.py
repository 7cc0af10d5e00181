"""Figure: how many times the compute recipes save over a baseline, and the losses behind that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import percent_text, quantity_label
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import GREY, counting_looks, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.planning.recipe_comparison import Comparison
    from chinchilla_jax.plots.styles import Look

_MOST = 1e3  # multipliers beyond it, or below its inverse, are cut off


@styled
def comparison(found: Comparison, *, axes: AxesLike = None) -> tuple[Axes, Axes]:
    """Draw how many times the compute each recipe saves over the baseline, and the losses behind it.

    Args:
        found: of `chinchilla_jax.compare`.
        axes: where to draw (multiplier, loss); None for a new figure.

    Returns:
        Both Axes.
    """
    where = panels(["multiplier", "loss"], axes, columns=2, size=(9.0, 4.2), shown=True)
    left, right = where.axes.values()
    runs = found.counted_runs
    looks = counting_looks(list(runs))
    # Beyond the smallest of the largest runs at least one recipe is extrapolated.
    span = max(each.flops.min() for each in runs.values()), min(each.flops.max() for each in runs.values())
    if span[0] < span[1]:
        shade_runs(left, *span, label="range of the runs of all")
        shade_runs(right, *span, label="range of the runs of all")
    _draw_multipliers(left, found, looks)
    _draw_losses(right, found, runs, looks)
    return left, right


def _draw_multipliers(axes: Axes, found: Comparison, looks: Mapping[str, Look]) -> None:
    axes.axhline(1.0, color=GREY, linewidth=1.0, zorder=1)
    cut = False
    for name, rows in found.curve.groupby("recipe", sort=False):
        look = looks[str(name)]
        flops = rows["flops"].to_numpy()
        columns = rows[["multiplier", "low", "high", "band_low", "band_high"]].astype(np.float64)
        values = columns.clip(1 / _MOST, _MOST)
        cut = cut or bool(((values != columns) & columns.notna()).any(axis=None))
        axes.fill_between(
            flops, values["band_low"], values["band_high"], color=look.colour, alpha=0.12, linewidth=0
        )
        axes.fill_between(flops, values["low"], values["high"], color=look.colour, alpha=0.25, linewidth=0)
        axes.plot(flops, values["multiplier"], color=look.colour, linestyle=look.dashes, label=str(name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(found.curve["flops"].min(), found.curve["flops"].max())
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(f"times the compute that {found.baseline} needs")
    note = f"\ncut off beyond a factor of {_MOST:,.0f}" if cut else ""
    legend_above(axes, note=f"{percent_text(found.level)} interval, and the band that holds everywhere{note}")


def _draw_losses(axes: Axes, found: Comparison, runs: Mapping[str, Runs], looks: Mapping[str, Look]) -> None:
    for name, rows in found.losses.groupby("recipe", sort=False):
        look = looks[str(name)]
        of = runs[str(name)]
        axes.plot(
            of.flops, of.loss, color=look.colour, marker=look.marker, linestyle="none", markersize=2.5,
            alpha=0.4,
        )  # fmt: skip
        axes.fill_between(
            rows["flops"], rows["low"], rows["high"], color=look.colour, alpha=0.25, linewidth=0
        )
        axes.plot(rows["flops"], rows["loss"], color=look.colour, linestyle=look.dashes, label=str(name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(quantity_label("optimal_loss", found.loss_unit))
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    legend_above(axes, note="points: the runs")
