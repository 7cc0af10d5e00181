"""Figure: tokens per parameter and their slope under two perturbations at once, as heat maps.

| code          | symbol | shape  | unit                                                            |
|---------------|--------|--------|-----------------------------------------------------------------|
| first, second |        | (m,), (k,) | sizes, ascending; the first family along x, the second along y |
| cells         |        | (k, m) | one per pair of sizes; medians over repeats                     |

Cells meet half-way between their sizes (on a logarithmic axis, half-way in the logarithm). A cell is grey
where fewer than half of the resamples could be certified, since its colour would describe only those.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import flops_text, number_text
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT, documented_sizes
from chinchilla_jax.plots.panels import AxesLike, Panels, panels
from chinchilla_jax.plots.styles import BLACK, VERMILLION, styled
from chinchilla_jax.plots.sweeps import SweepAxis, sweep_of
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]
RATIO, SLOPE = "tokens per parameter", "slope"
_FEWEST = 0.5  # share of certified resamples that a cell needs to be coloured
_WIDEST, _STEEPEST = math.log(8.0), 0.5  # ends of the colour scales
_UNKNOWN = "#BFBFBF"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Grid:
    """One map as arrays of shape (k, m), and the edges of its cells in the unit of the axes."""

    x: SweepAxis
    y: SweepAxis
    x_edges: Floats
    y_edges: Floats
    cells: dict[str, Floats]

    def where(self, name: str) -> NDArray[np.bool_]:
        return self.cells[name] > 0.5


@styled
def joint_map(table: pd.DataFrame, *, runs: Runs | None = None, ax: AxesLike = None) -> Figure:
    """Draw the rows of one pair of families of `analysis.joint_maps.joint_map`.

    Tokens per parameter are coloured around 20, or around those of no perturbation where no cell is near 20,
    and slopes around 0. Hatched: the whole interval of tokens per
    parameter lies outside 10 to 40; outlined: all of it lies within; in the map of the slopes, hatched: its
    interval excludes zero. A circle marks the sizes that change nothing, dashed lines the documented miscount
    of 15.2%.

    Args:
        table: rows of one first and one second family.
        runs: the unperturbed runs, for the documented miscount; None leaves it unmarked.
        ax: two Axes, tokens per parameter and slope (colour bars take some of their room); None for a new
            figure.

    Returns:
        The figure.

    Raises:
        UsageError: the table is empty or has several pairs of families, or no size has a place on its axis.
    """
    names = table[["first_family", "second_family"]].drop_duplicates()
    if len(names) != 1:
        raise UsageError(f"joint_map: {len(names)} pairs of families in the table; give the rows of one")
    grid = _grid(table)
    where = panels([RATIO, SLOPE], ax, columns=2, size=(9.0, 4.4))
    _draw_ratio(where.axes[RATIO], grid, float(table["flops"].iloc[0]))
    _draw_slope(where.axes[SLOPE], grid)
    for axes in where.axes.values():
        _marks(axes, grid, runs)
        axes.set_xlabel(f"{grid.x.words}: {grid.x.label}")
        axes.set_ylabel(f"{grid.y.words}: {grid.y.label}")
        axes.grid(visible=False)
    _legend(where, grid, f"{100 * float(table['level'].iloc[0]):.4g}% interval")
    return where.figure


def _grid(table: pd.DataFrame) -> _Grid:
    x, y = (sweep_of(str(table[f"{which}_family"].iloc[0])) for which in ("first", "second"))
    placed = table[np.isfinite(x.coordinate(table["first"])) & np.isfinite(y.coordinate(table["second"]))]
    if placed.empty:
        raise UsageError("joint_map: no size of the table has a place on its axis")
    total = placed["n_converged"] + placed["n_failed"]
    sound = placed["n_converged"] >= _FEWEST * total
    numbers = placed[["first", "second"]].assign(
        median=placed["median"].where(sound),
        slope=placed["slope"].where(sound),
        within=(~placed["leaves_range"] & sound).astype(float),
        outside=(placed["outside_range"] & sound).astype(float),
        sloped=(((placed["slope_low"] > 0) | (placed["slope_high"] < 0)) & sound).astype(float),
        unknown=(~sound).astype(float),
    )
    medians = numbers.groupby(["second", "first"]).median()
    cells = {name: medians[name].unstack("first").to_numpy(dtype=np.float64) for name in medians}
    # A pair that is not in the table is unknown too.
    cells["unknown"] = np.where(np.isnan(cells["unknown"]), 1.0, cells["unknown"])
    first, second = (np.unique(placed[name].to_numpy(dtype=np.float64)) for name in ("first", "second"))
    return _Grid(x=x, y=y, x_edges=_edges(x, first), y_edges=_edges(y, second), cells=cells)


def _edges(sweep: SweepAxis, sizes: Floats) -> Floats:
    """Ends of the cells around ascending sizes, shape (m + 1,), in the unit of the axis."""
    at = sweep.coordinate(sizes)
    steps = np.diff(at) if len(at) > 1 else np.array([max(abs(float(at[0])), 1.0)])
    inner = at[:-1] + steps[: len(at) - 1] / 2
    edges = np.concatenate([[at[0] - steps[0] / 2], inner, [at[-1] + steps[-1] / 2]])
    return edges if sweep.scale == "linear" else np.exp(edges)


def _centre(grid: _Grid) -> float:
    """What the colours are centred on: the rule of thumb, or what no perturbation gives where it is far off.

    Far is when no cell comes within a factor of two of the rule.
    """
    values = grid.cells["median"]
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size or (known.min() <= 2 * RULE_OF_THUMB and known.max() >= RULE_OF_THUMB / 2):
        return RULE_OF_THUMB
    at = [
        int(np.searchsorted(edges, float(sweep.shown(sweep.neutral))) - 1)
        for sweep, edges in ((grid.y, grid.y_edges), (grid.x, grid.x_edges))
    ]
    inside = all(0 <= place < size for place, size in zip(at, values.shape, strict=True))
    neutral = float(values[at[0], at[1]]) if inside else math.nan
    return neutral if 0 < neutral < math.inf else float(np.exp(np.median(np.log(known))))


def _draw_ratio(axes: Axes, grid: _Grid, flops: float) -> None:
    from matplotlib.colors import LogNorm

    values, centre = grid.cells["median"], _centre(grid)
    # Zero and infinity, from laws without an interior optimum, lie beyond the ends of the scale.
    shown = np.clip(values, 1e-300, 1e300)
    finite = np.abs(np.log(shown[np.isfinite(values) & (values > 0)] / centre))
    reach = math.exp(min(max(float(finite.max(initial=0.0)), math.log(2.0)), _WIDEST))
    colours = axes.pcolormesh(
        grid.x_edges,
        grid.y_edges,
        np.ma.masked_invalid(shown),
        norm=LogNorm(centre / reach, centre * reach),
        cmap="PuOr_r",
        rasterized=True,
    )
    bar = axes.figure.colorbar(colours, ax=axes, extend="both", pad=0.02)
    ticks = [centre * factor for factor in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8) if 1 / reach <= factor <= reach]
    bar.set_ticks(ticks, labels=[number_text(tick, 2) for tick in ticks])
    bar.minorticks_off()
    all_outside = bool(grid.where("outside").all())
    note = "\nevery interval lies outside 10 to 40" if all_outside else ""
    axes.set_title(f"tokens per parameter at {flops_text(flops)} FLOP{note}")
    _settle(axes, grid)
    if not all_outside:
        _hatch(axes, grid, grid.where("outside"))
    _outline(axes, grid, grid.where("within"))


def _draw_slope(axes: Axes, grid: _Grid) -> None:
    values = grid.cells["slope"]
    reach = min(max(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)), 0.05), _STEEPEST)
    colours = axes.pcolormesh(
        grid.x_edges,
        grid.y_edges,
        np.ma.masked_invalid(values),
        vmin=-reach,
        vmax=reach,
        cmap="PuOr_r",
        rasterized=True,
    )
    axes.figure.colorbar(colours, ax=axes, extend="both", pad=0.02)
    axes.set_title("slope: decades of it per decade of compute")
    _settle(axes, grid)
    _hatch(axes, grid, grid.where("sloped"))


def _settle(axes: Axes, grid: _Grid) -> None:
    """Set the scales and limits, then the ticks that depend on them."""
    axes.set_facecolor(_UNKNOWN)
    for which, sweep, edges in (("x", grid.x, grid.x_edges), ("y", grid.y, grid.y_edges)):
        getattr(axes, f"set_{which}scale")(sweep.scale)
        getattr(axes, f"set_{which}lim")(float(edges[0]), float(edges[-1]))
        readable_axis(axes, which, most=6)


def _hatch(axes: Axes, grid: _Grid, cells: NDArray[np.bool_]) -> None:
    """Hatch all cells as one path, so that the lines continue across cells and a PDF has one object."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x, y = grid.x_edges, grid.y_edges
    squares = [
        Path(
            [(x[j], y[i]), (x[j + 1], y[i]), (x[j + 1], y[i + 1]), (x[j], y[i + 1]), (x[j], y[i])],
            closed=True,
        )
        for i, j in np.argwhere(cells)
    ]
    if squares:
        path = Path.make_compound_path(*squares)
        axes.add_patch(PathPatch(path, facecolor="none", edgecolor=BLACK, linewidth=0, hatch="////"))


