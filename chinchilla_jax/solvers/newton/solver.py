"""Fit any form to many weightings of the same runs: the batched solver for what the main engine cannot fit.

Notation
    R          lanes
    p          parameters of the form
    starts     internal coordinates; (R, p)
    weights    user weights times resampling counts; (R, n) or (1, n)

The contract is that of the main engine (solvers/base.py): a status for every lane, float64, and CONVERGED
only with a Newton decrement of at most the tolerance and a positive definite Hessian.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws.design import LARGEST_EXPONENT
from chinchilla_jax.laws.form_objectives import FormObjective, limits, value
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.base import Floats, Form
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.solvers.newton.steps import Lane, Point

TOLERANCE = 1e-12
MOST_STEPS = 300
CHUNK = 16  # lanes in one compiled call: few, since the last chunks are never full
_STEPS_AT_ONCE = 4  # after which lanes that are done make room for others
_SINGULAR = (
    1e-11  # eigenvalue of a Hessian of unit diagonal that counts as zero, as in solvers/certificate.py
)
_MOST = 1e12  # times its last width the zone is wide at the start, whatever the residuals
_SHIFT = 1e-7
_SAFE_STEP = 1e-8  # decrement below which the next full step is looked at
_VANISHING = 1e-10  # share of a term, at its largest, below which it is no longer there
_WIDEST = 0.1  # half-width of the quadratic zone at the start, in log loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormSolution:
    """Where R lanes ended.

    Attributes:
        theta: (R, p) internal coordinates.
        objective_value: (R,), of all runs; inf where there is none.
        decrement: (R,) Newton decrement relative to the objective.
        status: (R,) int8, `Status` values.
        steps: (R,) int32.
    """

    theta: Floats
    objective_value: Floats
    decrement: Floats
    status: NDArray[np.int8]
    steps: NDArray[np.int32]

    def __getitem__(self, lanes: Any) -> FormSolution:
        """Those lanes."""
        return FormSolution(**{f.name: getattr(self, f.name)[lanes] for f in dataclasses.fields(self)})

    @property
    def optimum(self) -> NDArray[np.bool_]:
        """Lanes at a certified minimum, one with E = 0 or without a unique law included; (R,)."""
        edge = (self.status == Status.UNIDENTIFIED) & (self.decrement <= 1e-9)
        return (self.status == Status.CONVERGED) | edge

    @classmethod
    def invalid(cls, lanes: int, size: int) -> FormSolution:
        """All lanes INVALID: there is nothing to fit."""
        return cls(
            theta=np.full((lanes, size), np.nan),
            objective_value=np.full(lanes, np.nan),
            decrement=np.full(lanes, np.nan),
            status=np.full(lanes, Status.INVALID, np.int8),
            steps=np.zeros(lanes, np.int32),
        )


def join(parts: Sequence[FormSolution]) -> FormSolution:
    """Lanes of several solutions, one after the other."""
    return FormSolution(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in dataclasses.fields(FormSolution)
        }
    )


def best_of(parts: Sequence[FormSolution]) -> FormSolution:
    """Per lane the solution of lowest objective; between equal ones, the better certified."""
    values = np.stack([np.where(np.isfinite(p.objective_value), p.objective_value, np.inf) for p in parts])
    lowest = values.min(axis=0)
    with np.errstate(invalid="ignore"):
        close = values <= lowest + 1e-9 * np.abs(lowest)
    rank = np.where(close, np.stack([part.status for part in parts]), 127)
    chosen = rank.argmin(axis=0)
    lanes = np.arange(len(chosen))
    fields = {
        f.name: np.stack([getattr(part, f.name) for part in parts])[chosen, lanes]
        for f in dataclasses.fields(FormSolution)
    }
    return FormSolution(**fields)


def solve_form(
    form: Form,
    design: Design,
    weights: NDArray[Any],
    starts: Floats,
    *,
    objective: FormObjective,
    tolerance: float = TOLERANCE,
    most_steps: int = MOST_STEPS,
) -> FormSolution:
    """Minimise the objective for every lane from its own start.

    Args:
        form: the form, p parameters.
        design: the runs, n of them.
        weights: (R, n) or (1, n), not negative.
        starts: (R, p) internal coordinates.
        objective: `Huber`, `Squared` or `AsymmetricError`.
        tolerance: Newton decrement, relative to the objective, at or below which a fit is certified.
        most_steps: steps after which a lane ends as MAX_STEPS.

    Raises:
        UsageError: the shapes do not fit together.
    """
    starts = np.asarray(starts, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    count = len(starts)
    if starts.shape != (count, form.size) or weights.shape not in ((1, len(design)), (count, len(design))):
        raise UsageError(
            f"{form.name}: weights {weights.shape} and starts {starts.shape} do not fit {len(design)} runs "
            f"and {form.size} parameters; give weights (lanes, runs) or (1, runs), starts (lanes, parameters)"
        )
    if not design.valid:
        return FormSolution.invalid(count, form.size)
    parts = []
    with float64_scope():
        batch = _Batch(form, design, objective, tolerance, most_steps)
        for first in range(0, count, 256 * CHUNK):  # what is kept of each lane between stages stays small
            lanes = slice(first, min(first + 256 * CHUNK, count))
            rows = np.broadcast_to(
                weights if len(weights) == 1 else weights[lanes], (lanes.stop - first, len(design))
            )
            parts.append(batch.solve(rows, starts[lanes]))
    return join(parts) if parts else FormSolution.invalid(0, form.size)


class _Batch:
    """Compiled functions and the runs they share; used inside `float64_scope`."""

    def __init__(
        self, form: Form, design: Design, objective: FormObjective, tolerance: float, most_steps: int
    ) -> None:
        import jax.numpy as jnp

        from chinchilla_jax.solvers.newton.steps import Runs, compiled

        self.form, self.design, self.objective = form, design, objective
        self.tolerance, self.most_steps = tolerance, most_steps
        down, up, _ = limits(objective)
        self.lower = np.full(form.size, -np.inf)
        self.lower[list(form.bounded)] = 0.0
        self.narrowest = min(down, up)
        self.runs = Runs(
            u=jnp.asarray(design.log_params),
            v=jnp.asarray(design.log_tokens),
            log_loss=jnp.asarray(design.log_loss),
            constants=jnp.asarray(form.constants(design)),
            lower=jnp.asarray(self.lower),
            down=jnp.asarray(down),
            up=jnp.asarray(up),
        )
        self.step = compiled(type(form))

    def solve(self, weights: Floats, starts: Floats) -> FormSolution:
        starts = np.maximum(starts, self.lower)
        lanes: Any = self._lanes(starts, self._widening(weights, starts))
        for taken in range(0, self.most_steps, _STEPS_AT_ONCE):
            left = np.flatnonzero(lanes.running)
            for rows in _chunks(left):
                some, w = type(lanes)(*(field[rows] for field in lanes)), weights[rows]
                for _ in range(min(_STEPS_AT_ONCE, self.most_steps - taken)):
                    some, _ = self.step(some, w, self.runs, self.tolerance)
                for mine, theirs in zip(lanes, some, strict=True):
                    mine[rows] = np.asarray(theirs)
            if not len(left):
                break
        theta, point = self._polished(weights, lanes.theta)
        return self._judge(weights, theta, point, lanes.steps)

    def _polished(self, weights: Floats, theta: Floats) -> tuple[Floats, Point]:
        """One full Newton step more wherever its end is certified as well; the certificates there."""
        from chinchilla_jax.solvers.newton.steps import SMALLEST_EIGENVALUE

        before = self._look(weights, theta)
        curvature = np.maximum(np.abs(before.eigenvalues), SMALLEST_EIGENVALUE)
        move = np.einsum("rjk,rk->rj", before.eigenvectors, before.along / curvature) / before.size
        further = np.maximum(theta - move, self.lower)
        after = self._look(weights, further)
        take = (before.decrement <= _SAFE_STEP) & (after.decrement <= before.decrement)
        take &= after.finite & (after.value <= before.value * (1 + 1e-12))

        def chosen(new: Any, old: Any) -> Any:
            return np.where(take.reshape((-1,) + (1,) * (np.ndim(new) - 1)), new, old)

        point = type(before)(*(chosen(new, old) for new, old in zip(after, before, strict=True)))
        return chosen(further, theta), point

    def _look(self, weights: Floats, theta: Floats) -> Point:
        """Derivatives and certificates of all lanes, as NumPy arrays."""
        count = len(theta)
        fields: list[list[Any]] = []
        lanes = self._lanes(theta, np.ones(count))
        for rows in _chunks(np.arange(count)):
            some = type(lanes)(*(field[rows] for field in lanes))
            _, point = self.step(some, weights[rows], self.runs, self.tolerance)
            fields.append([np.asarray(field) for field in point])
        columns: list[Any] = [np.concatenate(column)[:count] for column in zip(*fields, strict=True)]
        return type(point)(*columns)

    def _widening(self, weights: Floats, starts: Floats) -> Floats:
        """How many times its final width the quadratic zone has at each start: as wide as the residuals."""
        if not np.isfinite(self.narrowest) or self.narrowest >= _WIDEST:
            return np.ones(len(starts))
        size = np.empty(len(starts))
        for rows in _chunks(np.arange(len(starts))):
            size[rows] = np.median(np.abs(residuals(self.form, self.design, starts[rows])), axis=1)
        size = np.where(np.isfinite(size), size, _WIDEST)
        narrowest = max(self.narrowest, 1e-300)
        return np.clip(size / narrowest, 1.0, min(_WIDEST / max(narrowest, 1e-12), _MOST))

    @staticmethod
    def _lanes(theta: Floats, widening: Floats) -> Lane:
        """Lanes, as NumPy arrays, that begin at theta (R, p) with these factors (R,) on the zone."""
        from chinchilla_jax.solvers.newton.steps import Lane

        count = len(theta)
        fields: dict[str, Any] = {
            "theta": theta.copy(),
            "widening": widening,
            "damping": np.zeros(count),
            "decrement": np.full(count, np.inf),
            "running": np.ones(count, bool),
            "steps": np.zeros(count, np.int32),
        }
        return Lane(**fields)

    def _judge(self, weights: Floats, theta: Floats, point: Point, steps: NDArray[np.int32]) -> FormSolution:
        """Name how each lane ended."""
        form = self.form
        lowest = np.asarray(point.eigenvalues[:, 0])
        # Along a curved valley floor H picks up the gradient: curvature no larger proves nothing.
        borrowed = np.max(np.abs(point.gradient) / np.square(point.size), axis=1)
        finite = np.asarray(point.finite)
        definite = finite & (lowest > _SINGULAR) & (lowest > borrowed)
        lifted = np.maximum(point.eigenvalues, 0.0) + _SHIFT
        flatness = 0.5 * np.sum(np.square(point.along) / lifted, axis=1) / np.maximum(point.value, 1e-300)
        stationary = finite & (flatness <= 0.1 * self.tolerance)
        certified = definite & (point.decrement <= self.tolerance)
        flat = stationary & ~definite & (lowest > -_SHIFT)
        gone = np.min(np.asarray(point.shares)[:, list(form.amplitudes)], axis=1) < _VANISHING
        escaped = np.abs(theta[:, list(form.exponents)]).max(axis=1) > LARGEST_EXPONENT
        edge = np.any(theta <= self.lower, axis=1) | gone | escaped
        status = np.where(certified, Status.CONVERGED, Status.MAX_STEPS).astype(np.int8)
        status[flat | escaped | (edge & (certified | stationary))] = Status.UNIDENTIFIED
        decrement = np.where(flat, np.minimum(flatness, point.decrement), point.decrement)
        status[(status == Status.CONVERGED) & ~_identifiable(form, self.design, weights)] = (
            Status.UNIDENTIFIED
        )
        found = value(self.objective, residuals(form, self.design, theta), weights)
        return FormSolution(
            theta=theta,
            objective_value=np.where(np.isfinite(found), found, np.inf),
            decrement=decrement,
            status=status,
            steps=steps,
        )


def _chunks(lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Lanes in groups of `CHUNK`, the last filled up with repetitions, so that one shape serves all."""
    return [np.resize(lanes[i : i + CHUNK], CHUNK) for i in range(0, len(lanes), CHUNK)]


