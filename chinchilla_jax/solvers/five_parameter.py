"""The five-parameter law by the CPU kernel: chunks of lanes, threads, and what the certificates mean.

The kernel (lane_kernel/) takes one lane after the other, by the decisions of the engine for any law
(thresholds.py); engine_choice.py says which of the two it is. In mixed precision the first stage runs in
float32; every certificate is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.chinchilla import CHINCHILLA
from chinchilla_jax.laws.design import FLOOR, LARGEST_EXPONENT
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.separation import NEAR_LINE, spread_without_one
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, MOST_RANKS, ONE_TRY, Solution, SolverOptions, Tries
from chinchilla_jax.solvers.certificate import (
    certify,
    doubtful_runs,
    identifiable,
    log_weaker_by_range,
    surely_certified,
    vanished,
)
from chinchilla_jax.solvers.lane_kernel.engine import EngineResult, LaneEngine
from chinchilla_jax.solvers.status import Status, is_certified
from chinchilla_jax.solvers.thresholds import MET, RUNNING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.batch import Batch
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

_SIZE = CHINCHILLA.size
_SAFE_STEP = 1e-10  # decrement below which the next step is taken without a look at where it leads
_DELICATE = 0.05  # standardised exponent, or E, below which a certificate is checked again
_LOG_FAINT = math.log(1e-3)  # ln of a term relative to E below which it is checked again too
_LARGEST_LOG = 690.0  # of A or B in natural units: beyond it they overflow


def solve_lanes(
    kernel: Kernel,
    batch: Batch,
    candidates: Sequence[NDArray[np.float64]],
    widths: NDArray[np.float64],
    *,
    options: SolverOptions = DEFAULT_OPTIONS,
    tries: Tries = ONE_TRY,
    on_progress: Callable[[int], None] | None = None,
    judged: bool = True,
) -> Solution:
    """Fit the five-parameter law in every lane with a Huber zone of its own half-width.

    With several candidates, only the float32 stage runs for all of them, and a later one only as long as it
    may still end below the best so far; the float64 finish and certificate are for the best. With
    precision="float64" there is no such stage, and only the best guess is used.

    Args:
        kernel: what takes the steps.
        batch: the lanes, all of data sets that can be fitted; the objective's zone is given by `widths`.
        candidates: starts of every lane, best guess first, each (R, 5).
        widths: (R,) half-widths of the zone.
        options: how hard to try.
        tries: lanes of each row of weights, which follow each other.
        on_progress: called with the number of lanes just finished.
        judged: whether to ask if the data determine the law; fits that only lead to others are not judged,
            and their status is what the steps ended with.
    """
    count = len(batch)
    if options.precision == "float64":
        candidates = candidates[:1]
    if len(candidates) > MOST_RANKS:
        raise UsageError(f"{len(candidates)} starts per lane; at most {MOST_RANKS} are taken")
    starts = np.asarray(candidates, dtype=np.float64)
    # The kernel reads memory by these shapes.
    if starts.shape[1:] != (count, _SIZE) or widths.shape != (count,):
        raise UsageError(
            f"starts {starts.shape[1:]} and widths {widths.shape} do not fit {count} lanes; give starts "
            "(lanes, 5) and a width for each lane"
        )
    solution = Solution.empty(count, _SIZE)
    engine = LaneEngine(kernel, batch.n_runs, options)
    length = -(-engine.lanes_per_call(count) // tries.count) * tries.count  # a row's tries in one call

    def work(first: int) -> None:
        lanes = slice(first, min(first + length, count))
        part, width, first_width = batch[lanes], widths[lanes], widths[lanes]
        if options.wide_start or tries.wide:
            first_width = first_width.copy()
            wide = np.arange(len(part)) % tries.count >= (0 if options.wide_start else tries.near)
            first_width[wide] = _first_width(part[wide], starts[0, lanes][wide], width[wide])
        ends = engine(part, starts[:, lanes], width, first_width, tries.count)
        apart, same = _ends_apart(ends.status, tries.count)
        found = _outcome(part[apart], width[apart], ends.of_lanes(apart), options)
        if judged:
            _judge(part[apart], found, width[apart], options.tolerance)
        if tries.count > 1:
            found = found[same]
            found.steps[:] = ends.steps
        solution.put(lanes, found)
        if on_progress is not None:
            on_progress(lanes.stop - first)

    firsts = range(0, count, length)
    workers = min(engine.workers, len(firsts))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, firsts))
    else:
        for first in firsts:
            work(first)
    return solution


def _ends_apart(
    status: NDArray[np.integer], tries: int
) -> tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]:
    """The lanes (R,) that went to ends of their own, and for every lane which of these ends is its."""
    if tries == 1:
        return slice(None), slice(None)
    lane = np.arange(len(status))
    met = status <= MET
    end = np.where(met, lane - lane % tries + MET - status, lane)
    apart = np.flatnonzero(~met)
    return apart, np.searchsorted(apart, end)


def _first_width(
    batch: Batch, starts: NDArray[np.float64], widths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Zone to begin with: as wide as the residuals at the start, within reason."""
    # Lanes of one data set often begin at the same point, one after the other.
    same = (starts[1:] == starts[:-1]).all(axis=1) & (batch.condition[1:] == batch.condition[:-1])
    new = np.concatenate([[True], ~same]) if len(starts) else np.empty(0, bool)
    size = np.abs(batch[new].residuals(starts[new]))
    typical = np.partition(size, size.shape[1] // 2, axis=1)[:, size.shape[1] // 2]
    return np.clip(typical[np.cumsum(new) - 1], widths, 1e3 * widths)


def _outcome(
    batch: Batch,
    widths: NDArray[np.float64],
    ends: EngineResult,
    options: SolverOptions,
) -> Solution:
    """What became of lanes that an engine left like this."""
    status = np.where(ends.status < 0, Status.MAX_STEPS, ends.status).astype(np.int8)
    # The step that a certified lane would take next is free, and takes its error from 1e-7 to rounding; far
    # from there, as a loose tolerance allows, its end has not been looked at.
    free = is_certified(status) & (ends.decrement <= _SAFE_STEP)
    theta = np.where(free[:, None], ends.theta, ends.anchor)
    theta[status == Status.BOUNDARY, FLOOR] = 0.0
    # Certified at its anchor, with no step left for the last digits.
    at_target = ends.width <= widths * (1 + 1e-12)
    inside = (ends.anchor[:, FLOOR] > 0) & (np.maximum(*np.abs(ends.anchor[:, 3:].T)) <= LARGEST_EXPONENT)
    there = (ends.decrement <= options.tolerance) & at_target & inside
    status[(ends.status == RUNNING) & there] = Status.CONVERGED
    value = ends.anchor_value.copy()
    # A lane that ran out of steps between two series has no value yet.
    for lane in np.flatnonzero(~np.isfinite(value)):
        design, row = batch.problems[batch.condition[lane]].design, batch.weights[batch.row[lane]]
        with np.errstate(invalid="ignore"):  # a start at infinity, on runs without a weight
            found = Huber(float(widths[lane])).value(CHINCHILLA.residuals(theta[lane], design), row)
        value[lane] = found if np.isfinite(found) else np.inf
    return Solution(
        theta=theta,
        objective_value=value,
        decrement=np.asarray(ends.decrement, dtype=np.float64),
        status=status,
        steps=np.asarray(ends.steps, dtype=np.int32),
    )


def _judge(batch: Batch, solution: Solution, widths: NDArray[np.float64], tolerance: float) -> None:
    """Ask if the data sets of the lanes determine the law; `solution`'s statuses are changed in place."""
    log_weaker = log_weaker_by_range(batch.tables.ranges[:, batch.condition], solution.theta)
    spread, determined = _determined(batch)
    _name_degenerate(batch, solution, log_weaker, determined)
    _certify_again(batch, solution, log_weaker, spread, widths, tolerance)


def _determined(batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The spread of each lane's runs without one, inf where it is not small; whether they determine the law.

    Only rows with few runs are looked at, and those that all lanes of a data set have in common, unless these
    are all runs of a table that is far from a line.
    """
    spread, determined = np.full(len(batch), np.inf), np.ones(len(batch), bool)
    lanes = np.arange(len(batch))
    for problem, mine in batch.data_sets():
        design, row, asked = problem.design, batch.row[mine], lanes[mine]
        if (row == row[0]).all():
            if batch.used[asked[0]] == len(design) > doubtful_runs(CHINCHILLA, design):
                continue
            weights, of_lane = np.asarray(batch.weights[row[:1]]), np.zeros(len(asked), np.intp)
        else:
            asked = asked[batch.used[asked] <= doubtful_runs(CHINCHILLA, design)]
            if not len(asked):
                continue
            rows, of_lane = np.unique(batch.row[asked], return_inverse=True)
            weights = np.asarray(batch.weights[rows])
        found = spread_without_one(design, weights)
        spread[asked] = found[of_lane]
        determined[asked] = identifiable(CHINCHILLA, design, weights, found)[of_lane]
    return spread, determined


def _name_degenerate(
    batch: Batch, solution: Solution, log_weaker: NDArray[np.float64], determined: NDArray[np.bool_]
) -> None:
    """Mark certified lanes whose law has lost a term or overflows, and all that rest on too few runs."""
    a, b, _, alpha, beta = solution.theta.T
    status = solution.status
    params_shift, tokens_shift = batch.tables.shifts[:, batch.condition]
    with np.errstate(over="ignore", invalid="ignore"):
        log_a, log_b = a + alpha * params_shift, b + beta * tokens_shift
    beyond = np.maximum(np.abs(log_a), np.abs(log_b)) > _LARGEST_LOG
    lost = vanished(log_weaker) | beyond
    status[is_certified(status) & lost] = Status.UNIDENTIFIED
    status[~determined] = Status.UNIDENTIFIED


def _certify_again(
    batch: Batch,
    solution: Solution,
    log_weaker: NDArray[np.float64],
    spread: NDArray[np.float64],
    widths: NDArray[np.float64],
    tolerance: float,
) -> None:
    """Certificates in plain coordinates where two terms are one, or something is nearly 0.

    There the Hessian is near singular, and pivots in curved coordinates are not to be relied on. A term that
    vanishes takes all derivatives with it, and what the coordinates add to the Hessian weighs as much. By
    eigenvalues where a factorisation leaves doubt.
    """
    theta, status = solution.theta, solution.status
    # At E = 0 the problem is the one without E.
    delicate = (theta[:, FLOOR] < _DELICATE) & (status != Status.BOUNDARY)
    delicate |= np.minimum(*np.abs(theta[:, FLOOR + 1 :].T)) < _DELICATE
    delicate |= log_weaker < _LOG_FAINT
    delicate |= spread < NEAR_LINE
    doubted = np.flatnonzero(is_certified(status) & delicate)
    for problem, mine in batch[doubted].data_sets():
        lanes = doubted[mine]
        for width in set(widths[lanes].tolist()):
            some = lanes[widths[lanes] == width]
            sound = surely_certified(problem.design, batch[some].own, theta[some], width, tolerance)
            left = some[~sound]
            if len(left):
                found = certify(problem.design, batch[left].own, theta[left], width)
                sound[~sound] = found.definite & (found.decrement <= tolerance) & ~found.vanished
            # Without noise the gradient at E = 0 is rounding of either sign: the bound itself tells, not
            # `held`.
            optimum = np.where(theta[some, FLOOR] > 0, Status.CONVERGED, Status.BOUNDARY)
            status[some] = np.where(sound, optimum, Status.UNIDENTIFIED)
