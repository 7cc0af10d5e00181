"""Resample id to weights: a bootstrap resample is a vector of counts on the same runs.

Notation
    n_runs        n        runs in the table
    resample_ids  r        which resamples; (R,), any order, any subset
    weights       w_ri     how often run i is drawn in resample r; (R, n); rows sum to n

Drawing n runs with replacement (Efron 1979) and counting them keeps every shape static: nothing is gathered,
and the same ids give the same weights under every condition, so that comparisons are paired.

Keys are counter-based (random_bits.py): resample r of seed s is a function of (s, r) alone, whatever the
chunk, the order or the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import seed_number
from chinchilla_jax.bootstrapping.random_bits import counts_row, random_bits, random_counts
from chinchilla_jax.solvers.drawn import Row

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PAIRS, PILOT = 0, 1  # streams: resamples of a bootstrap, resamples that only seek starting points
# Further streams: the other schemes of schemes.py, resamples of resamples, simulated data sets.
CLUSTER, BAYESIAN, M_OUT_OF_N, DELETE, RESIDUAL, WILD, INNER, SIMULATED = range(2, 10)
SHARED = 32  # errors that the runs of a group of a simulated data set share
PERMUTED = 33  # permutations of residuals
MOST_INNER = 4096  # resamples of one resample
_LEAST_SHARE = 1e-12  # of a run in Dirichlet weights that vary so much that it would underflow
_CHUNK = 1024  # resamples whose inner ones are drawn at a time


def resample_weights(
    n_runs: int, resample_ids: ArrayLike, seed: int, *, stream: int = PAIRS
) -> NDArray[np.uint8]:
    """Weights (R, n_runs) of the resamples `resample_ids` (R,) under `seed`.

    Args:
        n_runs: number of runs, at least 1.
        resample_ids: non-negative whole numbers below 2^32.
        seed: whole number from 0 to 2^32 - 1.
        stream: separates uses that must not share numbers.

    Returns:
        uint8 counts. A count above 255 needs a run drawn that often where once is expected: never seen.

    Raises:
        UsageError: an id or the seed is out of range.
    """
    return random_counts(n_runs, checked_ids(resample_ids), seed_number(seed), stream)


def counted(draws: int, n_runs: int, stream: int) -> Row:
    """Rows of counts: how often each of `n_runs` comes up in `draws` draws; see solvers/drawn.py."""
    return Row(counts_row, _counts_rows, (draws, n_runs, stream), n_runs)


def _counts_rows(
    draws: int, n_runs: int, stream: int, ids: NDArray[np.uint32], seed: int
) -> NDArray[np.uint8]:
    if draws == n_runs:
        return random_counts(n_runs, ids, seed, stream)
    return counts_of(whole_below(random_bits(draws, ids, seed, stream), n_runs), n_runs).astype(np.uint8)


def resample_bits(width: int, resample_ids: ArrayLike, seed: int, *, stream: int) -> NDArray[np.uint32]:
    """Random bits (R, width), a row a function of its id, the seed and the stream alone."""
    return random_bits(width, checked_ids(resample_ids), seed_number(seed), stream)


def inner_weights(weights: NDArray[np.integer], ids: ArrayLike, inner: int, seed: int) -> NDArray[np.uint8]:
    """Weights (R, K, n) of K resamples of each resample, as a nested bootstrap needs them.

    Args:
        weights: counts of the resamples themselves, (R, n), whole numbers with rows that add up to n.
        ids: which resamples these are, (R,), below 2^20.
        inner: K, from 1 to 4096; the first of them are the same whatever K.
        seed: as for the resamples.

    Raises:
        UsageError: K, an id or the seed is out of range.
    """
    outer = np.asarray(ids, dtype=np.int64)
    if not 1 <= inner <= MOST_INNER or (outer.size and outer.max() >= 2**32 // MOST_INNER):
        raise UsageError(
            f"inner={short(inner)}: give 1 to {MOST_INNER} inner resamples of at most 2^20 resamples"
        )
    n_runs = weights.shape[1]
    rows = (outer[:, None] * MOST_INNER + np.arange(inner)).ravel()
    members = np.repeat(np.tile(np.arange(n_runs), len(weights)), weights.ravel()).reshape(-1, n_runs)
    result = np.empty((len(weights), inner, n_runs), np.uint8)
    for first in range(0, len(weights), _CHUNK):
        part = slice(first, min(first + _CHUNK, len(weights)))
        places = whole_below(
            resample_bits(n_runs, rows[part.start * inner : part.stop * inner], seed, stream=INNER), n_runs
        ).reshape(-1, inner, n_runs)
        drawn = np.take_along_axis(members[part][:, None, :], places, axis=2)
        result[part] = counts_of(drawn.reshape(-1, n_runs), n_runs).reshape(-1, inner, n_runs)
    return result


def dirichlet_weights(
    count: int, resample_ids: ArrayLike, seed: int, concentration: float, *, stream: int
) -> NDArray[np.float64]:
    """`count` times Dirichlet(c, ..., c) weights (R, count), c the concentration; rows sum to `count`.

    The share of each, Gamma(c) before the division by their sum, is the quantile of one random number.
    """
    uniform = (resample_bits(count, resample_ids, seed, stream=stream) + 0.5) / 2.0**32
    if concentration == 1:
        shares = -np.log(uniform)
    else:
        from scipy.special import gammainccinv

        shares = np.maximum(gammainccinv(concentration, uniform), _LEAST_SHARE)
    return np.asarray(count * shares / shares.sum(axis=1, keepdims=True))


def concentration(groups: int, fitted: float) -> float:
    """The concentration ((G - q) / G)^(3/2) of weights on G runs or groups, q parameters estimated from them.

    It tends to 1 (Rubin 1981) for many. A power of 1 makes up for what the fit takes from the residuals, the
    rest for how little is known of their size: Student's t has wider quantiles than the normal distribution.
    Between 1.25 and 1.75, simulated coverage depends little on it.

    Args:
        groups: G, at least 1.
        fitted: q, zero or more; counted as at most G - 1/2.
    """
    return float((max(groups - fitted, 0.5) / groups) ** 1.5)


def used_runs(n_runs: int, weights: NDArray[np.float64] | None) -> int:
    """How many of so many runs have a weight; `weights` (n,), or None for all of them."""
    return n_runs if weights is None else int(np.count_nonzero(weights))


def leave_one_out(n_runs: int) -> NDArray[np.uint8]:
    """Weights (n, n) without each run in turn."""
    return (1 - np.eye(n_runs, dtype=np.uint8)).astype(np.uint8)


def whole_below(bits: NDArray[np.uint32], bound: int) -> NDArray[np.int64]:
    """Bits as whole numbers from 0 to bound - 1, uniform to bound / 2^32."""
    return ((bits.astype(np.uint64) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def counts_of(index: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """How often each of 0..size-1 occurs in each row of `index` (R, m); (R, size)."""
    rows = len(index)
    flat = np.arange(rows)[:, None] * size + index
    return np.bincount(flat.ravel(), minlength=rows * size).reshape(rows, size)


def checked_ids(resample_ids: ArrayLike) -> NDArray[np.uint32]:
    """Ids of resamples (R,).

    Raises:
        UsageError: one is no whole number from 0 to 2^32 - 1.
    """
    ids = np.asarray(resample_ids)
    if ids.ndim != 1 or (
        ids.size and (not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= 2**32)
    ):
        raise UsageError("resample_ids must be a one-dimensional array of whole numbers from 0 to 2^32 - 1")
    return ids.astype(np.uint32)
