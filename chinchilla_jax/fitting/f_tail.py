"""The tail of the F distribution, without SciPy: importing that takes as long as a fit."""

from __future__ import annotations

import functools
import math

_STEPS = 10_000
_ROUNDING = 1e-15
_TINY = 1e-300  # in place of a zero denominator (Lentz)


def f_tail(ratio: float, between: int, within: int) -> float:
    """Probability that F of (between, within) degrees of freedom exceeds `ratio`, which is not negative.

    It is the regularised incomplete beta function I_x(within/2, between/2) at x = within / (within + between
    F), by its continued fraction (Abramowitz & Stegun 26.6.2 and 26.5.8).
    """
    x = within / (within + between * ratio)
    a, b = within / 2, between / 2
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    # The fraction converges fast on this side of the mean.
    if x < (a + 1) / (a + b + 2):
        return _beta_ratio(a, b, x)
    return 1 - _beta_ratio(b, a, 1 - x)


@functools.lru_cache(maxsize=256)
def f_quantile(tail: float, between: int, within: int) -> float:
    """The ratio that F of (between, within) degrees of freedom exceeds with probability `tail`.

    By bisection, so that it is as precise as `f_tail`.
    """
    high = 1.0
    while f_tail(high, between, within) > tail:
        high *= 2
    while f_tail(high / 2, between, within) <= tail:
        high /= 2
    low = high / 2
    while low < (middle := (low + high) / 2) < high:
        if f_tail(middle, between, within) > tail:
            low = middle
        else:
            high = middle
    return high


def _beta_ratio(a: float, b: float, x: float) -> float:
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    upper, lower = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = lower
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        change = 1.0
        for term in (even, odd):
            lower = 1 / (1 + term * lower or _TINY)
            upper = 1 + term / upper or _TINY
            change *= lower * upper
        fraction *= change
        if abs(change - 1) < _ROUNDING:
            break
    return math.exp(logarithm) * fraction / a
