"""Figure: how narrow an answer each kind of sweep gives, against what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, SKY, VERMILLION, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLOURS = (BLUE, SKY, BLACK, VERMILLION)


@styled
def plot_design_costs(table: pd.DataFrame, *, target: str = "the target", ax: AxesLike = None) -> Figure:
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
    for i, (name, rows) in enumerate(known.groupby("design", sort=False)):
        of = rows.sort_values("flops")
        axes.errorbar(
            of["flops"], of["simulated"], yerr=of["error"], marker="o", color=_COLOURS[i % len(_COLOURS)],
            label=str(name),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(f"width of {target}")
    axes.legend(loc="best")
    return where.figure
