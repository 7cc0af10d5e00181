"""Figure: the cheapest model to train and serve relative to the compute-optimal one, by loss and demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.plots.marks import label_contours
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chinchilla_jax.planning import RatioMap

_TITLES = {
    "cost_ratio": "total cost",
    "params_ratio": "parameters",
    "tokens_ratio": "training tokens",
}


@styled
def ratio_maps(table: RatioMap, *, sizes: dict[str, float] | None = None, ax: AxesLike = None) -> Figure:
    """Draw `planning.ratio_map`: ratios of cheapest to compute-optimal, by demand (x) and loss (y).

    These are the maps of Sardana & Frankle 2023 (arXiv:2401.00448).

    Args:
        table: as above; losses ascending, demands ascending and positive.
        sizes: loss by name of a compute-optimal size, marked at the right.
        ax: three Axes (cost, params, tokens), or None for a new figure.

    Returns:
        The figure.
    """
    from matplotlib.colors import LogNorm

    where = panels(list(_TITLES), ax, columns=3, size=(11.5, 3.9))
    for name, axes in where.axes.items():
        ratio = getattr(table, name).T
        axes.set_xscale("log")
        low, high = float(ratio.min()), float(ratio.max())
        levels = np.geomspace(low, high, 25) if high > low else np.array([low, low + 1e-9])
        axes.contourf(
            table.demand,
            table.loss,
            ratio,
            levels=levels,
            cmap="viridis",
            norm=LogNorm(low, levels[-1]),
            alpha=0.8,
        )
        for label, loss in (sizes or {}).items():
            axes.axhline(loss, color="white", linewidth=0.7, linestyle=":")
            axes.annotate(
                label,
                (1.0, loss),
                xycoords=axes.get_yaxis_transform(),
                xytext=(2, 0),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
            )
        marks = [each for each in _marks(high) if low < each < high]
        lines = axes.contour(table.demand, table.loss, ratio, levels=marks, colors=BLACK, linewidths=0.7)
        label_contours(axes, lines)
        axes.set_title(f"{_TITLES[name]}, cheapest / compute-optimal")
        axes.set_xlabel("inference demand (tokens)")
        axes.grid(False)
        readable_axis(axes, "x", counts=True)
    where.axes["cost_ratio"].set_ylabel("loss to reach (nats per token)")
    return where.figure


def _marks(high: float) -> list[float]:
    """Round ratios to label, for a map that lies on one side of 1."""
    return (
        [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99] if high <= 1.001 else [1.01, 1.1, 1.5, 2, 3, 5, 10, 20, 50, 100]
    )
