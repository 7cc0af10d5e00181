"""Fits of `HuberScale`: least absolute deviations with a certificate, or Huber with a fitted scale.

Notation (per lane; p parameters)
    width        k = delta sigma    half-width of the quadratic zone in units of log loss
    active       Z                  the p runs of smallest |r|, candidates for r = 0
    multiplier   lambda_i           subgradient of |r_i| at r_i = 0, in [-1, 1] at an optimum; i in Z

With delta = 1e-3, sigma is delta times the mean |r|, the zone 5e-9 wide, and the minimum a vertex where p
residuals vanish. A Newton step sees only kinks there. So: continuation in the width, then the vertex
itself (Newton on r_Z = 0), then the dual: g + sum_Z w_i lambda_i grad r_i = 0, g the gradient of the other
terms. All |lambda_i| < 1 with independent gradients is sufficient for a strict local minimum, curvature or
not (Osborne 1985, Finite Algorithms in Optimization and Data Analysis, ch. 5).

Where the zone is wide (larger delta), the scale and the law are fitted in turn; each pass lowers the same
negative log likelihood, and the certificate is the Newton decrement at the final width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Problem, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import degenerate
from chinchilla_jax.solvers.status import Status, is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WidthSolver(Protocol):
    """Fits a law under a Huber zone of its own half-width in each lane."""

    def __call__(
        self,
        problem: Problem,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        *,
        options: SolverOptions,
        judged: bool = True,
    ) -> Solution:
        """Fit R lanes: weights (R, n) or (1, n), starts (R, p), widths (R,)."""
        ...


# Fractions of the mean |r| through which the zone narrows; the last leaves p residuals inside it.
_CONTINUATION = (0.3, 0.03, 3e-3, 3e-4, 3e-5)
VERTEX_BELOW = 1e-5  # zone width over mean |r| under which the minimum is treated as a vertex
_ZERO = 1e-12  # residual at the vertex, in units of log loss
_MOST_VERTEX_STEPS, _LAST_VERTEX_STEP = 6, 1e-9  # the error after a step is about its square
DUAL_TOLERANCE = 1e-9  # excess of the multipliers plus stationarity residual at which a vertex is certified
_PERFECT = 1e-13  # mean |r| under which nothing but rounding is left
_MOST_TURNS = 60  # of scale and law; each is a linear step towards the joint minimum
_NARROW_TURNS = 2
_SETTLED = 1e-11


def solve_huber_scale(
    problem: Problem,
    weights: NDArray[Any],
    starts: NDArray[np.float64],
    *,
    solve_widths: WidthSolver,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane of a `HuberScale` objective; `decrement` is the dual's excess at a vertex.

    Args:
        problem: what is fitted.
        weights: (R, n) or (1, n).
        starts: (R, p).
        solve_widths: fits the law under a Huber zone of given half-width in each lane.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
    """
    objective = problem.objective
    assert isinstance(objective, HuberScale)
    lanes, size, n_runs = len(starts), problem.law.size, len(problem.design)
    if not problem.design.valid:
        return Solution.invalid(lanes, size)
    if n_runs < size:
        raise UsageError(f"HuberScale needs at least {size} runs, found {n_runs}; add runs or use Huber")
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (lanes, n_runs))
    theta = np.asarray(starts, dtype=np.float64)
    narrow = dataclasses.replace(options, precision="float64", wide_start=False)
    first = dataclasses.replace(options, tolerance=1e-8)
    width = np.maximum(_CONTINUATION[0] * _mean_abs(problem, w, theta), 1e-12)
    solution = solve_widths(problem, weights, theta, width, options=first, judged=False)
    # Starts of one data set meet at few optima: the narrow zones are for one lane of each.
    lanes_of, every = together(solution.theta) if len(weights) == 1 else (np.arange(lanes), np.arange(lanes))
    theta, steps = solution.theta[lanes_of], solution.steps[lanes_of]
    w = w[lanes_of]
    near = np.maximum(_mean_abs(problem, w, theta), 1e-12)
    for fraction in _CONTINUATION[1:]:
        if objective.delta**2 >= fraction:  # the zone is delta sigma wide, and sigma about delta mean|r|
            break
        loose = dataclasses.replace(narrow, tolerance=1e-8)
        solution = solve_widths(problem, weights, theta, fraction * near, options=loose, judged=False)
        theta, steps = solution.theta, steps + solution.steps
        near = np.maximum(_mean_abs(problem, w, theta), 1e-12)
    sigma = objective.scale(problem.residuals(theta), w)
    at_vertex = objective.delta * sigma < VERTEX_BELOW * near
    vertex = _vertex(problem, w, theta, objective, steps)
    rest = ~(at_vertex & (vertex.status == Status.CONVERGED))
    if rest.any():
        left = np.flatnonzero(rest)
        few = weights if len(weights) == 1 else weights[left]
        smooth = _alternate(problem, few, w[left], theta[left], sigma[left], objective, narrow, solve_widths)
        # From its own minimum a lane may reach the vertex after all: then that is the answer.
        again = _vertex(problem, w[left], smooth.theta, objective, smooth.steps)
        take = at_vertex[left] & (again.status == Status.CONVERGED)
        smooth.put(np.flatnonzero(take), again[take])
        vertex.put(left, smooth)
        vertex.steps[left] += steps[left]
    # The law passes through every run with a weight: the likelihood is unbounded as sigma goes to zero.
    perfect = _mean_abs(problem, w, vertex.theta) < _PERFECT
    certified = is_certified(vertex.status)
    undetermined = perfect | degenerate(problem.law, problem.design, w, vertex.theta)
    vertex.status[(certified & undetermined) | ~(w > 0).any(axis=1)] = Status.UNIDENTIFIED
    vertex.objective_value[np.isnan(vertex.objective_value)] = np.inf
    if on_progress is not None:
        on_progress(lanes)
    return vertex[every]


