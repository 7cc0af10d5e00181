"""Locators and formatters that know how much room their labels have, which depends on the layout.

Apart from ticks.py, because they derive from matplotlib's classes, and matplotlib is imported when drawing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import ticker

from chinchilla_jax._util.text import number_text, scaled_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NARROW = frozenset(".,\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b")
_EM, _NARROW_EM = 0.66, 0.45  # width of a character over the size of the font; rather too wide
_APART, _LINE = 0.7, 1.25  # between labels side by side, and of one above the other, in sizes of the font


def numbers_text(ticks: Sequence[float]) -> list[str]:
    """The ticks of an axis in one notation: 10,000 beside 10^6 is hard to read."""
    as_powers = any(tick < 1e-3 or tick >= 1e5 for tick in ticks)
    return [number_text(tick, as_power=as_powers) for tick in ticks]


def counts_text(ticks: Sequence[float]) -> list[str]:
    """Numbers of parameters or tokens, as in "73B"."""
    return [scaled_number(tick) for tick in ticks]


class Labels(ticker.Formatter):
    """Texts that depend on all ticks of the axis."""

    def __init__(self, write: Callable[[Sequence[float]], list[str]]) -> None:
        """Take what writes the texts of all ticks."""
        self._write = write

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The texts of all ticks."""
        return self._write([float(value) for value in values])

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The text of one place among the ticks."""
        return self._write([*map(float, self.locs), float(x)])[-1]


class RoomyLocator(ticker.Locator):
    """The first of several sets of ticks whose labels do not touch, from the densest on."""

    def __init__(self, axes: Axes, which: str, sets: Callable[[float, float], Iterable[list[float]]]) -> None:
        """Take the axis ("x" or "y") and what makes the sets between two limits."""
        self._axes, self._which, self._sets = axes, which, sets
        self._kept: tuple[Any, list[float]] = (None, [])

    def __call__(self) -> Any:
        """The ticks of the present limits and layout."""
        return self.tick_values(*sorted(self._own_axis.get_view_interval()))

    @property
    def _own_axis(self) -> Any:
        return self._axes.xaxis if self._which == "x" else self._axes.yaxis

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The ticks of other limits."""
        box, figure = self._axes.bbox, self._axes.get_figure(root=True)
        length = (box.width if self._which == "x" else box.height) * 72 / figure.dpi  # type: ignore[union-attr]
        size = float(self._own_axis.get_major_ticks(1)[0].label1.get_fontsize())
        key = (vmin, vmax, length, size)
        if self._kept[0] != key:
            self._kept = (key, self._fitting(vmin, vmax, length, size))
        return self._kept[1]

    def _fitting(self, low: float, high: float, length: float, size: float) -> list[float]:
        inside: list[float] = []
        for ticks in self._sets(low, high):
            inside = [tick for tick in ticks if low <= tick <= high]
            if self._fits(inside, low, high, length, size):
                return inside
        ends = [inside[0], inside[-1]]
        return ends if self._fits(ends, low, high, length, size) else inside[len(inside) // 2 :][:1]

    def _fits(self, ticks: list[float], low: float, high: float, length: float, size: float) -> bool:
        """Whether labels of a font of `size` points do not touch on an axis `length` points long."""
        if len(ticks) < 2:
            return True
        scale: Callable[[float], float] = math.log if self._own_axis.get_scale() == "log" else float
        span = (scale(high) - scale(low)) or 1.0
        steps = [length * (scale(b) - scale(a)) / span for a, b in itertools.pairwise(ticks)]
        if self._which == "y":
            return min(steps) >= _LINE * size
        widths = [text_width(text) for text in self._own_axis.get_major_formatter().format_ticks(ticks)]
        needed = [size * ((a + b) / 2 + _APART) for a, b in itertools.pairwise(widths)]
        return all(step >= need for step, need in zip(steps, needed, strict=True))


def text_width(text: str) -> float:
    """About how wide a text is, in sizes of its font."""
    return sum(_NARROW_EM if character in _NARROW else _EM for character in text)


def log_sets(most: int) -> Callable[[float, float], Iterable[list[float]]]:
    """Sets of ticks for a logarithmic axis, of at most `most` and fewer."""
    return lambda low, high: (log_ticks(low, high, count) for count in range(most, 2, -1))


def linear_sets(most: int) -> Callable[[float, float], Iterable[list[float]]]:
    """Sets of round numbers at even distances, of about `most` and fewer."""
    makers = [ticker.MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10]) for bins in range(most, 0, -1)]
    return lambda low, high: ([float(tick) for tick in each.tick_values(low, high)] for each in makers)


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers for a logarithmic axis: at least three where possible, at most `most`.

    Args:
        low: lower limit of the axis, positive.
        high: upper limit, above `low`.
        most: how many labels fit.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[list[float]] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 2, 3, 4, 5, 6, 8)):
        ticks = [m * 10.0**k for k in range(max(first, -300), min(last, 300) + 1) for m in steps]
        found.append([tick for tick in ticks if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)])
        if len(steps) == 1 and len(found[0]) >= 3:
            return _thinned_powers(found[0], most)
    for enough in (4, 3):
        for inside in found:
            if enough <= len(inside) <= most:
                return inside
    evenly = ticker.MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in evenly if low <= tick <= high and tick > 0]


def _thinned_powers(powers: list[float], most: int) -> list[float]:
    """Every k-th power of ten, with exponents divisible by k so that 1 is kept."""
    exponents = [round(math.log10(power)) for power in powers]
    step = math.ceil(len(powers) / most)
    return [power for power, exponent in zip(powers, exponents, strict=True) if exponent % step == 0]
