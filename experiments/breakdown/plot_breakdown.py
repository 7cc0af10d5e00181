"""Figure: the size at which each kind of miscount changes each conclusion."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, ORANGE, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

_LOOKS = {
    "ratio_leaves_interval": (BLUE, "o", "median at Chinchilla's budget leaves its own interval"),
    "slope_excludes_zero": (VERMILLION, "s", "interval of the slope excludes zero"),
    "ratio_leaves_range": (GREEN, "^", "median leaves 10 to 40 at some budget of 10²⁰ to 10²⁶ FLOP"),
}
_LEAST = 0.03  # of the documented miscount: the left end of the axis, where "already without any" is drawn


@styled
def plot_breakdown(table: pd.DataFrame) -> Figure:
    """Draw every breakdown size, with its interval, in units of the documented miscount.

    Args:
        table: of `analysis.breakdown`.

    Returns:
        The figure: one row per family and direction, shaded as far as no conclusion changes.
    """
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    ax = figure.subplots()
    groups = list(table.groupby(["family", "direction"], sort=False))
    highest = _limit(table)
    for row, (_, group) in enumerate(groups):
        first = group["times_documented"].min()
        holds = highest if np.isnan(first) else max(first, _LEAST)
        ax.barh(row, holds - _LEAST, left=_LEAST, height=0.8, color="#E6EFE6", zorder=0)
        for offset, entry in zip((-0.22, 0.0, 0.22), group.to_dict("records"), strict=False):
            _entry(ax, row + offset, entry, highest)
    ax.axvline(1.0, color=ORANGE, linewidth=1.6, zorder=2)
    ax.annotate(
        f"documented miscount, {DOCUMENTED_MISCOUNT:.1%}",
        (1.0, 1.0),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=8.0,
        color=BLACK,
    )
    ax.set_xscale("log")
    ax.set_xlim(_LEAST, highest)
    readable_axis(ax, "x")
    names = [f"{family.replace('_', ' ')}, {direction}" for (family, direction), _ in groups]
    ax.set_yticks(range(len(groups)), names)
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.set_xlabel("size of the miscount, in documented miscounts (shaded: no conclusion changes)")
    ax.grid(axis="y", visible=False)
    _legend(ax)
    return figure


def _limit(table: pd.DataFrame) -> float:
    values = table[["times_documented", "times_high"]].to_numpy(dtype=float).ravel()
    finite = values[np.isfinite(values)]
    return 1.6 * max(float(finite.max(initial=1.0)), 2.0)


def _entry(ax: Axes, y: float, entry: dict[str, float], highest: float) -> None:
    colour, marker, _ = _LOOKS[str(entry["criterion"])]
    low, high = max(entry["times_low"], _LEAST), min(entry["times_high"], highest)
    ax.plot([min(low, highest), high], [y, y], color=colour, linewidth=1.4, alpha=0.7, zorder=3)
    if np.isfinite(entry["times_documented"]):
        ax.plot(
            max(entry["times_documented"], _LEAST), y, marker=marker, color=colour, zorder=4, clip_on=False
        )
    else:
        ax.plot(highest, y, marker=">", color=colour, fillstyle="none", zorder=4, clip_on=False)


def _legend(ax: Axes) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, label=label) for colour, marker, label in _LOOKS.values()
    ]
    handles.append(
        Line2D(
            [], [], color=BLACK, marker=">", fillstyle="none", linestyle="none", label="not within the search"
        )
    )
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=2)
