"""Figure: the sorted answers of a multiverse, the options below them, and which choice moves the answer."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import percent_text
from chinchilla_jax._util.text import TIMES, count_text, number_text, scaled_number
from chinchilla_jax.plots.panels import AxesLike, Grid, finish_legend, panels
from chinchilla_jax.plots.specification_curve_tables import (
    MOST_MARKS,
    SpecificationCurve,
    curve_of_answer,
)
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.analysis import MultiverseAnswer

_PANELS = ("curve", "choices", "effects")
_ROW = 0.165  # inches, of an option
_SIDE_COLOURS = {"within": GREY, "": GREY, "below": ORANGE, "above": BLUE}
_DENSEST = 3.0  # times as often as overall, from which the colour stays
_DEFAULT: dict[str, Any] = {"color": VERMILLION, "marker": "D", "linestyle": "none"}


@styled
def specification_curve(
    found: MultiverseAnswer | SpecificationCurve, *, axes: AxesLike = None
) -> tuple[Axes, Axes, Axes]:
    """Draw the answers in order with their intervals, the options below, and the effect of each choice.

    Of more than 500 analyses the intervals are drawn faintly, with the running medians of their limits, and
    the options as a density: how often the analyses at a rank took one, over how often they do overall.

    Args:
        found: an answer of a multiverse, or what `specification_curve_table` made of arrays.
        axes: where to draw (curve, choices, effects); None for a new figure.

    Returns:
        The three Axes.
    """
    curve = found if isinstance(found, SpecificationCurve) else curve_of_answer(found)
    rows = len(curve.options) + 1.2 * curve.options["choice"].nunique()
    below = max(_ROW * rows, 0.8)
    grid = Grid(
        heights=[2.9, below],
        widths=[3.4, 1.0],
        places={"curve": (0, 0), "choices": (1, 0), "effects": (1, 1), "legend": (0, 1)},
    )
    where = panels(_PANELS, axes, size=(9.6, 4.0 + below), shown=True, grid=grid)
    top, bottom, beside = where.axes.values()
    handles = _draw_curve(top, curve)
    places = _draw_choices(bottom, curve)
    if len(curve.curve) > MOST_MARKS:
        handles += _density_key()
    # In a new figure the bars lie beside the rows of their choice, which name them.
    handles += _draw_effects(beside, curve, places, named=where.legend is None)
    top.set_title(_title(curve), fontsize=8.5)
    if where.legend is None:
        top.legend(handles=handles, fontsize=7.0)
    else:
        finish_legend(where, handles)
    return top, bottom, beside


def _number(curve: SpecificationCurve, value: float) -> str:
    return scaled_number(value, 3) if curve.is_count else number_text(value, 3)


def _title(curve: SpecificationCurve) -> str:
    facts = curve.facts
    text = count_text(facts.n, "analysis", "analyses")
    if facts.n_failed:
        text += f", {facts.n_failed:,} without an answer"
    if facts.n > 1:
        text += (
            f"; median {_number(curve, facts.median)}, {percent_text(facts.level)} of them "
            f"{_number(curve, facts.low)} to {_number(curve, facts.high)}"
        )
    return text


def _draw_curve(axes: Axes, curve: SpecificationCurve) -> list[Any]:
    """Answers and intervals by rank; returns the entries of the legend."""
    table, facts = curve.curve, curve.facts
    if curve.effects.attrs["scale"] == "log":
        axes.set_yscale("log")
    few = len(table) <= MOST_MARKS
    handles = _draw_intervals(axes, curve, few)
    look: dict[str, Any] = {"linewidth": 1.6}
    if few:
        size = float(np.clip(150 / len(table), 1.2, 4.5))
        look = {"marker": "o", "markersize": size, "linestyle": "none"}
    (line,) = axes.plot(table["rank"], table["estimate"], **look, color=BLACK, zorder=3, label="answer")
    handles.insert(0, line)
    if curve.pooled is not None:
        handles.append(_draw_pooled(axes, curve.pooled))
    own = table[table["default"]]
    if len(own):
        axes.axvline(float(own["rank"].iloc[0]), color=VERMILLION, linewidth=0.9, zorder=1.5)
        label = f"default analysis: {_number(curve, float(own['estimate'].iloc[0]))}"
        handles += axes.plot(own["rank"], own["estimate"], **_DEFAULT, markersize=6.0, zorder=5, label=label)
    if math.isfinite(facts.reference) and facts.reference != facts.default:
        label = f"reference: {_number(curve, facts.reference)}"
        handles.append(
            axes.axhline(
                facts.reference, color=BLACK, linestyle=(0, (4, 3)), linewidth=0.9, zorder=2, label=label
            )
        )
    _finish_curve(axes, curve)
    return handles


def _draw_intervals(axes: Axes, curve: SpecificationCurve, few: bool) -> list[Any]:
    """One line per analysis, in the colour of the side of the reference; of many, faint and with medians."""
    from matplotlib.lines import Line2D

    table, handles = curve.curve, []
    level = percent_text(curve.level)
    width = float(np.clip(220 / len(table), 0.5, 3.0))
    bottom, top = _limits(table)
    # Infinite limits end beyond the edge.
    seen = (bottom / 9, 9 * top) if bottom > 0 else (2 * bottom - top - 1, 2 * top - bottom + 1)
    ends = table[["low", "high"]].clip(*seen)
    alpha = 0.75 if few else float(np.clip(250 / len(table), 0.03, 0.6))
    for side, colour in _SIDE_COLOURS.items():
        rows = table[(table["side"] == side) & table["low"].notna() & table["high"].notna()]
        if rows.empty:
            continue
        low, high = (ends.loc[rows.index, name] for name in ("low", "high"))
        axes.vlines(
            rows["rank"], low, high, color=colour, linewidth=width, alpha=alpha, zorder=2, rasterized=not few
        )
        what = {"below": " below", "above": " above", "within": " that includes"}.get(side, "")
        what += f" {_number(curve, curve.facts.reference)}" if side else ""
        handles.append(
            Line2D([], [], color=colour, linewidth=3.0, alpha=0.75, label=f"{level} interval{what}")
        )
    if not few and handles:
        bins = curve.bins.dropna()
        middle = (bins["low"] + bins["high"]) / 2
        for end in ("median_low", "median_high"):
            (line,) = axes.plot(
                middle, bins[end], color=BLACK, linewidth=0.8, linestyle=(0, (1.5, 1.2)), zorder=3
            )
        line.set_label("running median of the limits")
        handles.append(line)
    return handles


def _draw_pooled(axes: Axes, pooled: Any) -> Any:
    """The interval over choices and resampling, as a band behind all."""
    label = f"choices and resampling: {percent_text(pooled.level)}"
    return axes.axhspan(pooled.low, pooled.high, color=SKY, alpha=0.25, linewidth=0, zorder=0, label=label)


def _finish_curve(axes: Axes, curve: SpecificationCurve) -> None:
    table = curve.curve
    axes.set_xlim(0.5, len(table) + 0.5)
    low, high = _limits(table)
    if axes.get_yscale() == "log":
        pad = (high / low) ** 0.04 if high > low else 1.1
        axes.set_ylim(low / pad, high * pad)
    else:
        pad = 0.04 * (high - low) or 1.0
        axes.set_ylim(low - pad, high + pad)
    axes.set_ylabel("\n".join(textwrap.wrap(curve.label, 38)))
    axes.tick_params(axis="x", labelbottom=False)
    axes.grid(False, axis="x")
    readable_axis(axes, "y", counts=curve.is_count)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """All answers, and all intervals but the farthest hundredth at each end."""
    bottom, top = float(table["estimate"].min()), float(table["estimate"].max())
    low, high = (table[name][np.isfinite(table[name])] for name in ("low", "high"))
    low = low[low > 0] if bottom > 0 else low  # zero has no place on a logarithmic axis
    if len(low) and len(high):
        bottom, top = min(bottom, float(low.quantile(0.01))), max(top, float(high.quantile(0.99)))
    return bottom, top


def _draw_choices(axes: Axes, curve: SpecificationCurve) -> dict[str, tuple[float, float]]:
    """One row per option; returns the height of the top and the bottom of each choice."""
    options, n = curve.options, len(curve.curve)
    heights, headers, places, y = [], {}, {}, 0.0
    for choice, rows in options.groupby("choice", sort=False):
        headers[choice] = y + 0.1
        heights += [y + 1.0 + i for i in range(len(rows))]
        places[str(choice)] = (y - 0.4, y + len(rows) + 0.5)
        y += len(rows) + 1.2
    if n <= MOST_MARKS:
        _draw_marks(axes, curve, heights)
    else:
        _draw_density(axes, curve, heights)
    own = curve.curve["rank"][curve.curve["default"]]
    if len(own):
        rank = float(own.iloc[0])
        axes.axvline(rank, color=VERMILLION, linewidth=0.9, zorder=4)
        taken = [height for height, used in zip(heights, options["default"], strict=True) if used]
        axes.plot([rank] * len(taken), taken, **_DEFAULT, markersize=4.0, zorder=5)
    within = dict(zip(curve.effects["choice"], curve.effects["within"], strict=True))
    for choice, height in headers.items():
        outer = f" (within {within[choice]})" if within[choice] else ""
        axes.annotate(
            f"{choice}{outer}", (0.0, height), xycoords=axes.get_yaxis_transform(), xytext=(4, 0),
            textcoords="offset points", fontsize=7.5, fontweight="bold", va="center",
        )  # fmt: skip
    for height, median in zip(heights, options["median"], strict=True):
        axes.annotate(
            _number(curve, median), (1.0, height), xycoords=axes.get_yaxis_transform(), xytext=(4, 0),
            textcoords="offset points", fontsize=7.0, va="center", annotation_clip=False,
        )  # fmt: skip
    axes.annotate(
        "median", (1.0, headers[options["choice"].iloc[0]] if headers else 0.0),
        xycoords=axes.get_yaxis_transform(), xytext=(4, 0), textcoords="offset points", fontsize=7.0,
        va="center", style="italic", annotation_clip=False,
    )  # fmt: skip
    axes.set_yticks(heights, options["option"].tolist(), fontsize=7.0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0.5, n + 0.5)
    axes.set_ylim(max([bottom for _, bottom in places.values()], default=1.0), -0.6)
    axes.grid(False)
    fixed = ", ".join(f"{name} {option}" for name, option in curve.fixed.items())
    axes.set_xlabel("analyses, in the order of their answers" + (f"  (in all: {fixed})" if fixed else ""))
    return places


def _draw_marks(axes: Axes, curve: SpecificationCurve, heights: list[float]) -> None:
    """A mark at the rank of each analysis that took the option; the colour changes with the choice."""
    width = float(np.clip(250 / len(curve.curve), 0.6, 5.0))
    order = {choice: i for i, choice in enumerate(curve.options["choice"].unique())}
    for height, used, choice in zip(heights, curve.used, curve.options["choice"], strict=True):
        ranks, colour = np.flatnonzero(used) + 1, BLACK if order[choice] % 2 else BLUE
        axes.vlines(ranks, height - 0.36, height + 0.36, color=colour, linewidth=width, zorder=2)


def _draw_density(axes: Axes, curve: SpecificationCurve, heights: list[float]) -> None:
    edges = [*curve.bins["low"], curve.bins["high"].iloc[-1]]
    for height, density in zip(heights, curve.density, strict=True):
        axes.pcolormesh(
            edges, [height - 0.4, height + 0.4], density[None], cmap="Blues", vmin=0.0, vmax=_DENSEST,
            rasterized=True, zorder=2,
        )  # fmt: skip


def _density_key() -> list[Any]:
    """Entries of the legend for the colours of the density."""
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    words = {
        0.0: "option never taken",
        1.0: "as often as overall",
        _DENSEST: f"{_DENSEST:g} times as often, or more",
    }
    colours = {times: colormaps["Blues"](times / _DENSEST) for times in words}
    return [
        Patch(facecolor=colours[times], edgecolor=GREY, linewidth=0.4, label=words[times]) for times in words
    ]


def _draw_effects(
    axes: Axes, curve: SpecificationCurve, places: dict[str, tuple[float, float]], *, named: bool
) -> list[Any]:
    """A bar for the share of each choice, with what it explains alone and with all its interactions."""
    effects = curve.effects
    if effects.empty:
        axes.set_axis_off()
        return []
    columns = ["share", "alone", "total"]
    middles = np.array([sum(places[choice]) / 2 for choice in effects["choice"]])
    share, alone, total = (100 * effects[name].to_numpy() for name in columns)
    bars = axes.barh(
        middles, share, height=0.9, color=GREEN, alpha=0.6, zorder=2, label="share of the variance"
    )
    (line,) = axes.plot(
        alone, middles, "|", color=BLACK, markersize=9, markeredgewidth=1.4, zorder=3, label="explained alone"
    )
    (rings,) = axes.plot(
        total, middles, "o", color=BLACK, markerfacecolor="white", markersize=4, zorder=3,
        label="with its interactions",
    )  # fmt: skip
    most = max(float(np.max([share, alone, total])), 1.0)
    for row, middle in zip(effects.itertuples(), middles, strict=True):
        end = 100 * max(row.share, row.alone, row.total) + 0.08 * most
        axes.text(end, middle, _effect_text(row, curve), fontsize=7.0, va="center")
    axes.set_xlim(0, 1.75 * most)
    bottoms = [bottom for _, bottom in places.values()]
    axes.set_ylim(max(bottoms), -0.6)
    axes.set_yticks(middles, effects["choice"].tolist() if named else [""] * len(middles))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlabel("share of the variance (%),\nand largest move of the answer")
    step = 50 if most > 50 else 25 if most > 25 else 10 if most > 10 else 5
    axes.set_xticks(np.arange(0, most + step / 2, step))  # none above the largest, beside which its text is
    return [bars, line, rings]


def _effect_text(row: Any, curve: SpecificationCurve) -> str:
    """The share, and the largest move between two options."""
    if not np.isfinite(row.move):
        return f"{row.share:.0%}"
    sign = TIMES if curve.effects.attrs["scale"] == "log" else "+"
    return f"{row.share:.0%}, {sign}{number_text(row.move, 3)}"
