"""Fits of `HuberScale`: least absolute deviations with a certificate, or Huber with a fitted scale.

Notation (per lane; p parameters)
    width        k = delta sigma    half-width of the quadratic zone in units of log loss

With delta = 1e-3, sigma is delta times the mean |r|, the zone 5e-9 wide, and the minimum that of least
absolute deviations, where up to p residuals vanish. A Newton step sees only kinks there. So: continuation in
the width, then the minimum itself and its certificate, see least_absolute.py.

Where the zone is wide (larger delta), the scale and the law are fitted in turn; each pass lowers the same
negative log likelihood, and the certificate is the Newton decrement at the final width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Problem, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import degenerate
from chinchilla_jax.solvers.least_absolute import least_absolute
from chinchilla_jax.solvers.nearest_at_bound import nearest_at_bound
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
_APART = 1e-4  # difference in standardised coordinates beyond which two ends in a wide zone are two
_PERFECT = 1e-13  # mean |r| under which nothing but rounding is left
_MOST_TURNS = 60  # of scale and law; each is a linear step towards the joint minimum
_NARROW_TURNS = 2
_SETTLED = 1e-11


def solve_huber_scale(
    problem: Problem,
    weights: NDArray[Any],
    candidates: Sequence[NDArray[np.float64]],
    *,
    solve_widths: WidthSolver,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane of a `HuberScale` objective; `decrement` is the dual's excess in a narrow zone.

    Args:
        problem: what is fitted; n runs, p parameters.
        weights: (R, n) or (1, n).
        candidates: starts of every lane, best guess first, each (R, p).
        solve_widths: fits the law under a Huber zone of given half-width in each lane.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
    """
    lanes, size, n_runs = len(candidates[0]), problem.law.size, len(problem.design)
    if not problem.design.valid:
        return Solution.invalid(lanes, size)
    if n_runs < size:
        raise UsageError(f"HuberScale needs at least {size} runs, found {n_runs}; add runs or use Huber")
    w = np.asarray(weights, dtype=np.float64)
    paths = _Paths(problem, w, solve_widths, options)
    if len(w) == 1:
        # Starts of one data set meet at few optima: the narrow zones are for one lane of each.
        ends = paths.begun(np.concatenate(candidates), np.zeros(len(candidates) * lanes, np.intp))
        lanes_of, every = together(ends.theta)
        distinct = ends[lanes_of]
        found = paths.finished(distinct, np.zeros(len(distinct), np.intp))[every]
        parts = [found[first * lanes : (first + 1) * lanes] for first in range(len(candidates))]
        found = Solution.best_of(parts)
        best = np.array([found.best_lane()])
        rows = np.zeros(1, np.intp)
    else:
        rows = best = np.arange(lanes)
        known = [paths.begun(start, rows) for start in candidates]
        found = paths.finished(known[0], rows)
        for number, ends in enumerate(known[1:], start=1):
            new = np.flatnonzero(_elsewhere(ends, known[:number]))
            _compete(found, new, paths.finished(ends[new], new))
    if problem.law.bounded:
        # Another minimum may lie where a bounded coordinate (E) is zero.
        at_bound = paths.begun(nearest_at_bound(problem, w, found.theta[best]), rows)
        new = np.flatnonzero(_elsewhere(at_bound, [found[best]]))
        _compete(found, best[new], paths.finished(at_bound[new], rows[new]))
    if on_progress is not None:
        on_progress(lanes)
    return found


def _elsewhere(ends: Solution, known: Sequence[Solution]) -> NDArray[np.bool_]:
    """Lanes whose end is not that of the same lane of one of `known`."""
    far = [np.abs(ends.theta - other.theta).max(axis=1) > _APART for other in known]
    return np.asarray(np.all(far, axis=0) & np.isfinite(ends.theta).all(axis=1))


def _compete(found: Solution, lanes: NDArray[np.intp], other: Solution) -> None:
    """Put `other` in the place of these lanes where it is the better."""
    if len(lanes):
        steps = found.steps[lanes] + other.steps
        found.put(lanes, Solution.best_of([found[lanes], other]))
        found.steps[lanes] = steps


