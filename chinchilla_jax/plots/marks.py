"""Marks that several figures share: the 20:1 line, Chinchilla's budget, failed fits, contour labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax.laws.compute import GOPHER_FLOPS, RULE_OF_THUMB
from chinchilla_jax.plots.legends import shade_runs
from chinchilla_jax.plots.styles import BLACK, GREY, VERMILLION
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

_LINE_SHARE = 0.05  # of the height of the Axes, for a name
_CROSS: Mapping[str, Any] = MappingProxyType(
    {"color": VERMILLION, "linestyle": "none", "marker": "x", "markersize": 6.0, "markeredgewidth": 1.6}
)


def finish_ratio_axes(axes: Axes, flops: ArrayLike, runs: tuple[float, float] | None = None) -> None:
    """Limits, reference lines, ticks and labels of tokens per parameter against compute (FLOP).

    Args:
        axes: the Axes, after drawing.
        flops: budgets of the curves.
        runs: compute of the smallest and the largest run, whose range is shaded.
    """
    low, high = float(np.min(flops)), float(np.max(flops))
    axes.set_xlim(low, high)
    if runs is not None and runs[0] < high and runs[1] > low:
        shade_runs(axes, max(runs[0], low), min(runs[1], high))
    _mark_rule_of_thumb(axes)
    _mark_budget(axes)
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(quantity_label("optimal_tokens_per_param"))


def _mark_rule_of_thumb(axes: Axes) -> None:
    """The line of 20 tokens per parameter, labelled beside the Axes, where no curve crosses the label."""
    axes.axhline(RULE_OF_THUMB, color=BLACK, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1.5)
    axes.annotate(
        "20:1",
        (1.0, RULE_OF_THUMB),
        xycoords=axes.get_yaxis_transform(),
        xytext=(3, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=7.5,
        annotation_clip=False,
    )


def _mark_budget(axes: Axes) -> None:
    """The budget of Gopher and Chinchilla, labelled above the Axes, if it is within the x limits."""
    low, high = sorted(axes.get_xlim())
    if not low <= GOPHER_FLOPS <= high:
        return
    axes.axvline(GOPHER_FLOPS, color=GREY, linestyle=":", linewidth=1.0, zorder=1.5)
    axes.annotate(
        f"Gopher, Chinchilla: {flops_text(GOPHER_FLOPS)} FLOP",
        (GOPHER_FLOPS, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=GREY,
    )


def missing_entry(names: Sequence[str]) -> list[Any]:
    """The legend entry for curves left out because none of their fits converged; empty for none."""
    from matplotlib.lines import Line2D

    if not names:
        return []
    return [Line2D([], [], **_CROSS, label=f"no converged fit: {list_text(names, 5)}")]


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Turn the y-axis into one row for each name, the first at the top: at 0, 1, and so on."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def mark_missing(axes: Axes, values: ArrayLike, label: str) -> None:
    """A cross on the x-axis at each size without a value, with a legend entry that says why.

    Args:
        axes: the Axes.
        values: places on the x-axis, any length; nothing is drawn for none.
        label: legend entry.
    """
    places = np.asarray(values, dtype=np.float64)
    if places.size:
        axes.plot(
            places,
            np.full(places.shape, 0.03),
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            label=label,
            zorder=4,
            **_CROSS,
        )


def label_contours(axes: Axes, contours: QuadContourSet) -> None:
    """Write the level on each contour, on a white edge that keeps it readable on any colour."""
    from matplotlib.patheffects import withStroke

    for text in axes.clabel(contours, fontsize=7, fmt=lambda level: f"{level:g}", colors=BLACK):
        text.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


def name_points(axes: Axes, names: Sequence[str], x: ArrayLike, y: ArrayLike) -> None:
    """Names beside their points, towards the middle of the Axes, and not on each other."""
    places = np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)], axis=1)
    shares = share_of_axes(axes, places)
    order = np.argsort(shares[:, 1], kind="stable")
    for i, height in zip(order, spread_apart(shares[order, 1], _LINE_SHARE), strict=True):
        right = shares[i, 0] > 0.5
        axes.annotate(
            names[i], places[i], xytext=(shares[i, 0] + (-0.02 if right else 0.02), height),
            textcoords="axes fraction", fontsize=7.0, ha="right" if right else "left", va="center",
        )  # fmt: skip


def share_of_axes(axes: Axes, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (n, 2) of the data as shares of the width and the height of the Axes."""
    axes.autoscale_view()  # or the limits would not yet be those of what was drawn
    if not len(places):
        return places
    return np.asarray((axes.transData + axes.transAxes.inverted()).transform(places))


def spread_apart(places: NDArray[np.float64], apart: float) -> NDArray[np.float64]:
    """Move ascending places at least `apart`, by least squares (pool adjacent violators)."""
    steps = apart * np.arange(len(places))
    blocks: list[list[float]] = []
    for value in places - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            other, more = blocks[-1]
            blocks[-1] = [(mean * count + other * more) / (count + more), count + more]
    return np.concatenate([np.full(int(count), mean) for mean, count in blocks]) + steps
