"""Quantiles of a mixture of samples, each sample of the same weight, without sorting all of them.

The values between two neighbouring splitters make a bin. One pass adds up the weight of each bin; a second
collects the values of the few bins in which the quantiles lie, and only these are sorted. So 10^5 analyses of
400 resamples take memory for a block of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.blocks import row_blocks

Floats = NDArray[np.float64]

_SPLITTERS = 512
_ROUNDING = 1e-12  # of the total weight: sums in another order may fall short of a jump by so much


def mixture_quantiles(rows: Floats, probabilities: Sequence[float]) -> Floats:
    """The smallest values at which the mean of the rows' distribution functions reaches each probability.

    Args:
        rows: (n, R), one sample per row; NaN are left out, infinities keep their place.
        probabilities: (p,), each in [0, 1].

    Returns:
        (p,); NaN where no row has a value.
    """
    counts = np.sum(~np.isnan(rows), axis=1)
    if not counts.any():
        return np.full(len(probabilities), np.nan)
    splitters = _splitters(rows)
    mass = np.zeros(len(splitters) + 1)
    for values, weights in _values(rows, counts):
        mass += np.bincount(np.searchsorted(splitters, values), weights=weights, minlength=len(mass))
    upto = np.cumsum(mass)
    wanted = np.asarray(probabilities) * upto[-1] - _ROUNDING * upto[-1]
    bins = np.minimum(np.searchsorted(upto, wanted), int(np.flatnonzero(mass)[-1]))
    found = {int(each): _inside(rows, counts, splitters, int(each)) for each in np.unique(bins)}
    result = np.empty(len(bins))
    for i, (target, chosen) in enumerate(zip(wanted, bins, strict=True)):
        values, weights = found[int(chosen)]
        reached = np.searchsorted(upto[chosen] - mass[chosen] + np.cumsum(weights), target)
        result[i] = values[min(int(reached), len(values) - 1)]
    return result


def _inside(rows: Floats, counts: NDArray[np.intp], splitters: Floats, chosen: int) -> tuple[Floats, Floats]:
    """The values in one bin, ascending, with their weights."""
    low = splitters[chosen - 1] if chosen else None
    high = splitters[chosen] if chosen < len(splitters) else np.inf
    kept = []
    for values, weights in _values(rows, counts):
        inside = values <= high if low is None else (values > low) & (values <= high)
        kept.append((values[inside], weights[inside]))
    values, weights = (np.concatenate(each) for each in zip(*kept, strict=True))
    order = np.argsort(values, kind="stable")
    return values[order], weights[order]


def _splitters(rows: Floats) -> Floats:
    """Ascending values that part the rows into bins of about equal weight."""
    step = max(rows.size // (64 * _SPLITTERS), 1)
    drawn = np.sort(rows.ravel()[::step])  # NaN last
    drawn = drawn[: len(drawn) - int(np.isnan(drawn).sum())]
    return np.unique(drawn[:: max(len(drawn) // _SPLITTERS, 1)])


def _values(rows: Floats, counts: NDArray[np.intp]) -> Iterator[tuple[Floats, Floats]]:
    """Values with their weights, some rows at a time."""
    for some in row_blocks(*rows.shape):
        block, own = rows[some], counts[some]
        yield block[~np.isnan(block)], np.repeat(1.0 / np.maximum(own, 1), own)