def together(theta: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """One lane of each distinct optimum, and for every lane the position of its optimum among those."""
    _, lanes_of, every = np.unique(np.round(theta, 5), axis=0, return_index=True, return_inverse=True)
    return lanes_of, every.reshape(-1)


def _mean_abs(problem: Problem, w: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    total = w.sum(axis=1)
    return np.sum(w * np.abs(_used(w, problem.residuals(theta))), axis=1) / np.where(total > 0, total, 1.0)


def _used(w: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (R, n, ...) of the runs with a weight, 0 of the others: there a law may well overflow."""
    return np.where((w > 0).reshape(w.shape + (1,) * (values.ndim - 2)), values, 0.0)


def _vertex(
    problem: Problem,
    w: NDArray[np.float64],
    theta: NDArray[np.float64],
    objective: HuberScale,
    steps: NDArray[np.int32],
) -> Solution:
    """Newton on the p smallest residuals, then the multipliers; CONVERGED only where the dual holds."""
    lanes = np.arange(len(theta))[:, None]
    theta = theta.copy()
    size = np.where(w > 0, np.abs(problem.residuals(theta)), np.inf)
    p, bounded = problem.law.size, list(problem.law.bounded)
    active = np.argpartition(size, p - 1, axis=1)[:, :p]
    usable = np.ones(len(theta), bool)
    moving = usable.copy()  # each lane stops for itself: its bits are the same in any company
    for _ in range(_MOST_VERTEX_STEPS):
        jacobian = problem.jacobian(theta)[lanes, active]
        residual = problem.residuals(theta)[lanes, active]
        step, solvable = _solve_each(jacobian, residual)
        usable &= solvable & (np.abs(step).max(axis=1) < 0.1)
        usable &= (theta[:, bounded] - step[:, bounded] > 0).all(axis=1)
        theta = np.where((usable & moving)[:, None], theta - step, theta)
        moving &= usable & (np.abs(step).max(axis=1) >= _LAST_VERTEX_STEP)
        if not moving.any():
            break
    residual = problem.residuals(theta)
    jacobian = _used(w, problem.jacobian(theta))
    sign = np.sign(_used(w, residual))
    np.put_along_axis(sign, active, 0.0, axis=1)
    pull = np.einsum("rn,rnk->rk", w * sign, jacobian)
    transposed = np.swapaxes(jacobian[lanes, active], 1, 2)
    balance, solvable = _solve_each(transposed, -pull)
    multiplier = balance / np.maximum(w[lanes, active], 1e-300)
    # Stationarity, relative to the terms that cancel in it.
    left = np.abs(pull + np.einsum("rkz,rz->rk", transposed, balance)).max(axis=1)
    scale = np.maximum(np.einsum("rn,rnk->rk", w, np.abs(jacobian)).max(axis=1), 1e-300)
    excess = np.maximum(np.abs(multiplier).max(axis=1) - 1.0, 0.0) + left / scale
    at_zero = np.abs(residual[lanes, active]).max(axis=1) <= _ZERO
    certified = usable & solvable & at_zero & (excess <= DUAL_TOLERANCE)
    # The law returned is the vertex. The minimum of the likelihood itself, whose zone has a width, lies
    # width * lambda_i beside it: about 1e-6 in the likelihood, 1e-6 relative in B on the Chinchilla runs.
    sigma = objective.scale(residual, w)
    return Solution(
        theta=theta,
        objective_value=objective.value(residual, w, sigma),
        decrement=excess,
        status=np.where(certified, Status.CONVERGED, Status.MAX_STEPS).astype(np.int8),
        steps=steps.copy(),
    )


def _solve_each(
    matrix: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Solve (R, p, p) systems; singular ones give zero and False."""
    with np.errstate(all="ignore"):
        condition = np.linalg.cond(np.where(np.isfinite(matrix), matrix, 0.0))
    good = np.isfinite(matrix).all(axis=(1, 2)) & np.isfinite(right).all(axis=1) & (condition < 1e13)
    safe = np.where(good[:, None, None], matrix, np.eye(matrix.shape[-1]))
    solution = np.linalg.solve(safe, right[..., None])[..., 0]
    return np.where(good[:, None], solution, 0.0), good


def _alternate(
    problem: Problem,
    weights: NDArray[Any],
    w: NDArray[np.float64],
    theta: NDArray[np.float64],
    sigma: NDArray[np.float64],
    objective: HuberScale,
    options: SolverOptions,
    solve_widths: WidthSolver,
) -> Solution:
    """Fit scale and law in turn until the scale settles."""
    solution = solve_widths(problem, weights, theta, objective.delta * sigma, options=options)
    # In a zone this narrow the scale hardly moves the law: a few turns are enough.
    narrow = objective.delta * sigma < VERTEX_BELOW * _mean_abs(problem, w, theta)
    turns = np.where(narrow, _NARROW_TURNS, _MOST_TURNS)
    for turn in range(_MOST_TURNS):
        updated = objective.scale(problem.residuals(solution.theta), w)
        moving = np.flatnonzero((np.abs(updated - sigma) > _SETTLED * sigma) & (turn < turns))
        sigma = np.where(turn < turns, updated, sigma)
        if not moving.size:
            break
        few = weights if len(weights) == 1 else weights[moving]
        part = solve_widths(
            problem, few, solution.theta[moving], objective.delta * sigma[moving], options=options
        )
        part.steps[:] += solution.steps[moving]
        solution.put(moving, part)
    final = objective.scale(problem.residuals(solution.theta), w)
    settled = np.abs(final - sigma) <= 1e-9 * sigma
    status = solution.status.copy()
    status[is_certified(status) & ~settled] = Status.MAX_STEPS
    value = objective.value(problem.residuals(solution.theta), w, np.maximum(final, 1e-300))
    return dataclasses.replace(solution, objective_value=value, status=status)
