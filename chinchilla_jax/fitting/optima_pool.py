"""A pool of known optima, from which further fits of the same runs begin.

Notation
    theta      internal coordinates, see `Law`; (..., p)
    pool       known optima; (K, p)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.solvers.base import SAME_VALUE
from chinchilla_jax.solvers.pool_starts import losses_of_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem, Solution

# Multiply-adds of one matrix product: small enough for the cache, and for BLAS to use one thread. The threads
# it would otherwise wake use half as much CPU time again for no gain.
_PRODUCT, _LEAST_ROWS = 400_000, 8
_PRODUCTS = 4  # of a call
_SORTED_FROM = 4  # ranks beyond which sorting is faster than to look for the lowest again and again
_OUTLYING = 4.0  # spreads from the median beyond which a member of a pool has no say in its direction
_APART = 0.1  # distance in standardised coordinates beyond which two optima are both kept as starts


def distinct_minima(solution: Solution, most: int = 16) -> NDArray[np.float64]:
    """Optima (k, p) of different objective values among the lanes of `solution`, best first."""
    usable = np.flatnonzero(solution.is_optimum)
    order = usable[np.argsort(solution.objective_value[usable], kind="stable")]
    kept: list[int] = []
    for lane in order:
        value = solution.objective_value[lane]
        if not kept or abs(value - solution.objective_value[kept[-1]]) > SAME_VALUE * abs(value):
            kept.append(int(lane))
        if len(kept) == most:
            break
    return solution.theta[kept]


def apart(pool: NDArray[np.float64], distance: float = _APART) -> NDArray[np.float64]:
    """The members of `pool` (K, p), in order, that lie `distance` from every one kept before; (k, p)."""
    left = pool
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[np.abs(left - left[0]).max(axis=1) > distance]
    return np.array(kept).reshape(-1, pool.shape[1])


def best_of_pool(
    problem: Problem, weights: NDArray[Any], pool: NDArray[np.float64], ranks: int
) -> NDArray[np.float64]:
    """For each resample (R, n) the `ranks` members of `pool` (K, p) of lowest objective; (ranks, R, p)."""
    return _lowest(_pool_values(problem, weights, pool), pool, ranks)


def best_of_parts(
    problem: Problem, weights: NDArray[Any], pool: NDArray[np.float64], parts: int
) -> NDArray[np.float64]:
    """For each resample (R, n) the best member of each part of `pool` (K, p); (parts, R, p).

    Equal parts of the pool along the line on which its members lie furthest apart, in units of their spread
    by coordinate: optima of resamples lie along a valley. No more parts than there are members.
    """
    parts = min(parts, len(pool))
    spread = pool.std(axis=0)
    unit = (pool - np.median(pool, axis=0)) / np.where(spread > 0, spread, 1.0)
    unit = np.clip(unit, -_OUTLYING, _OUTLYING)
    along = unit @ np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)[2][0]
    value = _pool_values(problem, weights, pool)
    lanes = np.array_split(np.argsort(along, kind="stable"), parts)
    return np.array([pool[mine[value[:, mine].argmin(axis=1)]] for mine in lanes])


def best_for_losses(
    problem: Problem,
    weights: NDArray[Any],
    log_losses: NDArray[np.float64],
    pool: NDArray[np.float64],
    ranks: int,
) -> NDArray[np.float64]:
    """`best_of_pool` for R data sets with log losses of their own (R, n) and weights (n,) in common."""
    value = np.empty((len(log_losses), len(pool)))
    for lane, losses in enumerate(log_losses):
        drawn = dataclasses.replace(problem, design=dataclasses.replace(problem.design, log_loss=losses))
        value[lane] = _pool_values(drawn, weights[None], pool)[0]
    return _lowest(value, pool, ranks)


def _lowest(value: NDArray[Any], pool: NDArray[np.float64], ranks: int) -> NDArray[np.float64]:
    """The `ranks` members of `pool` (K, p) of lowest value (R, K) in every row; (ranks, R, p)."""
    if ranks > _SORTED_FROM:
        return pool[np.argsort(value, axis=1, kind="stable")[:, :ranks].T]
    members = []
    for _ in range(min(ranks, len(pool))):
        members.append(value.argmin(axis=1))
        value[np.arange(len(value)), members[-1]] = np.inf
    return pool[np.array(members)]


def _pool_values(problem: Problem, weights: NDArray[Any], pool: NDArray[np.float64]) -> NDArray[Any]:
    """Objective of every member of `pool` (K, p) under every resample (R, n), in a unit of its own; (R, K).

    The order of near optima must not depend on the block they are computed in: sums of whole numbers are
    exact, in float32 where the weights are counts of n runs or fewer. Others are added up in float64.
    """
    of_runs = losses_of_runs(problem, pool)
    exact = of_runs.dtype == np.float32 and _counts_of_runs(weights)
    # In row order: BLAS takes twice as long for a few rows times a transpose.
    of_runs = np.ascontiguousarray(of_runs.T, np.float32 if exact else np.float64)
    value = np.empty((len(weights), len(pool)), of_runs.dtype)
    length = max(_PRODUCT // max(of_runs.size, 1), _LEAST_ROWS)
    first = 0
    while first < len(weights):
        # Several products in one call, which releases the GIL once.
        count = min(max((len(weights) - first) // length, 1), _PRODUCTS)
        rows = slice(first, min(first + count * length, len(weights)))
        many = np.asarray(weights[rows], dtype=of_runs.dtype)
        shape = (count, len(many) // count)
        np.matmul(many.reshape(*shape, -1), of_runs, out=value[rows].reshape(*shape, -1))
        first = rows.stop
    return value


def _counts_of_runs(weights: NDArray[Any]) -> bool:
    """Whether the weights (R, n) are counts, in all of n runs at most."""
    count, n_runs = weights.shape
    return weights.dtype == np.uint8 and (
        count == 0 or int(weights.sum(axis=1, dtype=np.uint32).max()) <= n_runs
    )
