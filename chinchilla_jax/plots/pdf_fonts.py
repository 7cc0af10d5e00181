"""Fonts in PDF files at a fraction of the time: each is cut from the usual characters, which are cut once.

matplotlib puts the characters that a figure uses into its PDF, and reads the whole font for each figure:
thousands of glyphs, and tables of layout that no PDF needs. That takes longer than to draw the figure.
"""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

_UNUSED = ("BASE", "FFTM", "GDEF", "GPOS", "GSUB", "JSTF", "MATH", "kern")  # layout, and whose font it is
# ASCII, Latin-1, raised s, Greek, raised letters, dashes and quotes, raised and lowered digits, arrows, signs
# of mathematics, ligatures.
_USUAL = (
    (0x20, 0x7E), (0xA0, 0xFF), (0x2E2, 0x2E2), (0x391, 0x3C9), (0x1D43, 0x1D61), (0x2010, 0x2026),
    (0x2070, 0x208E), (0x2190, 0x2193), (0x2202, 0x2202), (0x2211, 0x221E), (0x2248, 0x2248),
    (0x2264, 0x2265), (0xFB00, 0xFB04),
)  # fmt: skip


class _Usual(NamedTuple):
    """The usual characters of a font: a font file, and their glyphs in it by those in the whole font."""

    content: bytes
    glyphs: Mapping[int, int]


class _File(io.BytesIO):
    """A font file in memory, with what matplotlib asks of the path of one."""

    face_index = 0


@contextmanager
def quick_fonts() -> Iterator[None]:
    """Embed fonts from their usual characters, and others from the whole font, as ever.

    The files have the same glyphs and text. Nothing changes where matplotlib embeds fonts in another way than
    3.11 does. To be used inside `style()`, for which other threads wait.
    """
    embedding = _embedding()
    if embedding is None:
        yield
        return
    whole = embedding.get_glyphs_subset

    @contextmanager
    def quick(fontfile: Any, glyphs: Any) -> Iterator[Any]:
        usual = _usual(fontfile)
        if not usual.glyphs.keys() >= set(glyphs):
            with whole(fontfile, glyphs) as made:
                yield made
            return
        with whole(_File(usual.content), {usual.glyphs[glyph] for glyph in glyphs}) as made:
            places = {glyph: made.glyph_index_map[usual.glyphs[glyph]] for glyph in glyphs}
            yield made._replace(glyph_index_map=places)

    embedding.get_glyphs_subset = quick
    try:
        yield
    finally:
        embedding.get_glyphs_subset = whole


def _embedding() -> Any:
    """The module of matplotlib, which is not public; None where it is not what is known of it."""
    try:
        from matplotlib.backends import _backend_pdf_ps as embedding

        takes = [*inspect.signature(embedding.get_glyphs_subset).parameters]
        gives = embedding.SubsetResults._fields
    except (ImportError, AttributeError):
        return None
    return embedding if (takes, gives) == (["fontfile", "glyphs"], ("font", "glyph_index_map")) else None


@functools.lru_cache(8)
def _usual(fontfile: Any) -> _Usual:
    from fontTools import subset

    options = subset.Options(glyph_names=True, recommended_glyphs=True, font_number=fontfile.face_index)
    options.drop_tables += _UNUSED
    content = io.BytesIO()
    with subset.load_font(fontfile, options) as font:
        subsetter = subset.Subsetter(options=options)
        subsetter.populate(unicodes=[code for low, high in _USUAL for code in range(low, high + 1)])
        subsetter.subset(font)
        font.save(content, reorderTables=False)
    return _Usual(content.getvalue(), subsetter.glyph_index_map)
