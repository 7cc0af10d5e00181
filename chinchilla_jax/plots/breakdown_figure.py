"""Figure: the size at which each kind of miscount changes each conclusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.text import exact_flops_text
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT
from chinchilla_jax.plots.legends import legend_below
from chinchilla_jax.plots.marks import name_rows
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Look, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

_WORDS = {
    "slope_excludes_zero": "interval of the slope leaves out zero",
    "ratio_leaves_range": "median leaves 10 to 40 at a budget of 1e20 to 1e26 FLOP",
}
_AT_BUDGET = "median at {} FLOP leaves its own interval"
_LOOKS = {
    "slope_excludes_zero": Look(VERMILLION, "s", "-"), "ratio_leaves_range": Look(GREEN, "^", "-"),
}  # fmt: skip
_BUDGETS = (Look(BLUE, "o", "-"), Look(PURPLE, "D", "-"), Look(SKY, "v", "-"), Look(BLACK, "P", "-"))
_LEAST = 0.03  # of the documented miscount: the left end of the axis, where "already without any" is drawn
_HELD = "#E6EFE6"


def breakdown_table(found: pd.DataFrame) -> pd.DataFrame:
    """Every breakdown size in documented miscounts.

    Args:
        found: of `analysis.breakdown`.

    Returns:
        family, direction, criterion, label (of the criterion, in words), times (how many documented miscounts
        change the conclusion; NaN where no size that was searched does, 0 where it is so without any), low,
        high (its interval; inf beyond the search).
    """
    labels = [
        _WORDS.get(criterion) or _AT_BUDGET.format(exact_flops_text(flops))
        for criterion, flops in zip(found["criterion"], found["flops"], strict=True)
    ]
    names = {"times_documented": "times", "times_low": "low", "times_high": "high"}
    table = found[["family", "direction", "criterion", *names]].rename(columns=names)
    table.insert(3, "label", labels)
    return table.reset_index(drop=True)


@styled
def breakdown(found: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw every breakdown size with its interval, in units of the documented miscount.

    Args:
        found: of `analysis.breakdown`.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes: one row per family and direction, shaded as far as no conclusion changes.
    """
    return draw_breakdown(breakdown_table(found), ax=ax)


@styled
def draw_breakdown(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw `breakdown_table` on an Axes, and return it."""
    from matplotlib.lines import Line2D

    groups = list(table.groupby(["family", "direction"], sort=False))
    labels = list(dict.fromkeys(table["label"]))
    looks = _looks(table)
    size = (6.8, 1.8 + 0.42 * len(groups) + 0.18 * len(labels))
    axes = panels(["breakdown"], ax, size=size, shown=True).axes["breakdown"]
    highest = _limit(table)
    places = np.linspace(-0.26, 0.26, len(labels)) if len(labels) > 1 else [0.0]
    for row, (_, group) in enumerate(groups):
        first = group["times"].min()
        holds = highest if np.isnan(first) else max(first, _LEAST)
        axes.barh(row, holds - _LEAST, left=_LEAST, height=0.8, color=_HELD, zorder=0)
        for entry in group.to_dict("records"):
            offset = float(places[labels.index(entry["label"])])
            _draw_entry(axes, row + offset, entry, looks[str(entry["label"])], highest)
    axes.axvline(1.0, color=ORANGE, linewidth=1.6, zorder=2)
    axes.annotate(
        f"documented miscount, {DOCUMENTED_MISCOUNT:.1%}", (1.0, 1.0), xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8.0, color=BLACK,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(_LEAST, highest)
    name_rows(axes, [f"{family.replace('_', ' ')}, {direction}" for (family, direction), _ in groups])
    axes.set_xlabel("size of the miscount, in documented miscounts (shaded: no conclusion changes)")
    readable_axis(axes, "x")
    entries = [
        Line2D([], [], color=look.colour, marker=look.marker, label=name) for name, look in looks.items()
    ]
    ends = (
        (table["times"] == 0, "", "at the left edge: so without any miscount"),
        (table["times"].isna(), ">", "changed by no size that was searched"),
    )
    entries += [
        Line2D([], [], color=BLACK, marker=marker, fillstyle="none", linestyle="none", label=label)
        for there, marker, label in ends
        if there.any()
    ]
    legend_below(axes, entries)
    return axes


def _looks(table: pd.DataFrame) -> Mapping[str, Look]:
    """A look for each criterion: budgets have their own, one after the other."""
    found: dict[str, Look] = {}
    for criterion, label in zip(table["criterion"], table["label"], strict=True):
        if label not in found:
            budgets = sum(look in _BUDGETS for look in found.values())
            found[str(label)] = _LOOKS.get(str(criterion)) or _BUDGETS[budgets % len(_BUDGETS)]
    return found


def _limit(table: pd.DataFrame) -> float:
    values = table[["times", "high"]].to_numpy(dtype=float).ravel()
    finite = values[np.isfinite(values)]
    return 1.6 * max(float(finite.max(initial=1.0)), 2.0)


def _draw_entry(axes: Axes, y: float, entry: Mapping[str, float], look: Look, highest: float) -> None:
    low, high = max(entry["low"], _LEAST), min(entry["high"], highest)
    axes.plot([min(low, highest), high], [y, y], color=look.colour, linewidth=1.4, alpha=0.7, zorder=3)
    if np.isfinite(entry["times"]):
        axes.plot(
            max(entry["times"], _LEAST), y, marker=look.marker, color=look.colour, zorder=4, clip_on=False
        )
    else:
        axes.plot(highest, y, marker=">", color=look.colour, fillstyle="none", zorder=4, clip_on=False)
