"""Readable ticks on linear and logarithmic axes, as many as fit at the size at which the figure is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def readable_axis(axes: Axes, which: str, most: int = 7, *, counts: bool = False) -> None:
    """Set a few round ticks, without offset or shared exponent; call it after drawing.

    Args:
        axes: the Axes.
        which: "x" or "y".
        most: how many labels there are at most; fewer where they would touch.
        counts: whether it counts parameters or tokens, written "73B".
    """
    from matplotlib import ticker

    from chinchilla_jax.plots import tick_locators as own

    log = (axes.get_xscale() if which == "x" else axes.get_yscale()) == "log"
    axis: Any = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    if log:
        axis.set_major_formatter(own.Labels(own.counts_text if counts else own.numbers_text))
        axis.set_major_locator(own.RoomyLocator(axes, which, own.log_sets(most)))
        axis.set_minor_formatter(ticker.NullFormatter())
        wide = math.log10(high / low) > 2
        subs = ticker.LogLocator(subs=range(2, 10), numticks=100)
        axis.set_minor_locator(ticker.NullLocator() if wide else subs)
        return
    formatter = ticker.ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axis.set_major_formatter(own.Labels(own.counts_text) if counts else formatter)
    axis.set_major_locator(own.RoomyLocator(axes, which, own.linear_sets(min(most, 5))))
    if sum(low <= tick <= high for tick in axis.get_majorticklocs()) < 3:
        axis.set_minor_locator(ticker.AutoMinorLocator())
