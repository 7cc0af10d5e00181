"""The batched Newton solver as a `Solver`: chunks of lanes, threads, and what the certificates mean.

The work itself is one compiled call per chunk, see solvers/stages.py. In mixed precision its first stage runs
in float32 and every certificate is computed in float64.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from chinchilla_jax.errors import UsageError, unknown_name
from chinchilla_jax.objective import Huber
from chinchilla_jax.solvers import stages
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import certify, identifiable, vanished
from chinchilla_jax.solvers.design import FLOOR, LARGEST_EXPONENT
from chinchilla_jax.solvers.moments import Columns
from chinchilla_jax.solvers.newton import RUNNING, Lanes
from chinchilla_jax.solvers.precision import float64_scope
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.objective import Objective
    from chinchilla_jax.solvers.design import Design

# Lanes per call and per tile. On the CPU a tile's state stays in the cache, and a call is the unit
# of work of a thread; elsewhere a tile fills the device.
_SHAPES = {"cpu": (4096, 32)}
_SHAPES_ELSEWHERE = (65536, 16384)
_MOST_WEIGHTS = 2**24  # in a call
_LEAST_LANES = 512  # of a call, where there is a choice
_MOST_RANKS = 4  # starts per lane that one call takes; a call of fewer has the same shape
_FLOAT32_STEPS = 100
_SEARCH_AFTER = 2  # float64 steps: next to an optimum the full step is right
_DELICATE = 0.05  # standardised exponent, or E, below which a certificate is looked at twice
_LARGEST_LOG = 690.0  # of A or B in natural units: beyond it they overflow


@functools.cache
def _compiled(tile: int) -> Callable[..., Any]:
    """The compiled call, its lanes shared out over all local devices."""
    solve: Callable[..., Any] = functools.partial(stages.solve, tile=tile)
    devices = jax.local_devices()
    if len(devices) > 1:
        lanes, shared = PartitionSpec("lanes"), PartitionSpec()
        vectors = PartitionSpec(None, "lanes")
        batch = stages.Batch(lanes, Columns(shared, shared, shared), lanes, lanes, lanes)
        specs: Any = (vectors if name in ("theta", "anchor", "step") else lanes for name in Lanes._fields)
        # Every device goes through its own lanes at its own pace: nothing is exchanged.
        solve = jax.shard_map(
            solve,
            mesh=Mesh(np.array(devices), ("lanes",)),
            in_specs=(batch, vectors, shared, lanes, stages.Limits(*(shared,) * 4)),
            out_specs=(Lanes(*specs), lanes),
            check_vma=False,
        )
    # Sums over the runs become vector arithmetic only if their order may change. Calls are the unit of
    # parallel work on the CPU; XLA's own threads inside one only get in the way.
    on_cpu = {"xla_cpu_enable_fast_math": True, "xla_cpu_multi_thread_eigen": False}
    return jax.jit(solve, compiler_options=on_cpu if jax.default_backend() == "cpu" else None)


def solve_newton(
    design: Design,
    weights: NDArray[Any],
    starts: NDArray[np.float64],
    *,
    objective: Objective,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane with the batched Newton method. See `Solver` for the arguments."""
    if not isinstance(objective, Huber):
        raise UsageError(
            f"solve_newton minimises Huber, not {objective.name}; use solvers.huber_scale for that"
        )
    widths = np.full(len(starts), objective.delta)
    return solve_widths(design, weights, starts, widths, options=options, on_progress=on_progress)


