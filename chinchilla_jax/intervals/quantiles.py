"""Quantiles of values among which there may be infinities, or NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.validation import probability

Floats = NDArray[np.float64]


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
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)  # NaN last
    if not len(ordered):
        return np.full((np.size(probabilities), *ordered.shape[1:]), np.nan)
    known = len(ordered) - np.isnan(ordered).sum(axis=0)
    below, above, share = between_ranks(probabilities, np.maximum(known, 1))
    left, right = (np.take_along_axis(ordered, ranks, axis=0) for ranks in (below, above))
    return interpolate(left, right, share)


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
        apart = (1 - share) * left + share * right  # where the width is beyond float64
        between = np.where(np.isfinite(width), left + share * width, apart)
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
    ordered = np.sort(values, axis=0)  # NaNs last
    n = np.maximum(len(ordered) - np.isnan(ordered).sum(axis=0), 1)[None]
    low, high = (np.take_along_axis(ordered, place, axis=0)[0] for place in ((n - 1) // 2, n // 2))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(low == high, low, (low + high) / 2)
