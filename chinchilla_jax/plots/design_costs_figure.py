"""Figure: how narrow an answer each kind of sweep gives, against what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import counting_looks, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def design_costs(table: pd.DataFrame, *, target: str = "the target", ax: AxesLike = None) -> Figure:
    """Draw `NewDesign.table`: simulated widths against FLOP; designs that determine nothing are left out.

    Args:
        table: design, flops, simulated, error.
        target: what the width is of, for the label.
        ax: one Axes; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["designs"], ax, size=(5.6, 3.8))
    axes = where.axes["designs"]
    known = table[np.isfinite(table["simulated"])]
    looks = counting_looks(list(dict.fromkeys(table["design"])))
    for name, rows in known.groupby("design", sort=False):
        of, look = rows.sort_values("flops"), looks[str(name)]
        axes.errorbar(
            of["flops"], of["simulated"], yerr=of["error"], marker=look.marker, color=look.colour,
            linestyle=look.dashes, label=str(name),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    readable_axis(axes, "y")
    axes.set_xlabel("training compute of all runs (FLOP)")
    axes.set_ylabel(f"width of {target}")
    axes.legend(loc="best")
    return where.figure
