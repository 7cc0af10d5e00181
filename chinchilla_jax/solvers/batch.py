"""The driver of the batched Newton solver: blocks, precision stages, compaction.

Lanes go through in blocks small enough for the cache. After a few steps most lanes are certified; those that
are not are gathered into full blocks again and go on, so no lane waits for the slowest. In mixed precision
the first stage runs in float32 and every certificate is computed in float64.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from chinchilla_jax.errors import UsageError, unknown_name
from chinchilla_jax.objective import Huber
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import certify, identifiable
from chinchilla_jax.solvers.moments import Columns, huber_kernel
from chinchilla_jax.solvers.newton import RUNNING, Lanes, advance, start_lanes
from chinchilla_jax.solvers.precision import float64_scope
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.objective import Objective
    from chinchilla_jax.solvers.design import Design

# Lanes per call: two shapes, each compiled once per precision. Full blocks amortise the overhead of a call;
# the few lanes that need many more steps than the rest go on in small ones.
_BLOCKS = {"cpu": (128, 32)}
_BLOCKS_ELSEWHERE = (16384, 1024)
# float32 cannot see a decrement below about this; the float64 stage takes over from here.
_FLOAT32_TOLERANCE = 1e-7
_FLOAT32_MOST = 100
# Steps between compactions: short while many lanes finish at each, long for the few that go on.
_STAGE_STEPS = (4, 2, 2, 4, 6, 12, 24)
_FINISH_STEPS = (2, 1, 2, 4, 6, 12, 24)
_VANISHING_SHARE = 1e-10
_DELICATE = 0.05  # standardised exponent, or E, below which a certificate is looked at twice
_LARGEST_LOG = 690.0  # of A or B in natural units: beyond it they overflow
# A lane is given up when it is this near its rival, or when this many times its decrement cannot catch it up:
# at a kink the decrement understates what is still to gain.
_SAME_POINT = 1e-3
_HOPE = 30.0


@functools.cache
def _compiled(backend: str) -> Callable[..., Lanes]:
    # Blocks are the unit of parallel work here; XLA's own threads inside a block only get in the way.
    options = {"xla_cpu_multi_thread_eigen": False} if backend == "cpu" else None
    return jax.jit(advance, static_argnames=("kernel",), compiler_options=options)


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
    run = _Run(design, weights, widths, options, on_progress)
    theta = np.asarray(starts, dtype=np.float64)
    if options.precision == "float64":
        return run.finish(theta, np.zeros(len(theta), np.int32))
    return run.finish(*run.approach(theta))


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
    still end below the best so far; the float64 finish and certificate are for the best.
    """
    if len(candidates) == 1 or not design.valid or options.precision == "float64":
        return solve_newton(
            design, weights, candidates[0], objective=objective, options=options, on_progress=on_progress
        )
    run = _Run(design, weights, np.full(len(weights), objective.delta), options, on_progress)
    best, steps = run.approach(candidates[0])
    lowest = objective.value(design.residuals(best), weights)
    for starts in candidates[1:]:
        theta, taken = run.approach(starts, rival=(best, lowest))
        steps = steps + taken
        value = objective.value(design.residuals(theta), weights)
        # float32 leaves 1e-7 of the objective open: nearer than that the earlier candidate stands.
        better = value < lowest * (1 - 1e-7)
        lowest = np.where(better, value, lowest)
        best = np.where(better[:, None], theta, best)
    return run.finish(best, steps)


def _may_win(
    state: Lanes, active: NDArray[np.intp], rival: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.bool_]:
    """Which of the `active` lanes may still end below their rival, and elsewhere than at it."""
    theta, value = rival[0][active], rival[1][active]
    elsewhere = np.abs(state.anchor[:, active].T - theta).max(axis=1) > _SAME_POINT
    decrement = np.where(np.isfinite(state.decrement[active]), state.decrement[active], 1.0)
    hoped = state.anchor_value[active] * (1.0 - np.clip(_HOPE * np.abs(decrement), 0.0, 1.0))
    return elsewhere & ~(hoped > value)


