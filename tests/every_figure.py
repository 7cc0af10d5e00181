"""Every figure, drawn small, and what must hold for each of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from chinchilla_jax.plots.save import figure_of


def texts_that_touch(figure):
    """Pairs of tick labels of one axis that overlap as drawn."""
    found = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ends = sorted(axis.get_view_interval())
            boxes = [
                (tick.label1.get_text(), tick.label1.get_window_extent())
                for tick in axis.get_major_ticks()
                if tick.label1.get_visible() and tick.label1.get_text()
                and ends[0] - 1e-9 * abs(ends[0]) <= tick.get_loc() <= ends[1] * (1 + 1e-9)
            ]  # fmt: skip
            for i, (text, box) in enumerate(boxes):
                found += [(text, other) for other, beside in boxes[i + 1 :] if box.overlaps(beside)]
    return found


def entries_without_data(figure):
    """Texts of legends whose colour or hatch no artist with data inside its Axes has."""
    drawn = set()
    for axes in figure.axes:
        drawn |= _looks(axes)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [
        text.get_text()
        for legend in legends
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)
        if _is_shown(handle) and not _of(handle) & drawn
    ]


def _is_shown(handle):
    """Whether the entry has a mark: some are a text alone."""
    line = getattr(handle, "get_linestyle", lambda: "-")()
    return line != "None" or getattr(handle, "get_marker", lambda: "o")() not in ("", "None")


def _looks(axes):
    """Colours and hatches of the artists that have a place inside the Axes."""
    found = set()
    for artist in [*axes.lines, *axes.patches, *axes.collections]:
        if artist is axes.patch or not artist.get_visible():
            continue
        extent = artist.get_window_extent() if not hasattr(artist, "get_xydata") else None
        if extent is None:
            points = artist.get_transform().transform(np.asarray(artist.get_xydata(), dtype=float))
            inside = np.isfinite(points).all(axis=1)
            points = axes.transAxes.inverted().transform(points[inside]) if inside.any() else np.empty((0, 2))
            seen = bool(((points >= -0.1) & (points <= 1.1)).all(axis=1).any()) or len(points) > 1
        else:
            seen = extent.overlaps(axes.bbox) or artist.get_clip_box() is None
        if seen:
            found |= _of(artist)
    return found


def _of(artist):
    found = set()
    for name in ("get_color", "get_facecolor", "get_edgecolor", "get_markeredgecolor", "get_markerfacecolor"):
        value = getattr(artist, name, lambda: None)()
        if (isinstance(value, str) and value == "none") or value is None:
            continue
        rows = np.atleast_2d(np.asarray(value, dtype=float)) if not isinstance(value, str) else [value]
        for row in rows:
            if len(row) == 0 or (not isinstance(row, str) and len(row) == 4 and row[3] == 0):
                continue
            found.add(tuple(np.round(to_rgb(tuple(row) if not isinstance(row, str) else row), 3)))
    hatch = getattr(artist, "get_hatch", lambda: None)()
    return found | ({hatch} if hatch else set())


def shrunk(drawn, share):
    """The figure at a share of its size, laid out and drawn."""
    figure = figure_of(drawn)
    assert isinstance(figure, Figure) and all(isinstance(each, Axes) for each in figure.axes)
    figure.set_size_inches(*(share * figure.get_size_inches()))
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return figure


def returned_wrongly(name, drawn):
    """Why a drawing function should not return this: one Axes, all of a result, or a Figure of several."""
    panels = [axes for axes in figure_of(drawn).axes if axes.get_subplotspec() is not None and axes.axison]
    if isinstance(drawn, Figure):  # a study yields Figures whatever is in them
        if name.removeprefix("published ").startswith(("relative_error", "tokens_per_param_")):
            return ""
        return "" if len(panels) > 1 else "a Figure of one panel; return its Axes"
    returned = [drawn] if isinstance(drawn, Axes) else list(drawn)
    return "" if returned == panels else f"{len(returned)} of {len(panels)} panels"
