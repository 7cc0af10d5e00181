"""Fits of `HuberScale`: least absolute deviations with a certificate, or Huber with a fitted scale.

Notation (per lane)
    width        k = delta sigma    half-width of the quadratic zone in units of log loss
    active       Z                  the five runs of smallest |r|, candidates for r = 0
    multiplier   lambda_i           subgradient of |r_i| at r_i = 0, in [-1, 1] at an optimum; i in Z

With delta = 1e-3, sigma is delta times the mean |r|, the zone 5e-9 wide, and the minimum a vertex where five
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
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.errors import UsageError
from chinchilla_jax.objective import HuberScale
from chinchilla_jax.solvers.base import Solution, SolverOptions
from chinchilla_jax.solvers.batch import solve_widths
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.objective import Objective
    from chinchilla_jax.solvers.design import Design

# Fractions of the mean |r| through which the zone narrows; the last leaves five residuals inside it.
_CONTINUATION = (0.3, 0.03, 3e-3, 3e-4, 3e-5)
_VERTEX_BELOW = 1e-5  # zone width over mean |r| under which the minimum is treated as a vertex
_ZERO = 1e-12  # residual at the vertex, in units of log loss
_STATIONARY = 1e-9


def solve_huber_scale(
    design: Design,
    weights: NDArray[Any],
    starts: NDArray[np.float64],
    *,
    objective: Objective,
    options: SolverOptions = SolverOptions(),
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane of a `HuberScale` objective. See `Solver`; `decrement` is the dual's excess at a vertex."""
    if not isinstance(objective, HuberScale):
        raise UsageError(f"solve_huber_scale minimises HuberScale, not {objective.name}")
    if not design.valid:
        return Solution.invalid(len(starts))
    lanes = len(starts)
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (lanes, len(design)))
    theta = np.asarray(starts, dtype=np.float64)
    steps = np.zeros(lanes, np.int32)
    narrow = dataclasses.replace(options, precision="float64", wide_start=False)
    near = np.maximum(_mean_abs(design, w, theta), 1e-12)
    solution: Solution | None = None
    for fraction in _CONTINUATION:
        wide = narrow if solution is not None else dataclasses.replace(narrow, wide_start=options.wide_start)
        loose = dataclasses.replace(wide, tolerance=1e-8)
        solution = solve_widths(design, weights, theta, fraction * near, options=loose)
        theta, steps = solution.theta, steps + solution.steps
        near = np.maximum(_mean_abs(design, w, theta), 1e-12)
        if objective.delta >= fraction:
            break
    assert solution is not None
    sigma = objective.scale(design.residuals(theta), w)
    at_vertex = objective.delta * sigma < _VERTEX_BELOW * near
    vertex = _vertex(design, w, theta, objective, steps)
    rest = ~(at_vertex & (vertex.status == Status.CONVERGED))
    if rest.any():
        lanes_left = np.flatnonzero(rest)
        few = weights if len(weights) == 1 else weights[lanes_left]
        smooth = _alternate(design, few, w[lanes_left], theta[lanes_left], sigma[lanes_left], objective, narrow)
        for field in dataclasses.fields(vertex):
            getattr(vertex, field.name)[lanes_left] = getattr(smooth, field.name)
        vertex.steps[lanes_left] += steps[lanes_left]
    if on_progress is not None:
        on_progress(lanes)
    return vertex


def _mean_abs(design: Design, w: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sum(w * np.abs(design.residuals(theta)), axis=1) / w.sum(axis=1)


def _vertex(
    design: Design,
    w: NDArray[np.float64],
    theta: NDArray[np.float64],
    objective: HuberScale,
    steps: NDArray[np.int32],
) -> Solution:
    """Newton on the five smallest residuals, then the multipliers; CONVERGED only with the dual certificate."""
    lanes = np.arange(len(theta))[:, None]
    theta = theta.copy()
    size = np.where(w > 0, np.abs(design.residuals(theta)), np.inf)
    active = np.argpartition(size, 4, axis=1)[:, :5]
    usable = np.ones(len(theta), bool)
    for _ in range(6):
        jacobian = design.jacobian(theta)[lanes, active]
        residual = design.residuals(theta)[lanes, active]
        step, solvable = _solve_each(jacobian, residual)
        usable &= solvable & (np.abs(step).max(axis=1) < 0.1) & (theta[:, 2] - step[:, 2] > 0)
        theta = np.where(usable[:, None], theta - step, theta)
    residual = design.residuals(theta)
    jacobian = design.jacobian(theta)
    sign = np.sign(residual)
    np.put_along_axis(sign, active, 0.0, axis=1)
    pull = np.einsum("rn,rnk->rk", w * sign, jacobian)
    transposed = np.swapaxes(jacobian[lanes, active], 1, 2)
    balance, solvable = _solve_each(transposed, -pull)
    multiplier = balance / np.maximum(w[lanes, active], 1e-300)
    # Stationarity, relative to the terms that cancel in it.
    left = np.abs(pull + np.einsum("rkz,rz->rk", transposed, balance)).max(axis=1)
    scale = np.einsum("rn,rnk->rk", w, np.abs(jacobian)).max(axis=1)
    excess = np.maximum(np.abs(multiplier).max(axis=1) - 1.0, 0.0) + left / scale
    at_zero = np.abs(residual[lanes, active]).max(axis=1) <= _ZERO
    certified = usable & solvable & at_zero & (excess <= _STATIONARY)
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
    """Solve (R, 5, 5) systems; singular ones give zero and False."""
    with np.errstate(all="ignore"):
        condition = np.linalg.cond(np.where(np.isfinite(matrix), matrix, 0.0))
    good = np.isfinite(matrix).all(axis=(1, 2)) & np.isfinite(right).all(axis=1) & (condition < 1e13)
    safe = np.where(good[:, None, None], matrix, np.eye(5))
    solution = np.linalg.solve(safe, right[..., None])[..., 0]
    return np.where(good[:, None], solution, 0.0), good


def _alternate(
    design: Design,
    weights: NDArray[Any],
    w: NDArray[np.float64],
    theta: NDArray[np.float64],
    sigma: NDArray[np.float64],
    objective: HuberScale,
    options: SolverOptions,
) -> Solution:
    """Scale and law in turn until the scale stands still."""
    steps = np.zeros(len(theta), np.int32)
    solution = None
    settled = np.zeros(len(theta), bool)
    for _ in range(200):
        solution = solve_widths(design, weights, theta, objective.delta * sigma, options=options)
        theta, steps = solution.theta, steps + solution.steps
        updated = objective.scale(design.residuals(theta), w)
        settled = np.abs(updated - sigma) <= 1e-13 * sigma
        sigma = updated
        if settled.all():
            break
    assert solution is not None
    status = solution.status.copy()
    status[(status == Status.CONVERGED) & ~settled] = Status.MAX_STEPS
    value = objective.value(design.residuals(theta), w, np.maximum(sigma, 1e-300))
    return dataclasses.replace(solution, objective_value=value, status=status, steps=steps)
