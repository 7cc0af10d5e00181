"""Readable ticks on linear and logarithmic axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chinchilla_jax._util.text import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def readable_axis(axes: Axes, which: str, most: int = 7) -> None:
    """Set a few round ticks, without offset or shared exponent; call it after drawing.

    Args:
        axes: the Axes.
        which: "x" or "y".
        most: how many labels fit.
    """
    from matplotlib import ticker

    scale = axes.get_xscale() if which == "x" else axes.get_yscale()
    if scale == "log":
        _readable_log_axis(axes, which, most)
        return
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(ticker.MaxNLocator(nbins=min(most, 5), steps=[1, 2, 2.5, 5, 10]))
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    if sum(low <= tick <= high for tick in axis.get_majorticklocs()) < 3:
        axis.set_minor_locator(ticker.AutoMinorLocator())
    formatter = ticker.ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axis.set_major_formatter(formatter)


def _readable_log_axis(axes: Axes, which: str, most: int) -> None:
    """Ticks within the current limits: powers of ten over several decades, else numbers like 1, 2, 5."""
    from matplotlib import ticker

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    ticks = log_ticks(low, high, most)
    axis.set_major_locator(ticker.FixedLocator(ticks))
    # One notation for all ticks of an axis: 10,000 beside 10^6 is hard to read.
    as_powers = any(tick < 1e-3 or tick >= 1e5 for tick in ticks)
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number_text(value, as_power=as_powers)))
    axis.set_minor_formatter(ticker.NullFormatter())
    wide = math.log10(high / low) > 2
    axis.set_minor_locator(
        ticker.NullLocator() if wide else ticker.LogLocator(subs=range(2, 10), numticks=100)
    )


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers for a logarithmic axis: at least three where possible, at most `most`.

    Args:
        low: lower limit of the axis, positive.
        high: upper limit, above `low`.
        most: how many labels fit.
    """
    from matplotlib import ticker

    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[list[float]] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
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
