"""The tail of the chi-squared distribution in logarithms, also where the probability underflows."""

from __future__ import annotations

import math

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import whole_number

_LARGE_HALF = 1e18


def log10_chi_squared_tail(statistic: float, degrees: int) -> float:
    """log10 of the probability that chi-squared exceeds `statistic`, also where it underflows.

    With h = statistic / 2 the tail is exp(-h) times sum_k h^k / k!, k from 0 to degrees/2 - 1, for even
    degrees, and times erfcx(sqrt(h)) + sum_k h^(k - 1/2) / Gamma(k + 1/2), k from 1 to (degrees - 1)/2, for
    odd ones (Abramowitz & Stegun 26.4.4 and 26.4.5).

    Raises:
        UsageError: degrees below 1, or a negative statistic.
    """
    from scipy.special import erfcx, gamma

    whole_number("chi-squared tail: degrees", degrees, low=1)
    if not statistic >= 0:
        raise UsageError(
            f"chi-squared tail: statistic = {short(statistic)}, give a number that is not negative"
        )
    half = np.float64(statistic) / 2
    if half > _LARGE_HALF:  # where the logarithm of the other factor is lost in the rounding of h
        return float(-half / math.log(10))
    if degrees % 2:
        terms = [half ** (k - 0.5) / gamma(k + 0.5) for k in range(1, (degrees - 1) // 2 + 1)]
        factor = erfcx(np.sqrt(half)) + sum(terms)
    else:
        factor = sum(half**k / math.factorial(k) for k in range(degrees // 2))
    return float((np.log(factor) - half) / math.log(10))
