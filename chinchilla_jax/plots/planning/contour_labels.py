"""Labels of contours where they cross a line through the panel: apart from each other and off the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.plots.style import BLACK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

_MARGIN = 0.07  # of a panel, kept free of labels at its edges


def label_contours(
    axes: Axes, contours: QuadContourSet, write: Callable[[float], str], *, falling: bool = False
) -> None:
    """Label each contour once, where it comes nearest to the diagonal.

    Args:
        axes: the Axes, its scales and limits final.
        contours: of `axes.contour`. One that stays close to the edges gets no label.
        write: a level as text.
        falling: whether the diagonal goes from the top left to the bottom right.
    """
    from matplotlib.patheffects import withStroke

    places = [place for each in contours.allsegs if (place := _place(axes, each, falling)) is not None]
    for text in axes.clabel(contours, fontsize=7, fmt=write, manual=places, colors=BLACK):
        text.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


def _place(axes: Axes, segments: Sequence[Any], falling: bool) -> tuple[float, float] | None:
    """In data; None where no point is inside the margin."""
    points = np.concatenate([np.asarray(each).reshape(-1, 2) for each in segments] or [np.empty((0, 2))])
    x, y = _shares(axes, points).T
    inside = (np.minimum(x, y) > _MARGIN) & (np.maximum(x, y) < 1 - _MARGIN)
    if not inside.any():
        return None
    away = np.abs(x + y - 1) if falling else np.abs(x - y)
    place = points[int(np.where(inside, away, np.inf).argmin())]
    return float(place[0]), float(place[1])


def _shares(axes: Axes, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in units of the panel."""
    return np.asarray(axes.transAxes.inverted().transform(axes.transData.transform(points)))
