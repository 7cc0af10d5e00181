"""Where to draw: the caller's Axes, or the panels of a new figure, and where the legend goes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from chinchilla_jax._util.errors import UsageError, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AxesLike: TypeAlias = "Axes | Sequence[Axes] | Mapping[str, Axes] | None"
_shown: ContextVar[bool] = ContextVar("shown", default=True)


@contextmanager
def unshown() -> Iterator[None]:
    """Within it no figure is given to pyplot: for files and pages."""
    token = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(token)


class Grid(NamedTuple):
    """Cells of unequal size for the panels of a new figure.

    Attributes:
        heights: of the rows, relative to each other.
        widths: of the columns.
        places: row and column of each panel, by name; the legend has the place "legend".
    """

    heights: Sequence[float]
    widths: Sequence[float]
    places: Mapping[str, tuple[int, int]]


class Panels(NamedTuple):
    """Where to draw: the figure, one Axes per name, and an empty Axes for the legend if there is one."""

    figure: Figure
    axes: dict[str, Axes]
    legend: Axes | None


def panels(
    names: Sequence[str],
    ax: AxesLike,
    *,
    columns: int = 1,
    size: tuple[float, float],
    legend: bool = False,
    shown: bool = False,
    grid: Grid | None = None,
) -> Panels:
    """The caller's Axes, one per name, or those of a new figure.

    Args:
        names: what each panel shows.
        ax: None for a new figure; one Axes when there is one name; otherwise a sequence in the order of
            `names`, or a mapping from name to Axes.
        columns: panels side by side in a new figure.
        size: width and height (inches) of a new figure.
        legend: whether a new figure of several panels keeps one more cell for the legend.
        shown: whether a new figure is shown to a user of pyplot or of a notebook, as pyplot's own are.
        grid: the cells of a new figure, where they are not all alike; `columns` then means nothing.

    Raises:
        UsageError: `ax` is not one Axes per name.
    """
    from matplotlib.axes import Axes

    if ax is None:
        return _new_panels(
            names,
            grid or _alike(names, columns, legend and len(names) > 1),
            size=size,
            shown=shown and _shown.get(),
        )
    if isinstance(ax, Axes):
        found: dict[str, Any] = {names[0]: ax} if len(names) == 1 else {}
    elif isinstance(ax, Mapping):
        found = {name: ax[name] for name in names if name in ax}
    else:
        flat = list(np.ravel(np.asarray(ax, dtype=object)))
        found = dict(zip(names, flat, strict=True)) if len(flat) == len(names) else {}
    if len(found) < len(names) or not all(isinstance(each, Axes) for each in found.values()):
        raise UsageError(
            f"ax={short(ax)}: this figure has {len(names)} panel(s) ({', '.join(names)}); "
            "give one Axes for each, in this order or by name, or leave ax out"
        )
    figure = found[names[0]].get_figure(root=True)
    return Panels(figure, found, None)


def _uses_pyplot() -> bool:
    """Whether the user has loaded pyplot, or works in IPython, which shows what pyplot knows."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "matplotlib.pyplot" in sys.modules or shell is not None


def _alike(names: Sequence[str], columns: int, legend: bool) -> Grid:
    """Cells of one size, row by row, the last one for the legend."""
    every = [*names, "legend"] if legend else list(names)
    columns = min(columns, len(every))
    rows = math.ceil(len(every) / columns)
    return Grid([1.0] * rows, [1.0] * columns, {name: divmod(i, columns) for i, name in enumerate(every)})


def _new_panels(names: Sequence[str], grid: Grid, *, size: tuple[float, float], shown: bool) -> Panels:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # More space between rows than the default, for labels above their panel.
    layout = ConstrainedLayoutEngine(h_pad=0.07)
    if shown and _uses_pyplot():
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=size, layout=layout)
    else:
        figure = Figure(figsize=size, layout=layout)
    cells = figure.add_gridspec(
        len(grid.heights), len(grid.widths), height_ratios=grid.heights, width_ratios=grid.widths
    )
    axes = {name: figure.add_subplot(cells[grid.places[name]]) for name in names}
    last = figure.add_subplot(cells[grid.places["legend"]]) if "legend" in grid.places else None
    if last is not None:
        last.set_axis_off()
    return Panels(figure, axes, last)


def finish_legend(where: Panels, handles: Sequence[Any] | None = None, **options: Any) -> None:
    """Put the legend of the first panel into the cell reserved for it, or into that panel.

    Args:
        where: the panels.
        handles: artists to list; None for all labelled ones of the first panel.
        **options: of `Axes.legend`, used where it goes into the panel.
    """
    first = next(iter(where.axes.values()))
    listed = list(handles) if handles is not None else first.get_legend_handles_labels()[0]
    if not listed:
        return
    if where.legend is None:
        first.legend(handles=listed, **options)
    else:
        where.legend.legend(handles=listed, loc="center left", borderaxespad=0.0, labelspacing=0.9)


def label_above(axes: Axes, text: str) -> None:
    """Put the y label above the axis, horizontally, where it takes no width."""
    axes.set_ylabel(text, rotation=0, ha="left", va="bottom")
    axes.yaxis.set_label_coords(0.0, 1.02)
