"""Where the panels of a figure are, as its PNG says."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from chinchilla_jax.plots.panel_boxes import KEY, read_boxes
from chinchilla_jax.plots.save import figure_files


def png(figure):
    ((_, content),) = figure_files([("made", figure)], dpi=100, formats=("png",))
    return content


def dark(picture, box):
    """Share of pixels within a box that are not white."""
    left, top, right, bottom = box
    height, width = picture.shape
    part = picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    return float((part < 250).sum())


def test_panels_hold_all_that_is_drawn_and_share_nothing():
    figure = Figure(figsize=(6, 4), layout="constrained")
    drawn = figure.subplots(2, 2)
    mesh = drawn[0, 1].pcolormesh(np.arange(9.0).reshape(3, 3))
    figure.colorbar(mesh, ax=drawn[0, 1], label="scale")
    for axes in drawn[:, 0]:
        axes.plot([1, 2, 3], label="a line")
        axes.set_yticks([1, 2], ["one name", "another name"])
    drawn[1, 1].set_yticks([1, 2], ["", ""])
    figure.legend(handles=drawn[0, 0].lines, loc="outside lower center")
    content = png(figure)
    boxes = read_boxes(content)
    assert len(boxes) == 5, "four panels, and the legend of the figure"
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert sum(dark(picture, each.box) for each in boxes) == pytest.approx(
        dark(picture, (0, 0, 1, 1)), rel=0.01
    )
    assert [each.names is not None for each in boxes] == [False, False, False, True, False]
    (named,) = (each for each in boxes if each.names)
    assert named.names[0] == boxes[2].box[0] and named.names[2] < boxes[2].box[2]
    assert dark(picture, named.names) > 100, "the names are in it"


def test_one_panel_has_no_boxes():
    figure = Figure()
    figure.add_subplot()
    assert KEY not in Image.open(io.BytesIO(png(figure))).info and read_boxes(png(figure)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[[1]]",
        "[[[0,0,2,1],null]]",
        "[[[0.5,0,0.5,1],null]]",
        '[["abcd",null]]',
        "[[[NaN,0,1,1],null]]",
    ],
)
def test_other_pictures_have_none(text):
    from PIL.PngImagePlugin import PngInfo

    info, stream = PngInfo(), io.BytesIO()
    info.add_text(KEY, text)
    Image.new("L", (8, 8)).save(stream, "PNG", pnginfo=info)
    assert read_boxes(stream.getvalue()) == []
    assert read_boxes(stream.getvalue()[:30]) == [] and read_boxes(b"not a picture") == []
