"""Where the panels of a drawn figure are, written into its PNG, so that a narrow screen can show each alone.

A box is left, top, right and bottom as shares of the picture. Panels that share the names along their y-axis
have a second box, `names`, for those beside the first panel of their row.
"""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

Box: TypeAlias = "tuple[float, float, float, float]"
KEY = "Panels"
"""The name of the text in the PNG."""
_ROOM = 0.004  # around a panel, as a share of the picture


class PanelBox(NamedTuple):
    """One panel, or a legend of the whole figure; with the names along its y-axis if they are elsewhere."""

    box: Box
    names: Box | None = None


def panel_boxes(figure: Figure) -> list[PanelBox]:
    """The panels of a figure that has several, in reading order, and legends of the figure; empty for one.

    Args:
        figure: laid out.
    """
    cells: dict[tuple[int, int], list[Axes]] = {}
    others: list[Axes] = []
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is None:
            others.append(axes)
        else:
            cells.setdefault((place.rowspan.start, place.colspan.start), []).append(axes)
    if len(cells) < 2:
        return []
    for axes in others:  # such as colour bars: they belong to the panel on their left
        left = [key for key, (first, *_) in cells.items() if _beside(first, axes)]
        if not left:
            return []
        cells[max(left, key=lambda key: key[1])].append(axes)
    found = []
    for key in sorted(cells):
        box = _box(figure, cells[key])
        if box is not None:
            found.append(PanelBox(box, _names(figure, cells[key][0], cells.get((key[0], 0), [])[:1], box)))
    found += [PanelBox(box) for each in figure.legends if (box := _box(figure, [each])) is not None]
    return found


def _beside(panel: Axes, other: Axes) -> bool:
    a, b = panel.get_position(), other.get_position()
    return bool(a.x0 <= b.x0 and a.y0 < b.y1 and b.y0 < a.y1)


def _box(figure: Figure, artists: Sequence[Any]) -> Box | None:
    from matplotlib.transforms import Bbox

    boxes = [each.get_tightbbox() for each in artists]
    boxes = [each for each in boxes if each is not None and each.width > 0 and each.height > 0]
    return _shares(figure, Bbox.union(boxes)) if boxes else None


def _shares(figure: Figure, box: Bbox) -> Box:
    width, height = figure.bbox.width, figure.bbox.height
    ends = (box.x0 / width - _ROOM, 1 - box.y1 / height - _ROOM)
    far = (box.x1 / width + _ROOM, 1 - box.y0 / height + _ROOM)
    left, top, right, bottom = (round(min(max(float(share), 0.0), 1.0), 4) for share in (*ends, *far))
    return left, top, right, bottom


def _names(figure: Figure, panel: Axes, first: Sequence[Axes], box: Box) -> Box | None:
    """The names beside the first panel of the row, where this one has ticks without any."""

    def named(axes: Axes) -> bool:
        return any(label.get_text() for label in axes.get_yticklabels())

    if not first or first[0] is panel or not panel.axison or named(panel) or not named(first[0]):
        return None
    whole = _box(figure, first)
    if whole is None:
        return None
    return whole[0], box[1], round(float(first[0].get_position().x0), 4), box[3]


def boxes_text(boxes: Sequence[PanelBox]) -> str:
    """The boxes as text, for `read_boxes`."""
    return json.dumps([list(each) for each in boxes], separators=(",", ":"))


def read_boxes(png: bytes) -> list[PanelBox]:
    """The panels of a PNG picture that `save_figures` wrote; empty where it says nothing."""
    from PIL import Image, UnidentifiedImageError  # which matplotlib needs

    try:
        with Image.open(io.BytesIO(png)) as picture:
            found = json.loads(picture.info.get(KEY, "[]"))
        boxes = [PanelBox(_read(box), None if names is None else _read(names)) for box, names in found]
    except (UnidentifiedImageError, OSError, TypeError, ValueError):  # not ours
        return []
    return boxes


def _read(box: Any) -> Box:
    left, top, right, bottom = (float(share) for share in box)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1 and math.isfinite(left)):
        raise ValueError(box)
    return left, top, right, bottom
