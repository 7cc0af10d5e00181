"""Quantiles of values among which there may be infinities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.validation import probability


def quantiles(values: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """Quantiles over the first axis: NumPy's linear ones, except that infinities keep their place.

    Args:
        values: (R, ...), no NaN, R at least 1.
        probabilities: (p,), each in [0, 1].

    Returns:
        (p, ...). Between two equal values, infinities among them, that value.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)
    position = np.atleast_1d(np.asarray(probabilities, dtype=np.float64)) * (len(ordered) - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, len(ordered) - 1)
    left, right = ordered[below], ordered[above]
    share = (position - below).reshape(-1, *(1,) * (ordered.ndim - 1))
    with np.errstate(invalid="ignore"):
        between = left + share * (right - left)
    return np.where((left == right) | (share == 0), left, between)


def central_tails(level: float) -> tuple[float, float]:
    """The two probabilities that bound the central interval of mass `level`.

    Raises:
        UsageError: `level` is not between 0 and 1.
    """
    mass = probability("level", level)
    return (1 - mass) / 2, (1 + mass) / 2


def low_median_high(values: ArrayLike, level: float) -> NDArray[np.float64]:
    """The percentile interval of mass `level` and the median between its limits, shape (3, ...).

    Raises:
        UsageError: `level` is not between 0 and 1.
    """
    low, high = central_tails(level)
    return quantiles(values, (low, 0.5, high))
