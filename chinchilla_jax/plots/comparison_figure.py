"""Figure: how many times the compute recipes save over a baseline, and the losses behind that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import GREY, counting_looks, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.plots.styles import Look

_MOST = 1e3  # multipliers beyond it, or below its inverse, are cut off


@styled
def comparison(
    curve: pd.DataFrame,
    losses: pd.DataFrame,
    runs: Mapping[str, Runs],
    *,
    level: float = 0.8,
    ax: AxesLike = None,
) -> Figure:
    """Draw `Comparison.curve` and `Comparison.losses`.

    Args:
        curve: multiplier of each recipe over the baseline, with interval and simultaneous band.
        losses: compute-optimal loss of each recipe.
        runs: of each recipe, the baseline first; dots beside the losses.
        level: mass of the intervals, for the legend.
        ax: two Axes, "multiplier" and "loss"; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["multiplier", "loss"], ax, columns=2, size=(8.6, 4.0))
    looks = counting_looks(list(runs))
    baseline = next(iter(runs))
    largest = {name: float(each.flops.max()) for name, each in runs.items()}
    _draw_multipliers(where.axes["multiplier"], curve, looks, baseline, largest, level)
    _draw_losses(where.axes["loss"], losses, runs, looks)
    return where.figure


def _draw_multipliers(
    axes: Axes,
    curve: pd.DataFrame,
    looks: Mapping[str, Look],
    baseline: str,
    largest: Mapping[str, float],
    level: float,
) -> None:
    axes.axhline(1.0, color=GREY, linewidth=1.0, zorder=1)
    cut = False
    for name, rows in curve.groupby("recipe", sort=False):
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
        end = min(largest[str(name)], largest[baseline])
        axes.axvline(end, color=look.colour, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    readable_axis(axes, "y")
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(f"times the compute that {baseline} needs")
    note = f"\ncut off beyond a factor of {_MOST:,.0f}" if cut else ""
    axes.set_title(
        f"{100 * level:.4g}% interval and simultaneous band; dotted: end of the runs{note}", fontsize=8.0
    )
    # Below: inside, it would lie on a band.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)


def _draw_losses(
    axes: Axes, losses: pd.DataFrame, runs: Mapping[str, Runs], looks: Mapping[str, Look]
) -> None:
    for name, rows in losses.groupby("recipe", sort=False):
        look = looks[str(name)]
        of = runs[str(name)]
        axes.plot(
            of.flops,
            of.loss,
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            markersize=2.5,
            alpha=0.4,
        )
        axes.fill_between(
            rows["flops"], rows["low"], rows["high"], color=look.colour, alpha=0.25, linewidth=0
        )
        axes.plot(rows["flops"], rows["loss"], color=look.colour, linestyle=look.dashes, label=str(name))
    axes.set_xscale("log")
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(quantity_label("loss"))
    axes.set_title("compute-optimal loss, and the runs", fontsize=8.0)
    axes.legend(loc="upper right")
