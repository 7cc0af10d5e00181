"""Figure: predicted losses with the intervals of the law and of one new run; a run under way beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, SKY, VERMILLION, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def prediction(table: pd.DataFrame, *, level: float = 0.8, ax: AxesLike = None) -> Figure:
    """Draw `Prediction.table` against compute, or `Against.table` against the tokens of the run.

    Args:
        table: of places in any order; with a column observed, of one run.
        level: mass of its intervals, for the legend.
        ax: one Axes; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["loss"], ax, size=(5.6, 3.8))
    axes = where.axes["loss"]
    under_way = "observed" in table
    x = "tokens" if under_way else "flops"
    rows = table.sort_values(x)
    at, loss = (rows[name].to_numpy(np.float64) for name in (x, "loss"))
    bands = {
        f"one new run, {100 * level:.4g}%": ("new_run", SKY, 1.2),
        f"the law, {100 * level:.4g}%": ("mean", BLUE, 3.0),
    }
    for label, (name, colour, width) in bands.items():
        low, high = (rows[f"{name}_{end}"].to_numpy(np.float64) for end in ("low", "high"))
        if under_way:
            axes.fill_between(at, low, high, color=colour, alpha=0.35, linewidth=0.0, label=label)
        else:
            axes.errorbar(
                at, loss, yerr=np.maximum([loss - low, high - loss], 0.0), fmt="none", ecolor=colour,
                elinewidth=width, label=label,
            )  # fmt: skip
    axes.plot(at, loss, "-" if under_way else "o", color=BLACK, label="predicted")
    if under_way:
        axes.plot(at, rows["observed"], color=VERMILLION, marker="o", linestyle="-", label="the run")
    axes.set_xscale("log")
    axes.set_xlabel(quantity_label(x))
    axes.set_ylabel(quantity_label("loss"))
    axes.legend(loc="upper right")
    return where.figure
