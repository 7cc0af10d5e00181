"""The formula of every interval method, on plain arrays: from replicates of an estimate to two limits.

Arrays have one column per quantity. `methods.py` lists the methods and what each needs.

| code       | symbol      | shape  | meaning                                                                |
|------------|-------------|--------|------------------------------------------------------------------------|
| replicates | t*          | (R, q) | the estimate of every resample, on the quantity's scale                |
| estimate   | t^          | (q,)   | the point estimate, by the same estimator                              |
| tail       | (1-level)/2 | ()     | probability outside on each side                                       |
| jackknife  | t_(i)       | (m, q) | the estimate without run (or cluster) i                                |
| inner_se   | se*         | (R, q) | standard error of each resample's own estimate, by resampling it again |

A replicate that is NaN (its fit failed, or it has no optimum) is left out of its column. An infinite one has
a place in the order and counts in the quantile methods; the methods that add leave it out.

Sources:

- Efron & Tibshirani 1993, An Introduction to the Bootstrap: sections 12.5 (studentised), 13.3 (percentile)
  and 14.3 (BCa, equations 14.9 to 14.15);
- Davison & Hinkley 1997, Bootstrap Methods and their Application: sections 5.2 (basic) and 4.2.4 (envelopes);
- Hyndman 1996, doi:10.1080/00031305.1996.10474359 (highest density).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax.intervals.quantiles import quantiles_of_known

MEANINGLESS = 100
"""Standard errors above so many times the estimate are not shown to a reader."""
Floats = NDArray[np.float64]
Limits = tuple[Floats, Floats]

_NORMAL = NormalDist()


def percentile(replicates: Floats, tail: float) -> Limits:
    """The quantiles of the replicates."""
    low, high = quantiles_of_known(replicates, (tail, 1 - tail))
    return low, high


@beyond_float64()
def basic(replicates: Floats, estimate: Floats, tail: float) -> Limits:
    """The quantiles mirrored at the estimate: 2 t^ - t*."""
    low, high = percentile(replicates, tail)
    return 2 * estimate - high, 2 * estimate - low


@beyond_float64()
def gaussian(replicates: Floats, estimate: Floats, tail: float) -> Limits:
    """The estimate plus and minus a normal quantile of the replicates' standard deviation."""
    reach = (_NORMAL.inv_cdf(1 - tail) if tail > 0 else np.inf) * standard_errors(replicates)
    return estimate - reach, estimate + reach


@beyond_float64()
def studentised(replicates: Floats, estimate: Floats, inner_se: Floats, tail: float) -> Limits:
    """Quantiles of (t* - t^)/se*, times the standard error of t^ itself (bootstrap-t)."""
    t = (replicates - estimate) / inner_se
    # A resample whose own resamples all agree has no scale and tells nothing about t.
    t = np.where(inner_se > 0, t, np.nan)
    se = standard_errors(replicates)
    low, high = quantiles_of_known(t, (tail, 1 - tail))
    return estimate - high * se, estimate - low * se


def bca(replicates: Floats, estimate: Floats, jackknife: Floats, tail: float) -> Limits:
    """Bias-corrected and accelerated quantiles, with the acceleration of the jackknife.

    NaN where every replicate lies on one side of the estimate, where the bias correction is infinite.
    """
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    for j, column in enumerate(replicates.T):
        shares = bca_shares(column, float(estimate[j]), jackknife[:, j], tail)
        if not np.isnan(shares).any():
            low[j], high[j] = quantiles_of_known(column[:, None], shares)[:, 0]
    return low, high


def bca_shares(replicates: Floats, estimate: float, jackknife: Floats, tail: float) -> Floats:
    """The two probabilities whose quantiles are the BCa limits, shape (2,); NaN where there are none."""
    known = replicates[~np.isnan(replicates)]
    if not known.size:
        return np.full(2, np.nan)
    # Ties with the estimate count half: a resample can reproduce a boundary exactly.
    below = float(np.mean(known < estimate) + 0.5 * np.mean(known == estimate))
    if not 0 < below < 1:
        return np.full(2, np.nan)
    if tail <= 0:
        return np.array([0.0, 1.0])
    bias = _NORMAL.inv_cdf(below)
    acceleration = jackknife_acceleration(jackknife)
    z = np.array([_NORMAL.inv_cdf(tail), _NORMAL.inv_cdf(1 - tail)])
    shifted = bias + (bias + z) / (1 - acceleration * (bias + z))
    return (
        np.array([_NORMAL.cdf(each) for each in shifted]) if np.isfinite(shifted).all() else shifted * np.nan
    )


