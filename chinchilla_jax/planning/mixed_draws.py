"""Draws of several laws as one sample: the mixture in which each law counts as much as its weight.

| code    | symbol | shape    | meaning                                                    |
|---------|--------|----------|------------------------------------------------------------|
| draws   |        | (R_k, m) | ln of the loss at m places under the resampled fits of law k |
| weights | w_k    | (K,)     | of the laws, with a sum of 1                               |
| within  |        | (m,)     | sd of ln L: sqrt(sum_k w_k var_k), of a law around its mean |
| between |        | (m,)     | sqrt(sum_k w_k (mean_k - mean)^2), of the laws' means       |

The variance of the mixture is within^2 + between^2. Its quantiles are taken of all draws together, a draw of
law k with the weight w_k / R_k: where laws part ways, the interval reaches from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.intervals.quantiles import central_tails

Floats = NDArray[np.float64]


def mixed_limits(draws: Sequence[Floats], weights: Floats, level: float) -> Floats:
    """Lower and upper limit of the central interval of the mixture at each place, (2, m)."""
    counted = [place for place, weight in enumerate(weights) if weight > 0]
    values = np.concatenate([draws[k] for k in counted])
    each = np.concatenate([np.full(len(draws[k]), weights[k] / len(draws[k])) for k in counted])
    order = np.argsort(values, axis=0)
    share = each[order]
    # In the middle of its own weight each draw is the quantile of all that lies below it.
    ranks = (np.cumsum(share, axis=0) - 0.5 * share) / each.sum()
    ordered = np.take_along_axis(values, order, axis=0)
    tails = central_tails(level)
    found = [np.interp(tails, ranks[:, place], ordered[:, place]) for place in range(values.shape[1])]
    return np.stack(found, axis=1)


def spreads(draws: Sequence[Floats], weights: Floats) -> tuple[Floats, Floats]:
    """Standard deviations within the laws and between them, (m,) each."""
    means = np.stack([values.mean(axis=0) for values in draws])
    variances = np.stack([values.var(axis=0) for values in draws])
    between = weights @ (means - weights @ means) ** 2
    return np.sqrt(weights @ variances), np.sqrt(between)
