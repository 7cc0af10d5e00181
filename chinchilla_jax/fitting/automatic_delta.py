"""How wide Huber's quadratic zone should be for these data: `delta="auto"`.

Notation
    r_i      residuals of a fit; (n,)
    p        parameters of the law
    sigma    robust scale of the residuals: 1.4826 sqrt(n / (n - p)) med |r_i|, which is the standard
             deviation of normal errors
    delta    1.345 sigma

With a delta far below sigma nearly every residual is in the linear part: the fit is least absolute deviations
in effect, which needs 57% more runs for the same precision where errors are normal. With 1.345 sigma it needs
5% more (Huber & Ronchetti 2009, Robust Statistics, 2nd ed.), and outliers still count by their sign alone.

The median is around zero, the Huber location of the residuals at an optimum: raising all terms of a law in
one proportion moves every log loss alike, so that sum_i w_i psi(r_i) = 0. The fitted law passes nearer to
the runs than the true one does, by a factor sqrt((n - p) / n) for normal errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EFFICIENT = 1.345  # delta / sigma at which Huber's estimator is 95% efficient on normal errors
LEAST_ABSOLUTE = 3.0  # sigma / delta above which the fit is least absolute deviations in effect
LEAST_SQUARES = 1 / 3  # and below which it is least squares
_NORMAL = 1.4826  # standard deviation of normal errors over their median size
_SMALLEST = 1e-4  # delta: smaller residuals are rounding of the losses, or there is no noise at all
_MOST_TURNS, _SETTLED = 20, 1e-4
_DIGITS = 3


def robust_scale(residuals: NDArray[np.float64], weights: NDArray[np.float64] | None, size: int) -> float:
    """Sigma of the residuals (n,) of a law with `size` parameters; NaN where there are too few.

    Args:
        residuals: (n,), of any unit; the result has the same.
        weights: (n,) of the runs, None for all the same; the median is that of the weighted runs.
        size: number of parameters p.
    """
    w = np.ones_like(residuals) if weights is None else weights
    r, w = np.abs(residuals[w > 0]), w[w > 0]
    if len(r) <= size or not np.isfinite(r).all():
        return math.nan
    order = np.argsort(r)
    r, share = r[order], np.cumsum(w[order]) / np.sum(w)
    # The usual median where all weights are the same: between two runs if just half the weight lies below.
    low, high = np.searchsorted(share, [0.5 - 1e-12, 0.5 + 1e-12])
    return float(_NORMAL * math.sqrt(len(r) / (len(r) - size)) * 0.5 * (r[low] + r[high]))


def automatic_delta(scale_at: Callable[[float], float], first: float) -> float:
    """The delta of which a fit has residuals of scale delta / 1.345; three significant digits.

    Few digits, so that every machine finds the same number and a reader can pass it on.

    Args:
        scale_at: the scale of the residuals of a fit with this delta; NaN where there is none.
        first: delta to begin with, and to stay with where there is no scale.
    """
    delta = first
    for _ in range(_MOST_TURNS):
        scale = scale_at(delta)
        if not math.isfinite(scale):
            return first
        before, delta = delta, max(EFFICIENT * scale, _SMALLEST)
        if abs(delta - before) <= _SETTLED * delta:
            break
    return float(f"{delta:.{_DIGITS}g}")


def zone_sentence(ratio: float) -> str:
    """What it means that the residuals are `ratio` = sigma / delta times as wide as the zone."""
    if ratio > LEAST_ABSOLUTE:
        return "least absolute deviations in effect"
    if ratio < LEAST_SQUARES:
        return "least squares in effect"
    return "squared inside, absolute outside"