def jackknife_acceleration(jackknife: Floats) -> float:
    """A sixth of the skewness of the jackknife's deviations (Efron & Tibshirani 1993, equation 14.15)."""
    known = jackknife[np.isfinite(jackknife)]
    if known.size < 2:
        return float("nan")
    known, _ = _scaled_down(known)  # the skewness has no unit
    deviation = known.mean() - known
    spread = float(np.sum(deviation**2))
    return float(np.sum(deviation**3) / (6 * spread**1.5)) if spread > 0 else 0.0


@beyond_float64()
def highest_density(replicates: Floats, tail: float) -> Limits:
    """The shortest interval that holds a share 1 - 2 tail of the finite replicates."""
    low, high = np.full(replicates.shape[1], np.nan), np.full(replicates.shape[1], np.nan)
    for j, column in enumerate(replicates.T):
        ordered = np.sort(column[np.isfinite(column)])
        # As many steps between the limits as between the central quantiles, so that both agree on a
        # symmetric sample.
        inside = int(np.ceil((1 - 2 * tail) * (ordered.size - 1)))
        if ordered.size >= 2:
            widths = ordered[inside:] - ordered[: ordered.size - inside]
            first = int(np.argmin(widths))
            low[j], high[j] = ordered[first], ordered[first + inside]
    return low, high


def standard_errors(replicates: Floats) -> Floats:
    """Standard deviation of the finite replicates, 1/(R-1), over the first axis; NaN for fewer than two."""
    finite = np.isfinite(replicates)
    count = finite.sum(axis=0)
    values, exponent = _scaled_down(np.where(finite, replicates, 0.0))
    with beyond_float64():
        mean = values.sum(axis=0) / count
        squares = np.where(finite, (values - mean) ** 2, 0.0).sum(axis=0)
        return np.where(count > 1, np.ldexp(np.sqrt(squares / (count - 1)), exponent), np.nan)


def has_standard_error(estimate: float, standard_error: float) -> bool:
    """Whether the spread says anything: one above 100 times the estimate is that of a few resamples.

    A and B of resamples that hardly determine them reach 10^100; their logarithms have a spread, they do not.
    An estimate of 0, which is E at its bound, is no measure.
    """
    return not estimate or not standard_error > MEANINGLESS * abs(estimate)


def simultaneous_tail(replicates: Floats, tail: float) -> float:
    """The tail at which pointwise percentile limits hold a share 1 - 2 tail of whole curves.

    The envelope of Davison & Hinkley 1997, section 4.2.4: the depth of a replicate's curve is the smallest
    tail probability of its values over the q places. The limits are such that a share 2 tail of the curves
    leaves them somewhere.

    Args:
        replicates: (R, q), one curve a row, without NaN.
        tail: of the simultaneous band.

    Returns:
        A tail between 0 and `tail`; NaN for fewer than two curves.
    """
    count = len(replicates)
    if count < 2:
        return float("nan")
    rank = np.argsort(np.argsort(replicates, axis=0, kind="stable"), axis=0, kind="stable")
    depth = np.minimum(rank, count - 1 - rank).min(axis=1) / (count - 1)
    # Curves of smaller depth lie outside somewhere.
    return float(min(np.quantile(depth, 2 * tail, method="lower"), tail))


def _scaled_down(values: Floats) -> tuple[Floats, NDArray[np.intc]]:
    """Values over the first axis times a power of two, at most 1 in size, and that power's negative exponent.

    No bit of a sum or a square changes, and none of them overflows.
    """
    _, exponent = np.frexp(np.abs(values).max(axis=0))
    return np.ldexp(values, -exponent), exponent
