"""Several estimates at once: intervals that hold together, and the set that holds the best of several laws.

Notation
    R, q, F    resamples, quantities, laws
    values     (1 + R, q) the estimates, then the resamples; NaN where a resample has none
    scores     (1 + R, F) mean errors of the laws, likewise

The joint intervals are the single ones, all widened by one factor: the smallest with which so many of the
resamples lie inside every one of them.

The set is the model confidence set of Hansen, Lunde & Nason 2011 (Econometrica 79, 453-497,
doi:10.3982/ECTA5771) by the range statistic: while the largest of all studentised differences is larger than
chance makes it, the law that it speaks against is put out. A law's p-value is the largest of the tests up to
the one that puts it out; the laws with a p-value of at least 1 - level are the set, which holds the best law
with a probability of about `level`, however many laws there are. Scales are those of the middle of the
resamples, since a law that is flexible may go astray in single ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.intervals.methods import METHODS, Sample
from chinchilla_jax.intervals.quantiles import central_tails, low_median_high, quantiles, quantiles_of_known

Floats = NDArray[np.float64]
_FEWEST = 10  # resamples of an interval, where so many are asked for
_MIDDLE = 0.6827  # of the resamples, within one standard deviation where they are normal


def fewest(resamples: int) -> int:
    """How many of so many resamples an interval needs: half of them, and ten or, if fewer, all."""
    return max(2, min(_FEWEST, resamples), -(-resamples // 2))


def interval(values: Floats, level: float, method: str) -> tuple[float, float]:
    """Limits of one quantity (1 + R,) by a method of `COMPARISON_METHODS`; NaN without enough resamples."""
    estimate, resampled = values[0], values[1:][np.isfinite(values[1:])]
    if len(resampled) < fewest(len(values) - 1) or not np.isfinite(estimate):
        return float("nan"), float("nan")
    if method == "centred":
        low, middle, high = low_median_high(resampled, level)
        return float(estimate - (high - middle)), float(estimate - (low - middle))
    sample = Sample(replicates=resampled[:, None], estimate=np.array([estimate]))
    low, high = METHODS[method].limits(sample, central_tails(level)[0])
    return float(low[0]), float(high[0])


def joint_limits(values: Floats, level: float, method: str) -> Floats:
    """Limits of each quantity, single and joint; (4, q): low, high, joint_low, joint_high."""
    single = np.array([interval(column, level, method) for column in values.T]).reshape(-1, 2)
    known = np.flatnonzero(np.isfinite(single).all(axis=1))
    joint = single.copy()
    if len(known):
        resampled = values[1:, known]
        low, middle, high = _around(resampled, level)
        with np.errstate(invalid="ignore", divide="ignore"):
            width = np.where(resampled < middle, low - middle, high - middle)
            times = (resampled - middle) / width
        # A quantity that no resample moves is held by any interval.
        farthest = np.max(np.where(np.isfinite(times), times, 0.0), axis=1)
        factor = max(1.0, float(quantiles(farthest, level)[0]))
        centre = {"centred": values[0, known], "percentile": middle}.get(
            method, 2 * values[0, known] - middle
        )
        joint[known] = centre[:, None] + factor * (single[known] - centre[:, None])
    return np.concatenate([single, joint], axis=1).T


def best_set(scores: Floats) -> Floats:
    """P-value (F,) of each law being the best; NaN for laws without enough resamples."""
    counts = np.isfinite(scores[1:]).sum(axis=0)
    usable = np.isfinite(scores[0]) & (counts >= fewest(len(scores) - 1))
    left = np.flatnonzero(usable).tolist()
    found = np.full(scores.shape[1], np.nan)
    so_far = 0.0
    while len(left) > 1:
        estimate, deviation = _studentised(scores[:, left])
        # A resample without one of the laws still says what it says of the others.
        chance = np.nanmax(np.abs(deviation), axis=(1, 2))
        so_far = max(so_far, float(np.mean(chance >= estimate.max())))
        worst = left[int(np.argmax(estimate.max(axis=1)))]
        found[worst] = so_far
        left.remove(worst)
    found[left] = 1.0
    return found


def _studentised(scores: Floats) -> tuple[Floats, Floats]:
    """Differences of all pairs over their scale: the estimates (F, F), and the resamples' deviations."""
    difference = scores[:, :, None] - scores[:, None, :]
    resampled = difference[1:]
    low, middle, high = _around(resampled.reshape(len(resampled), -1), _MIDDLE).reshape(
        3, *difference[0].shape
    )
    scale = (high - low) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = (resampled - middle) / scale
        estimate = difference[0] / scale
    # A law and itself, or the same law twice.
    same = scale == 0
    deviation[:, same] = 0.0
    estimate[same] = np.where(difference[0][same] == 0, 0.0, np.copysign(np.inf, difference[0][same]))
    return estimate, deviation


def _around(values: Floats, level: float) -> Floats:
    """The lower limit, the median and the upper limit of each column (R, q), without its NaN; (3, q)."""
    low, high = central_tails(level)
    return quantiles_of_known(values, (low, 0.5, high))
