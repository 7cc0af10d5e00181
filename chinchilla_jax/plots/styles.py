"""The one style of every figure: settings and colours.

The style is applied only inside `matplotlib.rc_context`, and figures are made as `matplotlib.figure.Figure`
without pyplot, so the caller's settings and window system are not touched. Categories use the palette of
Okabe and Ito (2008, "Color Universal Design"), sweeps use viridis without its palest end. Both remain
readable without colour vision and in grey; markers or line styles repeat the information of the colours.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Okabe and Ito (2008), without its yellow, which is too pale for lines on white.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#6E6E6E",
)
RUNS_SHADE = "#EFEFEF"
"""Behind the data, where the runs lie."""
MISSING_TEXT: Mapping[str, Any] = MappingProxyType(
    {"color": VERMILLION, "fontsize": 8.0, "style": "italic", "ha": "center", "va": "center"}
)
CORNER_RIGHT: Mapping[str, Any] = MappingProxyType({**MISSING_TEXT, "ha": "right", "va": "bottom"})


class Look(NamedTuple):
    """Colour, marker and dashes of one category; each alone identifies it."""

    colour: str
    marker: str
    dashes: Any


COUNTING_STYLES: Mapping[str, Look] = MappingProxyType(
    {
        "standard": Look(BLUE, "o", "-"),
        "best_fit": Look(VERMILLION, "s", (0, (6, 1.5))),
        "reported": Look(GREEN, "^", (0, (3, 1.2, 1, 1.2))),
        "as_plotted": Look(PURPLE, "D", (0, (1.2, 1.2))),
        "as_given": Look(BLUE, "o", "-"),
    }
)

# For names of the user's own, in their order.
_OTHER_LOOKS = (
    Look(BLUE, "o", "-"),
    Look(VERMILLION, "s", (0, (6, 1.5))),
    Look(GREEN, "^", (0, (3, 1.2, 1, 1.2))),
    Look(PURPLE, "D", (0, (1.2, 1.2))),
    Look(ORANGE, "v", (0, (8, 1.5, 1, 1.5))),
    Look(SKY, "P", (0, (4, 1, 1, 1, 1, 1))),
    Look(BLACK, "X", (0, (2, 2))),
)


def counting_looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each counting: its own where it has one, and otherwise one after the other."""
    others = [name for name in names if name not in COUNTING_STYLES]
    looks = {name: _OTHER_LOOKS[i % len(_OTHER_LOOKS)] for i, name in enumerate(others)}
    return {name: COUNTING_STYLES[name] if name in COUNTING_STYLES else looks[name] for name in names}


_STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "font.size": 9.0,
        "axes.labelsize": 9.0,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.fontsize": 8.0,
        "legend.frameon": True,
        "legend.framealpha": 0.85,
        "legend.edgecolor": "none",
        "legend.handlelength": 1.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.4,
        "lines.markersize": 4.0,
        "hatch.linewidth": 0.6,
        "text.usetex": False,
        "axes.unicode_minus": True,
        # TrueType, so that text in a PDF can be searched and edited.
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        # Fixed identifiers, so that the same tables give the same file.
        "svg.hashsalt": "chinchilla_jax",
    }
)
# matplotlib's settings belong to the process; two threads would restore each other's.
_one_thread = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """Apply the style inside a `with` block and restore the caller's settings afterwards.

    Other threads wait for the style.
    """
    import matplotlib

    with _one_thread:
        with matplotlib.rc_context():
            # Start from the defaults, or a dark or LaTeX style of the caller would show through.
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            yield
            interactive = matplotlib.is_interactive()
        # The first figure in a notebook loads a backend that turns this on; else no later one is shown.
        matplotlib.interactive(interactive)


def styled(draw: Callable[_P, _T]) -> Callable[_P, _T]:
    """Run a drawing function inside `style()`."""

    @functools.wraps(draw)
    def inside(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with style():
            return draw(*args, **kwargs)

    return inside


def sweep_colours(n: int) -> list[tuple[float, float, float, float]]:
    """Colours for n sizes, from dark to light, distinguishable in grey."""
    from matplotlib import colormaps

    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.88, max(n, 1)))]
