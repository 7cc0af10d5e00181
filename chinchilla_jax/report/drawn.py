"""Figures that a page draws itself, from what `chinchilla_jax.plots` draws on an Axes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.plots.save import lay_out, picture
from chinchilla_jax.plots.styles import style
from chinchilla_jax.report.figures import inline_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

    from chinchilla_jax.report.figures import PageFigure

_COLOURS = 192
_SHRINK = 0.86
_DPI = 160.0  # sharp in a column of the page


def drawn_figure(
    name: str, caption: str, draw: Callable[..., Axes], *args: Any, **options: Any
) -> PageFigure:
    """What a drawing function draws, as a picture of the page.

    Args:
        name: of the picture.
        caption: what it shows.
        draw: returns an Axes of a figure of its own.
        *args: its arguments.
        **options: its options.
    """
    from matplotlib.figure import Figure

    with unshown():
        figure = draw(*args, **options).get_figure(root=True)
    assert isinstance(figure, Figure)
    # Smaller than on its own, so that its labels can be read on a telephone.
    width, height = figure.get_size_inches()
    figure.set_size_inches(_SHRINK * width, _SHRINK * height)
    with style():
        lay_out(figure, _DPI)
        pixels = picture(figure, _DPI)
    return inline_figure(name, _with_few_colours(pixels), caption)


def _with_few_colours(pixels: Image) -> bytes:
    """A PNG picture with a palette, in a third of the bytes."""
    from PIL import Image

    few = pixels.convert("RGB").quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, "PNG")
    return stream.getvalue()
