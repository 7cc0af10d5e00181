"""Figures of an atlas: tables side by side on one axis, the claims, and one figure per table on equal axes.

Each draws columns of a table of `Atlas` (study/atlas/tables.py); nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.analysis.claim_rules import (
    FAILS,
    HOLDS,
    NOT_ASKED,
    SLOPE_MARGIN,
    UNDETERMINED,
)
from chinchilla_jax.analysis.claims import CLAIMS
from chinchilla_jax.laws.compute import NEAR_RULE_OF_THUMB, RULE_OF_THUMB
from chinchilla_jax.perturbations import PARAMS_FAMILIES
from chinchilla_jax.plots.legends import legend_above, legend_below, shade_runs
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RUNS_SHADE,
    SKY,
    VERMILLION,
    styled,
)
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_ROW = 0.42  # inches
_COUNT_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE)
_MARKERS = ("o", "s", "^", "D")
_CELLS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        HOLDS: (BLUE, "white", "holds"),
        FAILS: (VERMILLION, "white", "fails"),
        UNDETERMINED: ("#DDDDDD", BLACK, "?"),
        NOT_ASKED: ("white", GREY, "-"),
    }
)
_FAMILY_TITLES = MappingProxyType(
    {
        "multiplicative": "factor",
        "additive": "amount added",
        "systematic_bias": "systematic bias",
        "log_normal_noise": "noise",
    }
)
_RELATIVE = MappingProxyType(
    {
        "multiplicative": "factor c",
        "additive": "c / smallest model",
        "systematic_bias": "exponent s",
        "log_normal_noise": "sigma / spread of ln N",
    }
)
_DIRECTIONS = MappingProxyType({"up": (BLUE, "^", -0.16), "down": (VERMILLION, "v", 0.16)})
_LIMITS = MappingProxyType(
    {
        "multiplicative": (1e-3, 1e3),
        "additive": (-0.8, 0.8),
        "systematic_bias": (0.3, 3.3),
        "log_normal_noise": (0.0, 2.8),
    }
)
_LEAST_TIMES, _MOST_TIMES = 0.1, 300.0  # of the documented miscount, that the axis shows


@styled
def atlas_slopes(slopes: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the slope of optimal tokens per parameter of every table and count, with its interval.

    Args:
        slopes: of an `Atlas`.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.
    """
    axes = _forest(slopes, "slopes", ax)
    shade_runs(axes, -SLOPE_MARGIN, SLOPE_MARGIN, "flat: within 0.1")
    axes.axvline(0.0, color=GREY, linewidth=0.7)
    axes.set_xlim(-1.0, 1.0)
    axes.set_xlabel("decades of optimal tokens per parameter per decade of compute")
    _by_table(axes, slopes)
    return axes


@styled
def atlas_ratios(ratios: pd.DataFrame, *, budget: str = "largest run", ax: Axes | None = None) -> Axes:
    """Draw the optimal tokens per parameter of every table and count at one budget, with their intervals.

    Args:
        ratios: of an `Atlas`.
        budget: "largest run" or "ten times that".
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.
    """
    rows = ratios[ratios["budget"] == budget]
    axes = _forest(rows, "ratios", ax)
    axes.set_xscale("log")
    shade_runs(axes, *NEAR_RULE_OF_THUMB, "within a factor of 2 of 20")
    axes.axvline(RULE_OF_THUMB, color=GREY, linewidth=0.7)
    axes.set_xlim(0.03, 1e4)
    where = "of the table's largest run" if budget == "largest run" else "ten times beyond the largest run"
    axes.set_xlabel(f"optimal tokens per parameter at the compute {where}")
    readable_axis(axes, "x")
    _by_table(axes, rows)
    return axes


