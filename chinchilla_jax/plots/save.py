"""Write figures to files, without dates or versions in them: the same figure gives the same bytes."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.directories import LocalDirectory, open_directory
from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.plots.panel_boxes import KEY, boxes_text, panel_boxes
from chinchilla_jax.plots.pdf_fonts import quick_fonts
from chinchilla_jax.plots.styles import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image as Picture

Drawn: TypeAlias = "Figure | Axes | tuple[Axes, ...]"
# By default matplotlib writes the date and its version into files.
_METADATA: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "png": {},
        "pdf": {"CreationDate": None, "Creator": "chinchilla_jax", "Producer": None},
        "svg": {"Date": None, "Creator": "chinchilla_jax"},
    }
)


def save_figures(
    figures: Iterable[tuple[str, Drawn]],
    out_dir: str | os.PathLike[str],
    *,
    dpi: float = 150,
    formats: Sequence[str] = ("png",),
) -> list[Path | str]:
    """Write (name, figure) pairs to `out_dir`, each in every format.

    Args:
        figures: names with figures, or with the Axes that were drawn on; may be a generator; each figure is
            written before the next one is drawn.
        out_dir: a path or URL, created if missing; existing files of the same name are replaced.
        dpi: resolution of PNG files, dots per inch.
        formats: any of "png", "pdf" and "svg".

    Returns:
        The files, in the order of the figures: paths, or URLs.

    Raises:
        UsageError: an unknown format.
    """
    _require_known(formats)
    directory = open_directory(out_dir)
    written: list[Path | str] = []
    if not isinstance(directory, LocalDirectory):
        for name, content in figure_files(figures, dpi=dpi, formats=formats):
            directory.write(name, content)
            written.append(directory.at(name))
        return written
    directory.path.mkdir(parents=True, exist_ok=True)
    for name, content in figure_files(figures, dpi=dpi, formats=formats):
        with atomic_write(directory.path / name) as stream:
            stream.write(content)
        written.append(directory.path / name)
    return written


def figure_files(
    figures: Iterable[tuple[str, Drawn]], *, dpi: float, formats: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file that `save_figures` would write, one after the other.

    Raises:
        UsageError: an unknown format.
    """
    _require_known(formats)
    for name, drawn in figures:
        figure = figure_of(drawn)
        # Saving reads settings too, such as how fonts go into a PDF.
        with style():
            lay_out(figure, dpi)
            contents = {f"{name}.{each}": _content(figure, dpi, each) for each in formats}
        # Outside the block: the style keeps other threads waiting.
        yield from contents.items()


def lay_out(figure: Figure, dpi: float) -> None:
    """Solve the layout of a figure once, not again for every format.

    Args:
        figure: to be saved, and not drawn on any more.
        dpi: resolution of its PNG file.
    """
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if type(figure.canvas) is FigureCanvasBase:
        # Otherwise each step would measure every text again, with a renderer of its own.
        FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)


def picture(figure: Figure, dpi: float) -> Picture:
    """A figure that is laid out, in pixels; without an alpha channel where nothing is transparent."""
    from PIL import Image  # which matplotlib needs

    stream = io.BytesIO()
    figure.savefig(stream, format="rgba", dpi=dpi)
    width, height = (int(size) for size in figure.bbox.max)
    pixels = Image.frombuffer("RGBA", (width, height), stream.getvalue())
    return pixels.convert("RGB") if pixels.getchannel("A").getextrema()[0] == 255 else pixels


def _content(figure: Figure, dpi: float, extension: str) -> bytes:
    """The file of a figure that is laid out."""
    stream = io.BytesIO()
    if extension == "png":
        from PIL.PngImagePlugin import PngInfo

        boxes, texts = panel_boxes(figure), PngInfo()
        if boxes:
            texts.add_text(KEY, boxes_text(boxes))
        # More compression takes twice the time for a twentieth of the bytes.
        picture(figure, dpi).save(stream, "PNG", dpi=(dpi, dpi), pnginfo=texts, compress_level=3)
        return stream.getvalue()
    with quick_fonts() if extension == "pdf" else contextlib.nullcontext():
        figure.savefig(stream, format=extension, dpi=dpi, metadata=_METADATA[extension])
    return stream.getvalue()


def figure_of(drawn: Drawn) -> Figure:
    """The figure that was drawn, or that the Axes are in."""
    from matplotlib.figure import Figure

    if isinstance(drawn, Figure):
        return drawn
    first = drawn[0] if isinstance(drawn, tuple) else drawn
    return cast(Figure, first.get_figure(root=True))


def _require_known(formats: Sequence[str]) -> None:
    unknown = [each for each in formats if each not in _METADATA]
    if unknown or isinstance(formats, str):
        raise UsageError(f"formats={short(formats)}: give a list of {', '.join(_METADATA)}")
