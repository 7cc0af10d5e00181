"""Fonts in PDF files: the same glyphs and widths as when each is cut from the whole font."""

import io
import re
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.backends import _backend_pdf_ps as embedding
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font, LoadFlags

from chinchilla_jax._util.labels import QUANTITIES
from chinchilla_jax.plots.pdf_fonts import _usual, quick_fonts
from chinchilla_jax.plots.save import figure_files
from chinchilla_jax.plots.styles import style
from chinchilla_jax.plots.sweeps import SWEEPS

USUAL = "Loss L(N, D) = E + A/N\u207b\u1d45: 3.4%, \u03b1 \u2264 10\u2076, \u00d1 \u2192 \u03bc, ffi"
_FLAGS = LoadFlags.NO_SCALE | LoadFlags.NO_HINTING

pytestmark = pytest.mark.skipif(
    not hasattr(embedding, "SubsetResults"), reason="this matplotlib embeds fonts in another way"
)


def glyphs_of(text):
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return {font.get_char_index(ord(each)) for each in text}


def outlines(glyphs, subset):
    """Outline and width of each glyph of a subset, by its number in the whole font."""
    font = FT2Font(embedding.font_as_file(subset.font))
    found = {}
    for glyph in glyphs:
        width = font.load_glyph(subset.glyph_index_map[glyph], flags=_FLAGS).horiAdvance
        found[glyph] = (width, *(part.tolist() for part in font.get_path()))
    return found


@pytest.mark.parametrize(
    "text", ["Loss: 3.4%, \u03b1 \u2264 10\u2076 \u00d1 \u2192 \u03bc", "a \u0434 \u2654"]
)
def test_glyphs_are_those_of_the_whole_font(text):
    path = font_manager.FontPath(font_manager.findfont("DejaVu Sans"), 0)
    glyphs = glyphs_of(text)
    with embedding.get_glyphs_subset(path, glyphs) as subset:
        expected = outlines(glyphs, subset)
    with quick_fonts(), embedding.get_glyphs_subset(path, glyphs) as subset:
        assert outlines(glyphs, subset) == expected
    assert any(len(codes) for _, _, codes in expected.values())


def test_labels_are_written_in_usual_characters():
    texts = [*map(str, QUANTITIES.values()), *(sweep.title + sweep.label for sweep in SWEEPS.values())]
    usual = _usual(font_manager.FontPath(font_manager.findfont("DejaVu Sans"), 0)).glyphs
    assert glyphs_of("".join(texts)) <= usual.keys()


def streams(figure):
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format="pdf")
    return streams_of(stream.getvalue())


def streams_of(content):
    found = re.findall(rb"stream\n(.*?)\nendstream", content, re.DOTALL)
    return [zlib.decompress(each) if each[:1] == b"x" else each for each in found]


def test_pages_and_their_text_are_the_same_and_only_the_font_is_smaller():
    figure = Figure()
    figure.text(0.1, 0.5, USUAL)
    whole = streams(figure)
    with quick_fonts():
        quick = streams(figure)
    assert embedding.get_glyphs_subset.__module__ == embedding.__name__  # put back
    # Page and map to Unicode; the files of the fonts have other tables, and order.
    text = [[each for each in found if each[:4] != b"\0\1\0\0"] for found in (whole, quick)]
    assert any(b"beginbfrange" in each for each in text[0])
    assert [each for each in text[0] if b"bfrange" in each] == [
        each for each in text[1] if b"bfrange" in each
    ]
    assert np.sum([*map(len, quick)]) < np.sum([*map(len, whole)])


def fonts_of(text):
    """The font files in the PDF file of a figure, as it is saved."""
    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.5, text)
    ((_, content),) = figure_files([("a", figure)], dpi=80, formats=("pdf",))
    return [each for each in streams_of(content) if each[:4] == b"\0\1\0\0"]


def test_threads_embed_the_fonts_of_one_and_put_the_function_back():
    texts, whole = 2 * ["one", "\u03b1 = 2", "\u0434", "four"], embedding.get_glyphs_subset
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fonts_of, texts))
    assert all(found) and found == [fonts_of(text) for text in texts]
    assert embedding.get_glyphs_subset is whole


def test_the_function_is_put_back_after_an_error(monkeypatch):
    whole = embedding.get_glyphs_subset
    monkeypatch.setattr(embedding, "font_as_file", None)
    with pytest.raises(TypeError, match="not callable"):
        fonts_of("text")
    assert embedding.get_glyphs_subset is whole


@pytest.mark.parametrize("way", ["arguments", "results", "no results", "no function", "no module"])
def test_another_way_of_matplotlib_is_left_alone(monkeypatch, way):
    def other(fontfile, characters):
        raise AssertionError

    if way == "arguments":
        monkeypatch.setattr(embedding, "get_glyphs_subset", other)
    elif way == "results":
        monkeypatch.setattr(embedding.SubsetResults, "_fields", ("font", "glyphs"))
    elif way == "no results":
        monkeypatch.delattr(embedding, "SubsetResults")
    elif way == "no function":
        monkeypatch.delattr(embedding, "get_glyphs_subset")
    else:
        monkeypatch.delattr("matplotlib.backends._backend_pdf_ps")
        monkeypatch.setitem(sys.modules, "matplotlib.backends._backend_pdf_ps", None)
    before = getattr(embedding, "get_glyphs_subset", None)
    with quick_fonts():
        assert getattr(embedding, "get_glyphs_subset", None) is before
