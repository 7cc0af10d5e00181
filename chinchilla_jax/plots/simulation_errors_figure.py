"""Figure: error of the estimated optimum after simulated progressive scaling, by scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.text import flops_text
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def simulation_errors(table: pd.DataFrame, *, level: float = 0.8, ax: AxesLike = None) -> Figure:
    """Draw the estimated size over the true one, and the compute wasted by the error.

    The label of each scenario gives the cost of its runs and the number of repetitions that count.

    Args:
        table: of `planning.compare_scenarios`.
        level: mass of its intervals, for the title.
        ax: two Axes (size, overhead), or None for a new figure.

    Returns:
        The figure.
    """
    names = list(dict.fromkeys(table["scenario"]))
    where = panels(["size", "overhead"], ax, columns=2, size=(9.6, 1.1 + 0.27 * len(names)))
    places = np.arange(len(names))[::-1]
    size = table[table["quantity"] == "params_error"].set_index("scenario").loc[names]
    waste = table[table["quantity"] == "overhead"].set_index("scenario").loc[names]
    axes, beside = where.axes["size"], where.axes["overhead"]
    for each, rows, shift, scale, colour in (
        (axes, size, 1.0, 1.0, BLUE),
        (beside, waste, 0.0, 100.0, VERMILLION),
    ):
        low, median, high = (scale * (shift + rows[name].to_numpy()) for name in ("low", "median", "high"))
        each.set_xscale("log")
        each.hlines(places, low, high, color=colour, linewidth=2.0)
        each.plot(median, places, color=colour, linestyle="none", marker="o", markersize=4.5)
        each.grid(False, axis="y")
        readable_axis(each, "x", most=6)
    axes.axvline(1.0, color=BLACK, linewidth=0.8, linestyle=(0, (4, 3)))
    labels = [
        f"{name} ({flops_text(spent, 2)} FLOP, {counted} of {replicas})"
        for name, spent, counted, replicas in zip(
            names, size["spent"], size["n"], size["replicas"], strict=True
        )
    ]
    axes.set_yticks(places, labels)
    beside.set_yticks(places, [""] * len(names))
    axes.set_xlabel("estimated / true optimal size")
    beside.set_xlabel("compute wasted by it (%)")
    axes.set_title(f"median and {level:.0%} interval over the repetitions")
    return where.figure