def solve_widths(
    design: Design,
    weights: NDArray[Any],
    starts: NDArray[np.float64],
    widths: NDArray[np.float64],
    *,
    options: SolverOptions,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane with a Huber zone of its own half-width (R,)."""
    if options.precision not in ("mixed", "float64", "float32"):
        raise unknown_name("precision", options.precision, ("mixed", "float64", "float32"))
    if not design.valid:
        return Solution.invalid(len(starts))
    return _solve(design, weights, [starts], widths, options, on_progress)


def solve_best_of(
    design: Design,
    weights: NDArray[Any],
    candidates: Sequence[NDArray[np.float64]],
    *,
    objective: Huber,
    options: SolverOptions,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane from several starts, best guess first, and keep the best.

    Only the float32 stage runs for all `candidates` (each (R, 5)), and a later one only as long as it may
    still end below the best so far; the float64 finish and certificate are for the best. With
    precision="float64" there is no such stage, and only the best guess is used.
    """
    if not design.valid or options.precision == "float64":
        return solve_newton(
            design, weights, candidates[0], objective=objective, options=options, on_progress=on_progress
        )
    widths = np.full(len(weights), objective.delta)
    return _solve(design, weights, candidates, widths, options, on_progress)


def _solve(
    design: Design,
    weights: NDArray[Any],
    candidates: Sequence[NDArray[np.float64]],
    widths: NDArray[np.float64],
    options: SolverOptions,
    on_progress: Callable[[int], None] | None,
) -> Solution:
    """Fit valid lanes, chunk by chunk, and name how each ended."""
    if len(candidates) > _MOST_RANKS:
        raise UsageError(f"{len(candidates)} starts per lane, at most {_MOST_RANKS} are taken")
    starts = np.asarray(candidates, dtype=np.float64)
    count = starts.shape[1]
    theta, value = np.empty((count, 5)), np.empty(count)
    decrement, status = np.empty(count), np.empty(count, np.int8)
    steps = np.empty(count, np.int32)
    chunk = _Chunk(design, options, len(candidates))
    # Shared out evenly, but not so thinly that the slowest lanes of each call weigh more than the rest.
    most = chunk.size * chunk.devices
    length = min(most, max(-(-count // chunk.workers), _LEAST_LANES))

    def work(first: int) -> int:
        lanes = slice(first, min(first + length, count))
        part = weights if len(weights) == 1 else weights[lanes]
        found = chunk(part, starts[:, lanes], widths[lanes])
        theta[lanes], value[lanes], decrement[lanes], status[lanes], steps[lanes] = found
        done = lanes.stop - first
        if on_progress is not None:
            on_progress(done)
        return done

    firsts = range(0, count, length)
    workers = min(chunk.workers, len(firsts))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, firsts))
    else:
        for first in firsts:
            work(first)
    solution = Solution(theta=theta, objective_value=value, decrement=decrement, status=status, steps=steps)
    _name_degenerate(design, weights, solution)
    _certify_again(design, weights, solution, widths, options.tolerance)
    return solution


class _Chunk:
    """One compiled call: pads the lanes, runs the stages, and takes the results back."""

    def __init__(self, design: Design, options: SolverOptions, ranks: int) -> None:
        backend = jax.default_backend()
        self.devices = jax.local_device_count()
        self.size, tile = _SHAPES.get(backend, _SHAPES_ELSEWHERE)
        # A large table in fewer lanes: the weights of a call stay within some megabytes.
        while self.size > tile and self.size * len(design) > _MOST_WEIGHTS:
            self.size //= 2
        self.solve = _compiled(tile)
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        one_call_is_serial = backend == "cpu" and self.devices == 1
        self.workers = (options.workers or available) if one_call_is_serial else 1
        self.design, self.options, self.ranks = design, options, ranks
        self.columns = Columns(design.log_params, design.log_tokens, design.log_loss)
        double = options.precision == "float64"
        self.limits = stages.Limits(
            tolerance=np.float64(options.tolerance),
            float32_steps=np.int32(0 if double else min(_FLOAT32_STEPS, options.max_steps)),
            float64_steps=np.int32(1 if options.precision == "float32" else options.max_steps),
            search_after=np.int32(0 if double else _SEARCH_AFTER),
        )

    def __call__(
        self, weights: NDArray[Any], starts: NDArray[np.float64], widths: NDArray[np.float64]
    ) -> tuple[NDArray[Any], ...]:
        """Theta, value, decrement, status, steps of R lanes: `starts` (K, R, 5), `weights` (R, n)."""
        count = starts.shape[1]
        # Each device has `share` lanes and padding up to `size`; `slots` is where the lanes are.
        share = -(-count // self.devices)
        device, place = np.divmod(np.arange(self.devices * self.size), self.size)
        lanes = np.minimum(device * share + np.minimum(place, share - 1), count - 1)
        slots = np.arange(count) // share * self.size + np.arange(count) % share
        n_lanes = np.clip(count - np.arange(self.devices) * share, 0, share).astype(np.int32)
        padded = np.zeros((_MOST_RANKS, len(lanes), 5))
        padded[: self.ranks] = starts[:, lanes]
        first_width = widths
        if self.options.wide_start:
            typical = np.median(np.abs(self.design.residuals(starts[0])), axis=1)
            first_width = np.clip(typical, widths, 1e3 * widths)
        rows = np.zeros_like(lanes) if len(weights) == 1 else lanes
        with float64_scope():
            total = weights.sum(axis=1, dtype=np.float64)
            batch = stages.Batch(weights[rows], self.columns, total[rows], widths[lanes], n_lanes)
            outcome = self.solve(batch, padded, np.int32(self.ranks), first_width[lanes], self.limits)
            state, steps = jax.tree.map(lambda x: np.asarray(x)[..., slots], outcome)
        status = np.where(state.status == RUNNING, Status.MAX_STEPS, state.status).astype(np.int8)
        # The step that a certified lane would take next is free, and takes its error from 1e-7 to rounding.
        theta = np.where(status == Status.CONVERGED, state.theta, state.anchor).T
        # Certified at its anchor, with no step left for the last digits.
        at_target = state.width <= widths * (1 + 1e-12)
        inside = (state.anchor[FLOOR] > 0) & (np.abs(state.anchor[3:]).max(axis=0) <= LARGEST_EXPONENT)
        certified = (state.decrement <= self.options.tolerance) & at_target & inside
        status[(state.status == RUNNING) & certified] = Status.CONVERGED
        value = state.anchor_value.copy()
        # A lane that ran out of steps between two series has no value yet.
        for lane in np.flatnonzero(~np.isfinite(value)):
            row = weights[0 if len(weights) == 1 else lane]
            with np.errstate(invalid="ignore"):  # a start at infinity, on runs without a weight
                found = Huber(float(widths[lane])).value(self.design.residuals(theta[lane]), row)
            value[lane] = found if np.isfinite(found) else np.inf
        return theta, value, state.decrement, status, steps + state.steps


def _name_degenerate(design: Design, weights: NDArray[Any], solution: Solution) -> None:
    """Mark certified lanes whose law has lost a term, overflows, or rests on too few runs."""
    a, b, _, alpha, beta = solution.theta.T
    status = solution.status
    with np.errstate(over="ignore", invalid="ignore"):
        log_a = a + alpha * (design.params_location / design.params_scale)
        log_b = b + beta * (design.tokens_location / design.tokens_scale)
    beyond = np.maximum(np.abs(log_a), np.abs(log_b)) > _LARGEST_LOG
    lost = vanished(design, solution.theta) | beyond
    status[(status == Status.CONVERGED) & lost] = Status.UNIDENTIFIED
    status[np.broadcast_to(~identifiable(design, weights), status.shape)] = Status.UNIDENTIFIED


def _certify_again(
    design: Design, weights: NDArray[Any], solution: Solution, widths: NDArray[np.float64], tolerance: float
) -> None:
    """Certificates in plain coordinates, by eigenvalues, where a term is nearly constant or E nearly 0.

    There the Hessian is near singular, and pivots in curved coordinates are not to be relied on.
    """
    theta, status = solution.theta, solution.status
    delicate = np.abs(theta[:, FLOOR:]).min(axis=1) < _DELICATE
    lanes = np.flatnonzero((status == Status.CONVERGED) & delicate)
    for width in np.unique(widths[lanes]):
        some = lanes[widths[lanes] == width]
        rows = weights if len(weights) == 1 else weights[some]
        found = certify(design, rows, theta[some], float(width))
        sound = found.definite & (found.decrement <= tolerance)
        status[some[~sound]] = Status.UNIDENTIFIED