def _outline(axes: Axes, grid: _Grid, cells: NDArray[np.bool_]) -> None:
    """Draw the boundary of a set of cells."""
    from matplotlib.collections import LineCollection

    x, y = grid.x_edges, grid.y_edges
    upright = np.argwhere(cells[:, 1:] != cells[:, :-1])
    level = np.argwhere(cells[1:] != cells[:-1])
    lines = [[(x[j + 1], y[i]), (x[j + 1], y[i + 1])] for i, j in upright]
    lines += [[(x[j], y[i + 1]), (x[j + 1], y[i + 1])] for i, j in level]
    axes.add_collection(LineCollection(lines, colors=BLACK, linewidths=1.6), autolim=False)


def _marks(axes: Axes, grid: _Grid, runs: Runs | None) -> None:
    at = [float(sweep.shown(sweep.neutral)) for sweep in (grid.x, grid.y)]
    if all(
        edges[0] <= place <= edges[-1] for place, edges in zip(at, (grid.x_edges, grid.y_edges), strict=True)
    ):
        axes.plot(
            *at, "o", markersize=7, markerfacecolor="white", markeredgecolor=BLACK, clip_on=False, zorder=4,
            label="no perturbation",
        )  # fmt: skip
    if runs is None:
        return
    label = f"documented miscount, {DOCUMENTED_MISCOUNT:.1%}"
    for sweep, draw, edges in ((grid.x, axes.axvline, grid.x_edges), (grid.y, axes.axhline, grid.y_edges)):
        for size in documented_sizes(runs, sweep.family) or ():
            if size == sweep.neutral:
                continue
            place = float(sweep.shown(size))
            if edges[0] <= place <= edges[-1]:
                draw(place, color=VERMILLION, linestyle=(0, (4, 2)), linewidth=1.1, zorder=3, label=label)
                label = ""


def _legend(where: Panels, grid: _Grid, interval: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if grid.where("within").any():
        handles.append(
            Line2D([], [], color=BLACK, linewidth=1.6, label=f"outlined: {interval} within 10 to 40")
        )
    outside, sloped = grid.where("outside"), grid.where("sloped")
    hatched = [
        *(["outside 10 to 40 (left)"] if outside.any() and not outside.all() else []),
        *(["without zero (right)"] if sloped.any() else []),
    ]
    if hatched:
        text = f"hatched: {interval} {', '.join(hatched)}"
        handles.append(Patch(facecolor="none", hatch="////", label=text))
    handles += where.axes[RATIO].get_legend_handles_labels()[0]
    if grid.where("unknown").any():
        handles.append(Patch(facecolor=_UNKNOWN, label="fewer than half of the fits certified"))
    first = where.axes[RATIO]
    if where.figure.get_layout_engine() is not None:
        where.figure.legend(handles=handles, loc="outside lower center", ncols=2)
    else:
        first.legend(handles=handles)