class _Run:
    """One call of `solve_newton`: the inputs that every stage shares."""

    def __init__(
        self,
        design: Design,
        weights: NDArray[Any],
        widths: NDArray[np.float64],
        options: SolverOptions,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self.design, self.weights, self.options = design, weights, options
        self.widths = np.asarray(widths, dtype=np.float64)
        self.on_progress = on_progress
        backend = jax.default_backend()
        self.advance = _compiled(backend)
        self.blocks = _BLOCKS.get(backend, _BLOCKS_ELSEWHERE)
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = options.workers or (available if backend == "cpu" else 1)

    def approach(
        self, theta: NDArray[np.float64], rival: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """float32 steps to the neighbourhood of the optimum; `rival` is (theta, value) to end below."""
        state = self._stages(
            theta,
            np.float32,
            _FLOAT32_TOLERANCE,
            _STAGE_STEPS,
            min(_FLOAT32_MOST, self.options.max_steps),
            rival,
        )
        # A finished lane's theta is its anchor; an unfinished one goes on from its best accepted point.
        reached = state.anchor.T.astype(np.float64)
        return np.where(np.isfinite(reached), reached, theta), state.steps

    def finish(self, theta: NDArray[np.float64], steps: NDArray[np.int32]) -> Solution:
        """float64 steps to the certificate."""
        limit = 1 if self.options.precision == "float32" else self.options.max_steps
        state = self._stages(theta, np.float64, self.options.tolerance, self._finish_steps(), limit)
        status = np.where(state.status == RUNNING, Status.MAX_STEPS, state.status).astype(np.int8)
        # The step that a certified lane would take next is free, and takes its error from 1e-7 to rounding.
        final = np.where((status == Status.CONVERGED)[:, None], state.theta.T, state.anchor.T)
        a, b, floor, alpha, beta = final.T
        u, v = self.design.log_params, self.design.log_tokens
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            largest = np.maximum(np.exp(a - alpha * u.min()), np.exp(a - alpha * u.max())) / floor
            largest_tokens = np.maximum(np.exp(b - beta * v.min()), np.exp(b - beta * v.max())) / floor
            vanished = np.minimum(largest, largest_tokens) < _VANISHING_SHARE
            log_a = a + alpha * (self.design.params_location / self.design.params_scale)
            log_b = b + beta * (self.design.tokens_location / self.design.tokens_scale)
        beyond = np.maximum(np.abs(log_a), np.abs(log_b)) > _LARGEST_LOG
        undetermined = vanished | beyond | ~identifiable(self.design, self.weights)
        status[(status == Status.CONVERGED) & undetermined] = Status.UNIDENTIFIED
        self._certify_again(final, status)
        # A lane that ran out of steps between two series has no value yet.
        value = state.anchor_value.copy()
        for lane in np.flatnonzero(~np.isfinite(value)):
            weights = self.weights[0 if len(self.weights) == 1 else lane]
            value[lane] = Huber(float(self.widths[lane])).value(self.design.residuals(final[lane]), weights)
        status[~identifiable(self.design, self.weights) & np.ones(len(status), bool)] = Status.UNIDENTIFIED
        return Solution(
            theta=final,
            objective_value=value,
            decrement=state.decrement,
            status=status,
            steps=(steps + state.steps).astype(np.int32),
        )

    def _certify_again(self, theta: NDArray[np.float64], status: NDArray[np.int8]) -> None:
        """Certificates in plain coordinates, by eigenvalues, where a term is nearly constant or E nearly 0.

        There the Hessian is near singular, and pivots in curved coordinates are not to be relied on.
        """
        delicate = np.abs(theta[:, 2:]).min(axis=1) < _DELICATE
        lanes = np.flatnonzero((status == Status.CONVERGED) & delicate)
        for width in np.unique(self.widths[lanes]):
            some = lanes[self.widths[lanes] == width]
            weights = self.weights if len(self.weights) == 1 else self.weights[some]
            found = certify(self.design, weights, theta[some], float(width))
            sound = found.definite & (found.decrement <= self.options.tolerance)
            status[some[~sound]] = Status.UNIDENTIFIED

    def _finish_steps(self) -> tuple[int, ...]:
        return _STAGE_STEPS if self.options.precision == "float64" else _FINISH_STEPS

    def _stages(
        self,
        theta: NDArray[np.float64],
        dtype: Any,
        tolerance: float,
        stage_steps: tuple[int, ...],
        limit: int,
        rival: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> Lanes:
        """Run lanes through stages of growing length, compacting in between; all arrays NumPy, lanes last."""
        count = len(theta)
        columns: Any = Columns._make(np.asarray(c, dtype) for c in self._columns())
        tol = dtype(tolerance)
        first_width = self.widths
        if self.options.wide_start and (dtype is np.float32 or self.options.precision == "float64"):
            typical = np.median(np.abs(self.design.residuals(theta)), axis=1)
            first_width = np.clip(typical, self.widths, 1e3 * self.widths)
        state = start_lanes(theta.T, first_width, dtype)
        active = np.arange(count)
        taken, stage = 0, 0

        def work(lanes: NDArray[np.intp], steps: int) -> Lanes:
            padded = np.resize(lanes, self.blocks[0] if len(lanes) > self.blocks[1] else self.blocks[1])
            weights = self.weights[np.zeros_like(padded) if len(self.weights) == 1 else padded]
            width = self.widths[padded].astype(dtype)
            with float64_scope():
                out = self.advance(
                    Lanes(*(x[..., padded] for x in state)), weights, columns, width=width, tolerance=tol,
                    steps=np.int32(steps), kernel=huber_kernel,
                )  # fmt: skip
                return Lanes(*(np.asarray(x)[..., : len(lanes)] for x in out))

        with ThreadPoolExecutor(self.workers) as pool:
            while len(active) and taken < limit:
                steps = min(stage_steps[min(stage, len(stage_steps) - 1)], limit - taken)
                blocks = self._cut(active)
                results = list(pool.map(work, blocks, itertools.repeat(steps)))
                for lanes, part in zip(blocks, results, strict=True):
                    for whole, piece in zip(state, part, strict=True):
                        whole[..., lanes] = piece
                still = state.status[active] == RUNNING
                if dtype is np.float32:
                    # Rejected again and again near the optimum: float32 has nothing more to give.
                    settled = (state.rejections[active] >= 2) & (state.decrement[active] < 1e-3)
                    still &= ~settled
                    if rival is not None:
                        still &= _may_win(state, active, rival)
                elif self.on_progress is not None:
                    self.on_progress(int(len(active) - still.sum()))
                active = active[still]
                taken, stage = taken + steps, stage + 1
        if dtype is not np.float32 and self.on_progress is not None and len(active):
            self.on_progress(len(active))
        return state

    def _cut(self, active: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Cut lanes into large blocks, and the remainder into small ones where that wastes less."""
        large, small = self.blocks
        whole = len(active) // large * large
        if len(active) - whole > large // 2:
            whole = len(active)
        pieces = [active[i : i + large] for i in range(0, whole, large)]
        return pieces + [active[i : i + small] for i in range(whole, len(active), small)]

    def _columns(self) -> tuple[NDArray[np.float64], ...]:
        return self.design.log_params, self.design.log_tokens, self.design.log_loss
