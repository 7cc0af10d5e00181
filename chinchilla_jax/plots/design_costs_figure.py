"""Figure: how narrow an answer each kind of sweep gives, against what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import counting_looks, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chinchilla_jax.planning.design.from_nothing import NewDesign


@styled
def design_costs(found: NewDesign, *, ax: Axes | None = None) -> Axes:
    """Draw the simulated width of the answer against FLOP; designs that determine nothing are left out.

    Args:
        found: of `planning.design.new_design`.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.

    Raises:
        UsageError: no design determines the answer.
    """
    table = found.table
    known = table[np.isfinite(table["simulated"])]
    if known.empty:
        raise UsageError(f"design_costs: {found.sentence}, so there is no width to draw; allow more")
    axes = panels(["designs"], ax, size=(5.8, 4.2), shown=True).axes["designs"]
    looks = counting_looks(list(dict.fromkeys(table["design"])))
    for name, rows in known.groupby("design", sort=False):
        of, look = rows.sort_values("flops"), looks[str(name)]
        axes.errorbar(
            of["flops"], of["simulated"], yerr=of["error"], marker=look.marker, color=look.colour,
            linestyle=look.dashes, label=str(name),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    axes.set_xlabel("training compute of all runs (FLOP)")
    axes.set_ylabel(f"{'log ' if found.target.log else ''}width of {found.target.words}")
    legend_above(axes)
    return axes
