"""Fit any law to many weightings of the same runs, by damped Newton steps whose derivatives JAX provides.

Notation
    R          lanes
    p          parameters of the law
    starts     internal coordinates; (R, p)
    weights    user weights times resampling counts; (R, n) or (1, n)
    down, up   ends of the quadratic zone of each lane; (R,)

The contract is that of solvers/base.py: a status for every lane, float64, and CONVERGED only with a Newton
decrement of at most the tolerance and a positive definite Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws.objectives import residual_loss
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Problem, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import (
    SHIFT,
    SINGULAR,
    VANISHING,
    Optimality,
    identifiable,
    judge,
    overflows,
)
from chinchilla_jax.solvers.status import Status, is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats
    from chinchilla_jax.solvers.newton.steps import Lane, Point

CHUNK = 16  # lanes in one compiled call: few, since the last chunks are never full
_KEPT = 256 * CHUNK  # lanes whose state is in memory at a time
_STEPS_AT_ONCE = 4  # after which lanes that are done make room for others
_MOST_WIDENING = 1e12  # of the zone at the start, whatever the residuals
_SAFE_STEP = 1e-8  # decrement below which the next full step is looked at
_WIDEST = 0.1  # half-width of the quadratic zone at the start, in log loss
_SMALLEST_VALUE = 1e-300


def solve_any_law(
    problem: Problem,
    weights: NDArray[Any],
    starts: Floats,
    *,
    down: Floats,
    up: Floats,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
    judged: bool = True,
) -> Solution:
    """Fit every lane of any law from its own start, with a quadratic zone of its own.

    Steps are in float64 whatever `options.precision`.

    Args:
        problem: the law, p parameters, and n runs; the objective says what a residual is, and `down` and
            `up` give its zone, in units of `problem.loss_unit`.
        weights: (R, n) or (1, n), not negative.
        starts: (R, p) internal coordinates.
        down: (R,) how far the zone reaches below zero; may be infinite.
        up: (R,) how far it reaches above.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
        judged: whether to ask if the runs with a weight determine the law.

    Raises:
        UsageError: the shapes do not fit together.
    """
    law, n_runs = problem.law, len(problem.design)
    starts = np.asarray(starts, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    count = len(starts)
    if starts.shape != (count, law.size) or weights.shape not in ((1, n_runs), (count, n_runs)):
        raise UsageError(
            f"{law.name}: weights {weights.shape} and starts {starts.shape} do not fit {n_runs} runs and "
            f"{law.size} parameters; give weights (lanes, runs) or (1, runs), starts (lanes, parameters)"
        )
    if not problem.design.valid or not count:
        return Solution.invalid(count, law.size)
    parts = []
    with float64_scope():
        batch = _Batch(problem, options)
        for first in range(0, count, _KEPT):
            lanes = slice(first, min(first + _KEPT, count))
            size = lanes.stop - first
            rows = np.broadcast_to(weights if len(weights) == 1 else weights[lanes], (size, n_runs))
            parts.append(batch.solve(rows, starts[lanes], down[lanes], up[lanes], judged))
            if on_progress is not None:
                on_progress(size)
    return Solution.concatenated(parts)


class _Batch:
    """Compiled functions and the runs they share; used inside `float64_scope`."""

    def __init__(self, problem: Problem, options: SolverOptions) -> None:
        import jax.numpy as jnp

        from chinchilla_jax.solvers.newton.steps import Runs, compiled

        law, design = problem.law, problem.design
        self.problem, self.options = problem, options
        self.lower = np.full(law.size, -np.inf)
        self.lower[list(law.bounded)] = 0.0
        self.runs = Runs(
            u=jnp.asarray(design.log_params),
            v=jnp.asarray(design.log_tokens),
            log_loss=jnp.asarray(design.log_loss),
            loss=jnp.asarray(np.exp(design.log_loss) / problem.loss_unit),
            constants=jnp.asarray(law.constants(design)),
            lower=jnp.asarray(self.lower),
        )
        self.step = compiled(type(law), problem.raw)

    def solve(self, weights: Floats, starts: Floats, down: Floats, up: Floats, judged: bool) -> Solution:
        starts = np.maximum(starts, self.lower)
        widening = self._widening(starts, np.minimum(down, up))
        lanes: Any = _new_lanes(starts, down, up, widening)
        for taken in range(0, self.options.max_steps, _STEPS_AT_ONCE):
            left = np.flatnonzero(lanes.running)
            for rows in _chunks(left):
                some, w = type(lanes)(*(field[rows] for field in lanes)), weights[rows]
                for _ in range(min(_STEPS_AT_ONCE, self.options.max_steps - taken)):
                    some, _ = self.step(some, w, self.runs, self.options.tolerance)
                for mine, theirs in zip(lanes, some, strict=True):
                    mine[rows] = np.asarray(theirs)
            if not len(left):
                break
        theta, point = self._polished(weights, lanes.theta, down, up)
        return self._judge(weights, theta, down, up, point, lanes.steps, judged)

    def _polished(self, weights: Floats, theta: Floats, down: Floats, up: Floats) -> tuple[Floats, Point]:
        """One full Newton step more wherever its end is certified as well; the certificates there."""
        from chinchilla_jax.solvers.newton.steps import SMALLEST_EIGENVALUE

        before = self._look(weights, theta, down, up)
        curvature = np.maximum(np.abs(before.eigenvalues), SMALLEST_EIGENVALUE)
        move = np.einsum("rjk,rk->rj", before.eigenvectors, before.along / curvature) / before.size
        further = np.maximum(theta - move, self.lower)
        after = self._look(weights, further, down, up)
        take = (before.decrement <= _SAFE_STEP) & (after.decrement <= before.decrement)
        take &= after.finite & (after.value <= before.value * (1 + 1e-12))

        def chosen(new: Any, old: Any) -> Any:
            return np.where(take.reshape((-1,) + (1,) * (np.ndim(new) - 1)), new, old)

        point = type(before)(*(chosen(new, old) for new, old in zip(after, before, strict=True)))
        return chosen(further, theta), point

    def _look(self, weights: Floats, theta: Floats, down: Floats, up: Floats) -> Point:
        """Derivatives and certificates of all lanes, as NumPy arrays."""
        count = len(theta)
        fields: list[list[Any]] = []
        lanes = _new_lanes(theta, down, up, np.ones(count))
        for rows in _chunks(np.arange(count)):
            some = type(lanes)(*(field[rows] for field in lanes))
            _, point = self.step(some, weights[rows], self.runs, self.options.tolerance)
            fields.append([np.asarray(field) for field in point])
        columns: list[Any] = [np.concatenate(column)[:count] for column in zip(*fields, strict=True)]
        return type(point)(*columns)

    def _widening(self, starts: Floats, narrowest: Floats) -> Floats:
        """How many times its final width the quadratic zone has at each start: as wide as the residuals."""
        narrow = np.isfinite(narrowest) & (narrowest < _WIDEST)
        if not self.options.wide_start or not narrow.any():
            return np.ones(len(starts))
        size = np.median(np.abs(self.problem.counted(starts)), axis=1)
        size = np.where(np.isfinite(size), size, _WIDEST)
        narrowest = np.where(narrow, np.maximum(narrowest, 1e-300), 1.0)
        most = np.minimum(_WIDEST / np.maximum(narrowest, 1e-12), _MOST_WIDENING)
        return np.where(narrow, np.clip(size / narrowest, 1.0, np.maximum(most, 1.0)), 1.0)

    def _judge(
        self,
        weights: Floats,
        theta: Floats,
        down: Floats,
        up: Floats,
        point: Point,
        steps: NDArray[np.int32],
        judged: bool,
    ) -> Solution:
        """Name how each lane ended."""
        law, design = self.problem.law, self.problem.design
        tolerance = self.options.tolerance
        lowest, finite = np.asarray(point.eigenvalues[:, 0]), np.asarray(point.finite)
        # Along a curved valley floor H picks up the gradient: curvature no larger proves nothing.
        borrowed = np.max(np.abs(point.gradient) / np.square(point.size), axis=1)
        definite = finite & (lowest > SINGULAR) & (lowest > borrowed)
        lifted = np.maximum(point.eigenvalues, 0.0) + SHIFT
        scale = np.maximum(point.value, _SMALLEST_VALUE)
        flatness = 0.5 * np.sum(np.square(point.along) / lifted, axis=1) / scale
        stationary = finite & (flatness <= 0.1 * tolerance)
        flat = stationary & ~definite & (lowest > -SHIFT)
        decrement = np.where(flat, np.minimum(flatness, point.decrement), point.decrement)
        found = Optimality(
            objective_value=np.asarray(point.value),
            gradient=np.asarray(point.gradient),
            decrement=decrement,
            definite=definite,
            stationary=stationary,
            flat=flat,
            held=np.asarray(np.any(np.asarray(point.held), axis=1)),
            vanished=np.min(np.asarray(point.shares)[:, list(law.amplitudes)], axis=1) < VANISHING,
        )
        status = judge(law, theta, found, tolerance)
        if judged:
            lost = overflows(law, design, theta) | ~identifiable(law, design, weights)
            status[is_certified(status) & lost] = Status.UNIDENTIFIED
        r = np.where(weights > 0, self.problem.counted(theta), 0.0)
        value = np.sum(weights * residual_loss(r, down[:, None], up[:, None]), axis=1)
        return Solution(
            theta=theta,
            objective_value=np.where(np.isfinite(value), value, np.inf),
            decrement=decrement,
            status=status,
            steps=steps,
        )


def _new_lanes(theta: Floats, down: Floats, up: Floats, widening: Floats) -> Lane:
    """Lanes, as NumPy arrays, that begin at theta (R, p) with these factors (R,) on the zone."""
    from chinchilla_jax.solvers.newton.steps import Lane

    count = len(theta)
    fields: dict[str, Any] = {
        "theta": theta.copy(),
        "down": down,
        "up": up,
        "widening": widening,
        "damping": np.zeros(count),
        "decrement": np.full(count, np.inf),
        "running": np.ones(count, bool),
        "steps": np.zeros(count, np.int32),
    }
    return Lane(**{name: np.array(values) for name, values in fields.items()})  # type: ignore[arg-type]


def _chunks(lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Lanes in groups of `CHUNK`, the last filled up with repetitions, so that one shape serves all."""
    return [np.resize(lanes[i : i + CHUNK], CHUNK) for i in range(0, len(lanes), CHUNK)]
