"""How wide Huber's quadratic zone should be for these data: `delta="auto"`.

Notation
    r_i      residuals of a fit; (n,)
    p        parameters of the law
    m        runs that as many of equal weight are worth: (sum w)^2 / sum w^2, n where all count the same
             (Kish 1965, Survey Sampling)
    sigma    robust scale of the residuals: 1.4826 sqrt(m / (m - p)) med |r_i|, which is the standard
             deviation of normal errors
    delta    1.345 sigma

With a delta far below sigma nearly every residual is in the linear part: the fit is least absolute deviations
in effect, which needs 57% more runs for the same precision where errors are normal. With 1.345 sigma it needs
5% more (Huber & Ronchetti 2009, Robust Statistics, 2nd ed.), and outliers still count by their sign alone.

The median is around zero, the Huber location of the residuals at an optimum: raising all terms of a law in
one proportion moves every log loss alike, so that sum_i w_i psi(r_i) = 0. The fitted law passes nearer to
the runs than the true one does, by a factor sqrt((m - p) / m) for normal errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.solvers.requests import Asking

if TYPE_CHECKING:
    from numpy.typing import NDArray

EFFICIENT = 1.345  # delta / sigma at which Huber's estimator is 95% efficient on normal errors
LEAST_ABSOLUTE = 3.0  # sigma / delta above which the fit is least absolute deviations in effect
LEAST_SQUARES = 1 / 3  # and below which it is least squares
_NORMAL = 1.4826  # standard deviation of normal errors over their median size
_SMALLEST = (
    1e-4  # delta of log losses: smaller residuals are rounding of the losses, or there is no noise at all
)
_MOST_TURNS, _SETTLED = 30, 1e-4
_PATIENCE = 6  # turns without a bracket of the answer after which steps get longer
_LONGEST = 30.0  # of a secant's step, in those that the residuals ask for
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
    worth = effective_runs(w)
    if worth <= size or not np.isfinite(r).all():
        return math.nan
    order = np.argsort(r)
    r, share = r[order], np.cumsum(w[order]) / np.sum(w)
    # The usual median where all weights are the same: between two runs if just half the weight lies below.
    low, high = np.searchsorted(share, [0.5 - 1e-12, 0.5 + 1e-12])
    return float(_NORMAL * math.sqrt(worth / max(worth - size, 1.0)) * 0.5 * (r[low] + r[high]))


def effective_runs(weights: NDArray[np.float64]) -> float:
    """How many runs of equal weight these are worth, m; at most as many as have a weight."""
    used = weights[weights > 0]
    return float(used.sum() ** 2 / np.sum(used**2)) if len(used) else 0.0


def largest_scale(residuals: NDArray[np.float64], weights: NDArray[np.float64] | None, size: int) -> float:
    """The sigma that normal errors of these runs stay below in nine cases of ten; NaN for too few runs.

    From the root mean square of residuals cut off at three robust scales: the median varies twice as much.

    Args:
        residuals: see `robust_scale`; the same for the others.
        weights: of the runs.
        size: number of parameters.
    """
    scale = robust_scale(residuals, weights, size)
    if not math.isfinite(scale):
        return math.nan
    w = np.ones_like(residuals) if weights is None else weights
    used = w > 0
    squares = np.average(np.minimum(residuals[used] ** 2, (3.0 * scale) ** 2), weights=w[used])
    worth = effective_runs(w)
    return float(math.sqrt(squares * worth / _low_chi_squared(max(worth - size, 1.0))))


def _low_chi_squared(degrees: float) -> float:
    """The 10% quantile of chi squared, to 1.4%.

    By Wilson and Hilferty (1931, PNAS 17, 684), and exactly at 1 and 2 degrees, between which it is a line:
    SciPy would take longer to load than a fit takes.
    """
    if degrees < 3:
        return float(np.interp(degrees, [1, 2, 3], [0.01579, 0.21072, 0.58437]))
    tail = 2 / (9 * degrees)
    return degrees * float(1 - tail - 1.28155 * math.sqrt(tail)) ** 3


def ask_automatic_delta(
    scale_at: Callable[[float], Asking[float]], first: float, highest: float = math.inf, unit: float = 1.0
) -> Asking[float]:
    """The delta of which a fit has residuals of scale delta / 1.345; three significant digits. A procedure.

    Few digits, so that every machine finds the same number and a reader can pass it on. Where the residuals
    jump past that scale, because another optimum becomes the best, it is the delta that comes nearest.

    Args:
        scale_at: the scale of the residuals of a fit with this delta; NaN where there is none.
        first: delta to begin with, and to stay with where there is no scale.
        highest: delta that no law worth its name asks for.
        unit: of delta: 1 for residuals of log losses, a typical loss for those of losses.
    """
    smallest = _SMALLEST * unit
    delta = min(max(first, smallest), max(highest, smallest))
    nearest, found = math.inf, delta
    tried: list[tuple[float, float]] = []  # ln delta, and ln of what the residuals ask for less that
    for _ in range(_MOST_TURNS):
        scale = yield from scale_at(delta)
        if not math.isfinite(scale):
            return first
        wanted = min(max(EFFICIENT * scale, smallest), max(highest, smallest))
        tried.append((math.log(delta), math.log(wanted / delta)))
        if abs(tried[-1][1]) < nearest:
            nearest, found = abs(tried[-1][1]), delta
        if nearest <= _SETTLED:
            break
        step = _next(tried)
        if abs(step) <= 1e-3 * _SETTLED:  # both sides of a jump are known
            break
        delta = min(max(delta * math.exp(step), smallest), max(highest, smallest))
    return float(f"{found:.{_DIGITS}g}")


def _next(tried: list[tuple[float, float]]) -> float:
    """The next step of ln delta: what the residuals ask for, a secant's, or half of what is left between."""
    x, miss = tried[-1]
    below = max((at for at, f in tried if f > 0), default=-math.inf)
    above = min((at for at, f in tried if f < 0 and at > below), default=math.inf)
    step = miss
    if len(tried) > 1:
        before, missed = tried[-2]
        slope = (miss - missed) / (x - before) if x != before else 0.0
        if slope < -1 / _LONGEST:
            step = -miss / slope
        elif len(tried) > _PATIENCE:  # the miss hardly changes: the delta asked for is far away
            step = 3 * miss
    if not below < x + step < above or (len(tried) > _PATIENCE and len(tried) % 2):
        if math.isfinite(below) and math.isfinite(above):
            return 0.5 * (below + above) - x
        step = miss
    return step


def highest_delta(losses: NDArray[np.float64], weights: NDArray[np.float64] | None, size: int) -> float:
    """Delta for residuals as large as those of a constant, the law that knows nothing of its runs.

    Args:
        losses: (n,), or their logarithms, as the objective takes residuals.
        weights: (n,) of the runs, None for all the same.
        size: number of parameters p.
    """
    used = losses if weights is None else losses[weights > 0]
    if len(used) <= size:
        return math.inf
    return EFFICIENT * float(np.std(used)) * math.sqrt(len(used) / (len(used) - size))


def zone_sentence(ratio: float) -> str:
    """What it means that the residuals are `ratio` = sigma / delta times as wide as the zone."""
    if ratio > LEAST_ABSOLUTE:
        return "least absolute deviations in effect"
    if ratio < LEAST_SQUARES:
        return "least squares in effect"
    return "squared inside, absolute outside"
