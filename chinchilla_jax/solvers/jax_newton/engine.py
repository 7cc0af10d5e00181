"""Fit lanes of any law on any number of data sets: calls of a few shapes, threads, and rounds.

Notation
    R         lanes; each names its data set and its row of weights
    C, W      data sets; rows of weights, shared by the data sets
    n, p      runs; coordinates

A device whose float64 has fewer than 53 bits leaves to the host what it cannot certify.

The contract is that of solvers/base.py: a status for every lane, float64 certificates, and CONVERGED only
with a Newton decrement of at most the tolerance and a positive definite Hessian.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws.chinchilla import Chinchilla
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, MOST_RANKS, Solution, SolverOptions
from chinchilla_jax.solvers.jax_newton.calls import Calls, Pooled
from chinchilla_jax.solvers.jax_newton.verdicts import verdicts
from chinchilla_jax.solvers.pool_starts import PoolStarts
from chinchilla_jax.solvers.status import is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats, Law
    from chinchilla_jax.solvers.base import Problem
    from chinchilla_jax.solvers.batch import Batch
    from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits
    from chinchilla_jax.solvers.pool_starts import Pool, Starts

_WIDEST = 0.1  # half-width of the quadratic zone at the start, in log loss
_MOST_WIDENING = 1e12
_JUDGED = 2**17  # lanes


def fit_lanes(
    batch: Batch,
    candidates: Starts,
    *,
    down: Floats,
    up: Floats,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
    judged: bool = True,
    platform: str | None = None,
) -> Solution:
    """Fit R lanes on C data sets of one law, each from the best of its K starts.

    Args:
        batch: the lanes; data sets of one law and one kind of residual, with n runs each.
        candidates: starts of every lane, best guess first, each (R, p), NaN where a lane has no further one;
            or, where the device draws the weights, the pools that it takes them from.
        down: (R,) how far the quadratic zone reaches below zero, in units of `Problem.loss_unit`.
        up: (R,) how far it reaches above.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
        judged: whether to ask if the runs with a weight determine the law.
        platform: what takes the steps: "cpu", or None for what JAX computes on.

    Raises:
        UsageError: the shapes do not fit together.
    """
    from chinchilla_jax.solvers.jax_newton.compiled import default_platform, has_float64, host

    law, problems, weights = batch.law, batch.problems, batch.weights
    condition, row = batch.condition, batch.row
    count = len(batch)
    _check(batch, candidates, (down, up))
    if not count:
        return Solution.empty(0, law.size)
    found = Solution.empty(count, law.size)
    valid = np.array([problem.design.valid for problem in problems])[condition]
    lost = np.flatnonzero(~valid)
    found.put(lost, Solution.invalid(len(lost), law.size))
    # Data sets side by side: a call holds a few of them.
    lanes = np.flatnonzero(valid)
    lanes = lanes[np.argsort(condition[lanes], kind="stable")]
    platform = platform or default_platform()
    call = Calls(problems, weights, condition, row, down, up, options, platform)
    if isinstance(candidates, PoolStarts):
        starts: Floats | Pooled = call.pooled(candidates, lambda pool: _begun_from(pool, options.wide_start))
    else:
        starts = _begun(batch, lanes, np.asarray(candidates, np.float64), down, up, options.wide_start)
    limits = _limits(options, law, platform)

    def settle(part: NDArray[np.intp], ends: Ends) -> None:
        for first in range(0, len(part), _JUDGED):  # of a large call, a part in memory at a time
            some = slice(first, first + _JUDGED)
            lanes, of_lanes = part[some], type(ends)(*(x[some] for x in ends))
            judgement = verdicts(
                batch[lanes], of_lanes, down[lanes], up[lanes], options.tolerance, judged=judged
            )
            found.put(lanes, judgement)
        if on_progress is not None:
            on_progress(len(part))

    def work(part: NDArray[np.intp]) -> None:
        with float64_scope():
            ends = call(part, starts, limits)
        settle(part, ends)

    _in_threads(work, call.parts(lanes), call.workers)
    if not has_float64(platform) and host() is not None and not isinstance(starts, Pooled):
        rest = lanes[~is_certified(found.status[lanes])]
        reached = found.theta[rest]
        begun = np.where(np.isfinite(reached).all(axis=1, keepdims=True), reached, starts[0, rest, :-1])
        finished = fit_lanes(
            batch[rest], [begun], down=down[rest], up=up[rest], options=options, judged=judged, platform="cpu"
        )
        finished.steps[:] += found.steps[rest]
        found.put(rest, finished)
    return found


def _in_threads(
    work: Callable[[NDArray[np.intp]], None], parts: list[NDArray[np.intp]], workers: int
) -> None:
    if min(workers, len(parts)) > 1:
        with ThreadPoolExecutor(min(workers, len(parts))) as pool:
            list(pool.map(work, parts))
    else:
        for part in parts:
            work(part)


def _begun(
    batch: Batch, lanes: NDArray[np.intp], starts: Floats, down: Floats, up: Floats, wide: bool
) -> Floats:
    """Starts (K, R, p) as the stages take them, see `rounds.with_widening`; of these lanes."""
    from chinchilla_jax.solvers.jax_newton.rounds import with_widening

    widening = np.ones(starts.shape[:2])
    if wide:
        for number in np.unique(batch.condition[lanes]):
            some = lanes[batch.condition[lanes] == number]
            narrowest = np.minimum(down, up)[some]
            widening[:, some] = [_widening(batch.problems[number], each[some], narrowest) for each in starts]
    return np.asarray(with_widening(_above_bounds(batch.law.bounded, starts), widening))


def _begun_from(pool: Pool, wide: bool) -> Floats:
    """The members of a pool (K, p) likewise, (K, p + 1)."""
    widening = np.ones(len(pool.members))
    if wide:
        objective = pool.problem.objective
        assert not isinstance(objective, HuberScale)
        narrowest = min(float(objective.down), float(objective.up)) / pool.problem.loss_unit
        widening = _widening(pool.problem, pool.members, np.full(len(pool.members), narrowest))
    return np.column_stack([_above_bounds(pool.problem.law.bounded, pool.members), widening])


def _check(batch: Batch, candidates: Starts, of_lanes: tuple[NDArray[Any], ...]) -> None:
    law, first = batch.law, batch.problems[0]
    if any(type(p.law) is not type(law) or p.raw != first.raw for p in batch.problems):
        raise UsageError("the data sets of one call have different laws or residuals; give one law")
    if any(len(p.design) != batch.n_runs for p in batch.problems) or (
        np.ndim(batch.weights) != 2 or batch.weights.shape[1] != batch.n_runs
    ):
        raise UsageError(
            f"{law.name}: weights {np.shape(batch.weights)} do not fit {batch.n_runs} runs in every data "
            "set; give weights (rows, runs)"
        )
    lanes = (len(batch),)
    if isinstance(candidates, PoolStarts):
        return
    starts = np.asarray(candidates, np.float64)
    if starts.shape[1:] != (*lanes, law.size) or any(np.shape(x) != lanes for x in of_lanes):
        raise UsageError(
            f"{law.name}: starts {starts.shape} do not fit {law.size} parameters and {len(batch)} lanes; "
            "give candidates (lanes, parameters) and a zone for each lane"
        )
    if len(starts) > MOST_RANKS:
        raise UsageError(f"{len(starts)} starts per lane; at most {MOST_RANKS} are taken")


def _above_bounds(bounded: tuple[int, ...], starts: Floats) -> Floats:
    found = starts.copy()
    found[..., list(bounded)] = np.maximum(found[..., list(bounded)], 0.0)
    return found


def _widening(problem: Problem, starts: Floats, narrowest: Floats) -> Floats:
    """How many times its final width the quadratic zone has at each start: as wide as the residuals."""
    narrow = np.isfinite(narrowest) & (narrowest < _WIDEST)
    if not narrow.any():
        return np.ones(len(starts))
    with np.errstate(all="ignore"):
        size = np.median(np.abs(problem.counted(starts)), axis=1)
    size = np.where(np.isfinite(size), size, _WIDEST)
    narrowest = np.where(narrow, np.maximum(narrowest, 1e-300), 1.0)
    most = np.minimum(_WIDEST / np.maximum(narrowest, 1e-12), _MOST_WIDENING)
    return np.where(narrow, np.clip(size / narrowest, 1.0, np.maximum(most, 1.0)), 1.0)


def _limits(options: SolverOptions, law: Law, platform: str) -> Limits:
    from chinchilla_jax.solvers.jax_newton.compiled import in_one_call
    from chinchilla_jax.solvers.jax_newton.rounds import Limits

    if options.precision == "mixed" and not (in_one_call(platform) or isinstance(law, Chinchilla)):
        # float32 steps would save up to a third of a fit, and take as long to compile as 300,000 fits.
        # A study has more, and those of the five-parameter law can come here.
        options = dataclasses.replace(options, precision="float64")
    return Limits(
        np.float64(options.tolerance),
        np.int32(options.float32_steps),
        np.int32(options.float64_steps),
        np.int32(options.search_after),
    )