class _Paths:
    """From starts to certified minima, through zones that narrow."""

    def __init__(
        self,
        problem: Problem,
        w: NDArray[np.float64],
        solve_widths: WidthSolver,
        options: SolverOptions,
    ) -> None:
        assert isinstance(problem.objective, HuberScale)
        self.problem, self.w, self.solve_widths, self.options = problem, w, solve_widths, options
        self.objective = problem.objective

    def _weights(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights of lanes whose rows these are: for a solver, (L, n) or (1, n), and (L, n)."""
        if len(self.w) == 1:
            return self.w, np.broadcast_to(self.w, (len(rows), self.w.shape[1]))
        return self.w[rows], self.w[rows]

    def begun(self, theta: NDArray[np.float64], rows: NDArray[np.intp]) -> Solution:
        """Ends in a wide zone of L lanes that begin at theta (L, p)."""
        weights, w = self._weights(rows)
        width = np.maximum(_CONTINUATION[0] * _mean_abs(self.problem, w, theta), 1e-12)
        first = dataclasses.replace(self.options, tolerance=1e-8)
        return self.solve_widths(self.problem, weights, theta, width, options=first, judged=False)

    def finished(self, ends: Solution, rows: NDArray[np.intp]) -> Solution:
        """Minima of L lanes, with certificates, from their ends in a wide zone."""
        if not len(rows):
            return ends
        problem, objective = self.problem, self.objective
        weights, w = self._weights(rows)
        narrow = dataclasses.replace(self.options, precision="float64", wide_start=False)
        loose = dataclasses.replace(narrow, tolerance=1e-8)
        theta, steps = ends.theta, ends.steps.copy()
        near = np.maximum(_mean_abs(problem, w, theta), 1e-12)
        width = _CONTINUATION[0] * near
        for fraction in _CONTINUATION[1:]:
            if objective.delta**2 >= fraction:  # the zone is delta sigma wide, sigma about delta mean|r|
                break
            width = fraction * near
            solution = self.solve_widths(problem, weights, theta, width, options=loose, judged=False)
            theta, steps = solution.theta, steps + solution.steps
            near = np.maximum(_mean_abs(problem, w, theta), 1e-12)
        sigma = objective.scale(problem.residuals(theta), w)
        at_vertex = objective.delta * sigma < VERTEX_BELOW * near
        found = Solution.empty(len(rows), problem.law.size)
        sharp = np.flatnonzero(at_vertex)
        if len(sharp):
            found.put(sharp, self._sharp(w[sharp], theta[sharp], width[sharp], steps[sharp]))
        left = np.flatnonzero(~(at_vertex & is_certified(found.status)))
        if len(left):
            few = weights if len(weights) == 1 else weights[left]
            smooth = _alternate(problem, few, w[left], theta[left], sigma[left], narrow, self.solve_widths)
            smooth.steps[:] += steps[left]
            # From its own minimum a lane may reach the sharp one after all: then that is the answer.
            sharp = np.flatnonzero(at_vertex[left])
            if len(sharp):
                again = self._sharp(
                    w[left[sharp]],
                    smooth.theta[sharp],
                    objective.delta * sigma[left[sharp]],
                    smooth.steps[sharp],
                )
                take = is_certified(again.status)
                smooth.put(sharp[take], again[take])
            found.put(left, smooth)
        # The law passes through every run with a weight: the likelihood is unbounded as sigma goes to zero.
        perfect = _mean_abs(problem, w, found.theta) < _PERFECT
        undetermined = perfect | degenerate(problem.law, problem.design, w, found.theta)
        found.status[(is_certified(found.status) & undetermined) | ~(w > 0).any(axis=1)] = Status.UNIDENTIFIED
        found.objective_value[np.isnan(found.objective_value)] = np.inf
        return found

    def _sharp(
        self,
        w: NDArray[np.float64],
        theta: NDArray[np.float64],
        width: NDArray[np.float64],
        steps: NDArray[np.int32],
    ) -> Solution:
        """Least absolute deviations from near theta (L, p), optima in zones of this half-width (L,)."""
        problem, objective = self.problem, self.objective
        end = least_absolute(problem, w, theta, width)
        # No further up than where it began: a step may have led elsewhere.
        lower = _mean_abs(problem, w, end.theta) <= _mean_abs(problem, w, theta) * (1 + 1e-9)
        certified = end.certified & lower
        residual = problem.residuals(end.theta)
        # The minimum of the likelihood itself, whose zone has a width, lies width * lambda_i beside it: about
        # 1e-6 in the likelihood, 1e-6 relative in B on the Chinchilla runs.
        sigma = objective.scale(residual, w)
        optimum = np.where(end.held, Status.BOUNDARY, Status.CONVERGED)
        return Solution(
            theta=end.theta,
            objective_value=objective.value(residual, w, sigma),
            decrement=end.excess,
            status=np.where(certified, optimum, Status.MAX_STEPS).astype(np.int8),
            steps=steps + end.steps,
        )


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


def _alternate(
    problem: Problem,
    weights: NDArray[Any],
    w: NDArray[np.float64],
    theta: NDArray[np.float64],
    sigma: NDArray[np.float64],
    options: SolverOptions,
    solve_widths: WidthSolver,
) -> Solution:
    """Fit scale and law in turn until the scale settles."""
    objective = problem.objective
    assert isinstance(objective, HuberScale)
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
