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
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import out_of_memory
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws.chinchilla import Chinchilla
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, MOST_RANKS, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import overflows
from chinchilla_jax.solvers.jax_newton.calls import Calls
from chinchilla_jax.solvers.jax_newton.verdicts import verdicts
from chinchilla_jax.solvers.pool_starts import PoolStarts
from chinchilla_jax.solvers.status import Status, is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats, Law
    from chinchilla_jax.solvers.base import Problem
    from chinchilla_jax.solvers.batch import Batch
    from chinchilla_jax.solvers.jax_newton.device_calls import Begun, DeviceCalls, Pooled
    from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits
    from chinchilla_jax.solvers.pool_starts import Pool, Starts

_WIDEST = 0.1  # half-width of the quadratic zone at the start, in log loss
_MOST_WIDENING = 1e12
# Calls that a device has at a time: it takes the steps of one while the host is busy with the last.
_AHEAD = 2


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
    from chinchilla_jax.solvers.jax_newton.compiled import give_less, has_float64, host, in_one_call
    from chinchilla_jax.solvers.xla_options import default_platform

    law, problems, condition = batch.law, batch.problems, batch.condition
    count = len(batch)
    _check(batch, candidates, (down, up))
    if not count:
        return Solution.empty(0, law.size)
    found = Solution.empty(count, law.size)
    lost = np.flatnonzero(~batch.valid)
    found.put(lost, Solution.invalid(len(lost), law.size))
    # Data sets side by side: a call holds a few of them.
    lanes = np.flatnonzero(batch.valid)
    if len(problems) > 1:
        lanes = lanes[np.argsort(_turns(batch, candidates)[condition[lanes]], kind="stable")]
    platform = platform or default_platform()
    narrowest = np.minimum(down, up) if options.wide_start else None
    starts: Any = None if isinstance(candidates, PoolStarts) else _begun(batch, candidates, narrowest)
    limits = _limits(options, law, platform)
    shared = (problems, batch.weights, condition, batch.row, down, up, options, platform)

    def settle(part: NDArray[np.intp], ends: Ends) -> None:
        found.put(part, verdicts(batch[part], ends, down[part], up[part], options.tolerance, judged=judged))

    if in_one_call(platform):
        from chinchilla_jax.solvers.jax_newton.device_calls import DeviceCalls

        device = DeviceCalls(*shared, judged=judged)
        if isinstance(candidates, PoolStarts):
            starts = device.pooled(candidates, lambda pool: _begun_from(pool, options.wide_start))
        try:
            _by_device(device, batch, lanes, starts, limits, found, settle, on_progress)
        except Exception as error:
            if out_of_memory(error):
                give_less(platform)
            raise
    else:
        call = Calls(*shared)
        assert not isinstance(candidates, PoolStarts)

        def work(part: NDArray[np.intp]) -> None:
            with float64_scope():
                ends = call(part, starts, limits)
            settle(part, ends)
            if on_progress is not None:
                on_progress(len(part))

        _in_threads(work, call.parts(lanes), call.workers)
    if not has_float64(platform) and host() is not None and not isinstance(candidates, PoolStarts):
        rest = lanes[~is_certified(found.status[lanes])]
        reached = found.theta[rest]
        begun = np.where(np.isfinite(reached).all(axis=1, keepdims=True), reached, starts[0, rest, :-1])
        finished = fit_lanes(
            batch[rest], [begun], down=down[rest], up=up[rest], options=options, judged=judged, platform="cpu"
        )
        finished.steps[:] += found.steps[rest]
        found.put(rest, finished)
    return found


def _turns(batch: Batch, candidates: Starts) -> NDArray[np.intp]:
    """The turn of each data set (C,): first those of many starts, whose lanes take longest to end."""
    if not isinstance(candidates, PoolStarts):
        return np.arange(len(batch.problems))
    ranks = {id(pool.problem): pool.ranks for pool in candidates.pools}
    order = np.argsort([-ranks.get(id(problem), 0) for problem in batch.problems], kind="stable")
    return np.argsort(order)