def _forest(rows: pd.DataFrame, name: str, ax: Axes | None) -> Axes:
    tables = list(dict.fromkeys(rows["table"]))
    axes = panels([name], ax, size=(6.4, 1.2 + _ROW * len(tables)), shown=True).axes[name]
    axes.set_yticks(range(len(tables)), tables)
    axes.set_ylim(len(tables) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return axes


def _by_table(axes: Axes, rows: pd.DataFrame) -> None:
    """One row per table, its counts below each other; a count is known by its number in its table."""
    places = {table: place for place, table in enumerate(dict.fromkeys(rows["table"]))}
    counts = rows.groupby("table", sort=False)["params"]
    number = counts.cumcount()
    at = rows["table"].map(places) + 0.2 * (number - (counts.transform("size") - 1) / 2)
    for each in range(number.max() + 1):
        own, y = rows[number == each], at[number == each]
        colour, marker = _COUNT_COLOURS[each % len(_COUNT_COLOURS)], _MARKERS[each % len(_MARKERS)]
        axes.plot([own["low"], own["high"]], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        label = ", ".join(dict.fromkeys(own["params"]))
        axes.plot(own["median"], y, color=colour, marker=marker, linestyle="none", label=label)
    legend_above(axes)


@styled
def atlas_breakdown(breakdown: pd.DataFrame, criterion: str, *, ax: Any = None) -> tuple[Axes, ...]:
    """Draw the smallest errors that change a conclusion, by family and table, in documented miscounts.

    Args:
        breakdown: of an `Atlas`.
        criterion: "ratio_leaves_interval" or "slope_excludes_zero".
        ax: an Axes for each of the four families; None for a new figure.

    Returns:
        The Axes.
    """
    rows = breakdown[breakdown["criterion"] == criterion]
    tables = list(dict.fromkeys(breakdown["table"]))
    families = [family for family in PARAMS_FAMILIES if family in set(rows["family"])]
    size = (7.2, 0.8 + 2 * (1.1 + 0.3 * len(tables)))  # the legend first
    where = panels(families, ax, columns=2, size=size, shown=True)
    for family, axes in where.axes.items():
        axes.set_xscale("log")
        axes.set_title(_FAMILY_TITLES[family])
        shade_runs(axes, _LEAST_TIMES, 1.0, "up to the documented miscount")
        for _, row in rows[rows["family"] == family].iterrows():
            _threshold(axes, tables.index(row["table"]), row)
        axes.set_xlim(_LEAST_TIMES, _MOST_TIMES)
        axes.set_yticks(range(len(tables)), tables)
        axes.set_ylim(len(tables) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.set_xlabel("in documented miscounts")
        readable_axis(axes, "x")
    drawn = tuple(where.axes.values())
    below = drawn[(len(drawn) - 1) // 2 * 2]  # the first of the last row
    legend_below(below, [*_direction_marks(set(rows["direction"])), *below.get_legend_handles_labels()[0]])
    return drawn


def _direction_marks(directions: set[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    words = {"up": "upward, and noise", "down": "downward"}
    return [
        Line2D([], [], color=colour, marker=marker, linewidth=1.4, label=words[direction])
        for direction, (colour, marker, _) in _DIRECTIONS.items()
        if direction in directions
    ]


def _threshold(axes: Axes, place: int, row: pd.Series) -> None:
    """One threshold with its interval; a word where there is none to draw."""
    colour, marker, offset = _DIRECTIONS[row["direction"]]
    at = place + (0.0 if row["family"] == "log_normal_noise" else offset)
    ends = [float(np.clip(row[f"times_{end}"], _LEAST_TIMES, _MOST_TIMES)) for end in ("low", "high")]
    axes.plot(ends, [at, at], color=colour, linewidth=1.4, solid_capstyle="butt", alpha=0.8)
    times = float(row["times_documented"])
    if np.isfinite(times) and times > 0:
        axes.plot([np.clip(times, _LEAST_TIMES, _MOST_TIMES)], [at], color=colour, marker=marker)
        return
    text, x, side = ("already", _LEAST_TIMES, "left") if times == 0 else ("never", _MOST_TIMES, "right")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
    axes.text(x, at, text, fontsize=6.5, color=colour, ha=side, va="center", bbox=box)


@styled
def atlas_claims(claims: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what every table says about every claim.

    Args:
        claims: of an `Atlas`.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.
    """
    from matplotlib.patches import Rectangle

    tables = list(dict.fromkeys(claims["table"]))
    sentences = {claim.name: claim.sentence for claim in CLAIMS}
    names = [name for name in sentences if name in set(claims["claim"])]
    # The sentences take 4 inches, on a page of a smaller figure too.
    size = (max(4.2 + 0.62 * len(tables), 5.4), 1.2 + 0.34 * len(names))
    axes = panels(["claims"], ax, size=size, shown=True).axes["claims"]
    for _, row in claims.iterrows():
        x, y = tables.index(row["table"]), names.index(row["claim"])
        face, ink, text = _CELLS[row["verdict"]]
        axes.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=face, edgecolor="none"))
        weight = "bold" if bool(row["survives"]) else "normal"
        axes.text(x, y, text, ha="center", va="center", fontsize=7.0, color=ink, fontweight=weight)
    axes.set_xlim(-0.5, len(tables) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [sentences[name] for name in names])
    axes.set_xticks(range(len(tables)), tables, rotation=90)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


@styled
def atlas_table(sensitivity: pd.DataFrame, table: str, *, ax: Any = None) -> tuple[Axes, ...]:
    """Draw how the slope of one table changes with the size of each error; the axes are those of all tables.

    Args:
        sensitivity: of an `Atlas`.
        table: whose.
        ax: an Axes for each of the four families; None for a new figure.

    Returns:
        The Axes.
    """
    rows = sensitivity[sensitivity["table"] == table]
    where = panels(list(PARAMS_FAMILIES), ax, columns=4, size=(9.4, 2.6), shown=True)
    for family, axes in where.axes.items():
        own = rows[rows["family"] == family].sort_values("relative")
        if family in ("multiplicative", "systematic_bias"):
            axes.set_xscale("log")
        axes.axhspan(-SLOPE_MARGIN, SLOPE_MARGIN, color=RUNS_SHADE, linewidth=0, zorder=0)
        axes.axhline(0.0, color=GREY, linewidth=0.7)
        axes.fill_between(
            own["relative"], own["slope_low"], own["slope_high"], color=SKY, alpha=0.4, linewidth=0
        )
        axes.plot(own["relative"], own["slope_median"], color=BLUE, marker="o", markersize=2.5)
        near = own[own["documented"]]
        axes.plot(near["relative"], near["slope_median"], color=ORANGE, marker="D", linestyle="none")
        axes.set_xlim(*_LIMITS[family])
        axes.set_ylim(-1.0, 1.0)
        axes.set_xlabel(_RELATIVE[family])
        axes.set_title(_FAMILY_TITLES[family])
        readable_axis(axes, "x", most=4)
        if family != PARAMS_FAMILIES[0]:
            axes.set_yticklabels([])
    next(iter(where.axes.values())).set_ylabel(f"{table}\nslope of tokens/param")
    return tuple(where.axes.values())