def residuals(form: Form, design: Design, theta: Floats) -> Floats:
    """Log predicted minus log observed loss; theta (R, p) to (R, n)."""
    return log_losses(form, design, theta, design.log_params, design.log_tokens) - design.log_loss


def log_losses(form: Form, design: Design, theta: Floats, u: Floats, v: Floats) -> Floats:
    """Log of the predicted loss at standardised places u, v (n,); theta (R, p) to (R, n)."""
    from chinchilla_jax.laws.prediction import predictor

    return predictor(form)(theta, u, v, form.constants(design))


def _identifiable(form: Form, design: Design, weights: Floats) -> NDArray[np.bool_]:
    """Whether the runs with a weight could determine the form: enough places, of sizes and of token counts.

    Runs of one size and one token count are one place, however many they are.
    """
    used = weights > 0
    distinct = []
    for group, _ in (*design.groups, design.points):
        present = np.zeros((len(used), int(group.max(initial=-1)) + 1), bool)
        for lane, row in enumerate(used):
            present[lane, group[row]] = True
        distinct.append(present.sum(axis=1))
    of_sizes, of_tokens, places = distinct
    sizes, tokens, together = form.least
    enough = (of_sizes >= sizes) & (of_tokens >= tokens) & (of_sizes + of_tokens >= together)
    return enough & (places >= form.size)