def _by_device(
    call: DeviceCalls,
    batch: Batch,
    lanes: NDArray[np.intp],
    starts: Floats | Pooled,
    limits: Limits,
    found: Solution,
    settle: Callable[[NDArray[np.intp], Ends], None],
    on_progress: Callable[[int], None] | None,
) -> None:
    """Calls one after the other, each given to the device while those before it run."""
    from chinchilla_jax.solvers.jax_newton.judged import UNSURE

    waiting: deque[tuple[NDArray[np.intp], Begun]] = deque()

    def receive() -> None:
        part, begun = waiting.popleft()
        ended = begun.fetched()
        status = ended.status.copy()
        if call.judged:
            for problem, mine in batch[begun.lanes].data_sets():
                beyond = overflows(problem.law, problem.design, ended.theta[mine])
                status[mine] = np.where(beyond, Status.UNIDENTIFIED, status[mine])
        solution = Solution(
            theta=ended.theta,
            objective_value=ended.value,
            decrement=ended.decrement,
            status=status,
            steps=ended.steps,
        )
        found.put(begun.lanes, solution)
        for some, ends in begun.unsure(np.flatnonzero(ended.status == UNSURE)):
            settle(part[some], ends)
        if on_progress is not None:
            on_progress(len(part))

    for part in call.parts(lanes):
        with float64_scope():
            waiting.append((part, call.begin(part, starts, limits)))
        if len(waiting) == _AHEAD:
            receive()
    while waiting:
        receive()


def _begun_from(pool: Pool, wide: bool) -> Floats:
    """The members of a pool as starts of one lane each, (K, p + 1)."""
    problem, objective, found = pool.problem, pool.problem.objective, np.ones(len(pool.members))
    if wide:
        assert not isinstance(objective, HuberScale)
        narrowest = min(float(objective.down), float(objective.up)) / problem.loss_unit
        found = _widening(problem, pool.members, np.full(len(found), narrowest))
    begun = np.column_stack([pool.members, found])
    for j in problem.law.bounded:
        np.maximum(begun[:, j], 0.0, out=begun[:, j])
    return begun


def _in_threads(
    work: Callable[[NDArray[np.intp]], None], parts: list[NDArray[np.intp]], workers: int
) -> None:
    if min(workers, len(parts)) > 1:
        with ThreadPoolExecutor(min(workers, len(parts))) as pool:
            list(pool.map(work, parts))
    else:
        for part in parts:
            work(part)


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
    shapes = [np.shape(each) for each in candidates]
    if any(shape != (*lanes, law.size) for shape in shapes) or any(np.shape(x) != lanes for x in of_lanes):
        raise UsageError(
            f"{law.name}: starts {shapes} do not fit {law.size} parameters and {len(batch)} lanes; "
            "give candidates (lanes, parameters) and a zone for each lane"
        )
    if not 1 <= len(shapes) <= MOST_RANKS:
        raise UsageError(f"{len(shapes)} starts per lane; 1 to {MOST_RANKS} are taken")


def _begun(batch: Batch, candidates: Sequence[Floats], narrowest: Floats | None) -> Floats:
    """Starts (K, R, p + 1) as calls take them, see `rounds.Requests`.

    With a wide zone at first, where the `narrowest` of each lane (R,) is given.
    """
    found = np.empty((len(candidates), len(batch), batch.law.size + 1))
    found[..., -1] = 1.0
    for into, each in zip(found, candidates, strict=True):
        into[:, :-1] = each
        if narrowest is not None:
            for problem, mine in batch.data_sets():
                if problem.design.valid:
                    into[mine, -1] = _widening(problem, into[mine, :-1], narrowest[mine])
    for j in batch.law.bounded:
        np.maximum(found[..., j], 0.0, out=found[..., j])
    for into, following in itertools.pairwise(found):
        into[np.isfinite(following[:, :-1]).all(axis=1), -1] *= -1.0
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
    from chinchilla_jax.solvers.jax_newton.compiled import has_float64
    from chinchilla_jax.solvers.jax_newton.rounds import Limits

    spared = isinstance(law, Chinchilla) if platform == "cpu" else not has_float64(platform)
    if options.precision == "mixed" and not spared:
        # float32 steps would save up to a third of a fit, and take as long to compile as 300,000 fits; on a
        # GPU a fifth, and as long as millions. A study has more on a CPU, and those of the five-parameter law
        # can come here.
        options = dataclasses.replace(options, precision="float64")
    return Limits(
        np.float64(options.tolerance),
        np.int32(options.float32_steps),
        np.int32(options.float64_steps),
        np.int32(options.search_after),
    )
