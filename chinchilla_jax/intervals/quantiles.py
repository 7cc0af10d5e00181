"""Quantiles of values among which there may be infinities, or NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.validation import probability

Floats = NDArray[np.float64]

# Among many values the few ranks that are asked for are looked for between two members of a sorted sample.
_MANY, _SAMPLE = 8192, 1024
_SPREADS = 3.0  # standard deviations of a rank in the sample, within which a rank is looked for
_STRIDE = 0.618034  # of the values, between two of the sample: what repeats in them does not repeat there


def quantiles(values: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Quantiles over the first axis: NumPy's linear ones, except that infinities keep their place.

    Args:
        values: (R, ...), no NaN, R at least 1.
        probabilities: (p,), each in [0, 1].

    Returns:
        (p, ...). Between two equal values, infinities among them, that value.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)
    below, above, share = between_ranks(probabilities, len(ordered))
    return interpolate(ordered[below], ordered[above], share.reshape(-1, *(1,) * (ordered.ndim - 1)))


def quantiles_of_known(values: ArrayLike, probabilities: ArrayLike) -> Floats:
    """`quantiles` of values (R, ...) without their NaN, (p, ...); NaN where all are."""
    given = np.asarray(values, dtype=np.float64)
    if not len(given):
        return np.full((np.size(probabilities), *given.shape[1:]), np.nan)
    if len(given) >= _MANY and given.ndim == 2 and not np.isnan(given).any():
        below, above, share = between_ranks(probabilities, len(given))
        left, right = _at_ranks(given, below, above)
        return interpolate(left, right, share[:, None])
    ordered = np.sort(given, axis=0)  # NaN last
    known = len(ordered) - np.isnan(ordered).sum(axis=0)
    below, above, share = between_ranks(probabilities, np.maximum(known, 1))
    left, right = (np.take_along_axis(ordered, ranks, axis=0) for ranks in (below, above))
    return interpolate(left, right, share)


def _at_ranks(values: Floats, below: NDArray[np.intp], above: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """The values (R, k), no NaN, of the ranks (p,) `below` and `above`, next to each other; (p, k) each."""
    count, columns = len(values), np.ascontiguousarray(values.T)
    chosen = np.arange(_SAMPLE) * (int(_STRIDE * count) | 1) % count
    samples = np.sort(columns[:, chosen], axis=1)
    share = below / count
    margin = _SPREADS * np.sqrt(share * (1 - share) * _SAMPLE) + 2
    first = np.floor(share * _SAMPLE - margin).astype(np.intp)
    last = np.ceil(share * _SAMPLE + margin).astype(np.intp)
    found = np.empty((2, len(below), len(columns)))
    for j, (column, sample) in enumerate(zip(columns, samples, strict=True)):
        for i, (low, high) in enumerate(zip(below, above, strict=True)):
            start = sample[first[i]] if first[i] >= 0 else -np.inf
            end = sample[last[i]] if last[i] < _SAMPLE else np.inf
            inside = column >= start
            before = count - int(np.count_nonzero(inside))
            inside &= column <= end
            some = column[inside]
            if not before <= low <= high < before + len(some):
                some, before = column, 0
            ordered = np.partition(some, (low - before, high - before))
            found[:, i, j] = ordered[low - before], ordered[high - before]
    return found[0], found[1]


def between_ranks(
    probabilities: ArrayLike, count: int | NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The two ranks of `count` values (...) around each quantile, its distance from the lower; (p, ...)."""
    position = np.multiply.outer(np.atleast_1d(np.asarray(probabilities, dtype=np.float64)), count - 1)
    below = np.floor(position).astype(np.intp)
    return below, np.minimum(below + 1, count - 1), position - below


def interpolate(left: Floats, right: Floats, share: Floats) -> Floats:
    """From `left` towards `right`, which is no less; an infinite end is the result wherever share > 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        width = right - left
        between = left + share * width
        finite = np.isfinite(width)
        if not finite.all():  # an end is infinite, or the width beyond float64
            between = np.where(finite, between, (1 - share) * left + share * right)
    return np.where((left == right) | (share == 0) | np.isneginf(left), left, between)


def central_tails(level: float) -> tuple[float, float]:
    """The two probabilities that bound the central interval of mass `level`.

    Raises:
        UsageError: `level` is not between 0 and 1.
    """
    mass = probability("level", level)
    return (1 - mass) / 2, (1 + mass) / 2


def low_median_high(values: ArrayLike, level: float) -> Floats:
    """The percentile interval of mass `level` and the median between its limits, shape (3, ...).

    Args:
        values: (R, ...); NaN are left out, and where all are NaN so is the result.
        level: mass of the interval.

    Raises:
        UsageError: `level` is not between 0 and 1.
    """
    low, high = central_tails(level)
    return quantiles_of_known(values, (low, 0.5, high))


def nan_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians over the first axis, ignoring NaN; infinities keep their place.

    Args:
        values: (R, ...), R at least 1.

    Returns:
        (...): NaN where all values are.
    """
    if len(values) == 1:
        return values[0].copy()
    ordered = np.sort(values, axis=0)  # NaNs last
    n = np.maximum(len(ordered) - np.isnan(ordered).sum(axis=0), 1)[None]
    low, high = (np.take_along_axis(ordered, place, axis=0)[0] for place in ((n - 1) // 2, n // 2))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(low == high, low, (low + high) / 2)
