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
from typing import TYPE_CHECKING, Protocol

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Solution, SolverOptions
from chinchilla_jax.solvers.batch import in_blocks
from chinchilla_jax.solvers.certificate import degenerate
from chinchilla_jax.solvers.least_absolute import least_absolute
from chinchilla_jax.solvers.nearest_at_bound import nearest_at_bound
from chinchilla_jax.solvers.status import Status, is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Law
    from chinchilla_jax.laws.objectives import Objective
    from chinchilla_jax.solvers.batch import Batch


class WidthSolver(Protocol):
    """Fits a law under a Huber zone of its own half-width in each lane."""

    def __call__(
        self,
        batch: Batch,
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        *,
        options: SolverOptions,
        judged: bool = True,
    ) -> Solution:
        """Fit R lanes from starts (R, p), with widths (R,)."""
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
    batch: Batch,
    candidates: Sequence[NDArray[np.float64]],
    *,
    solve_widths: WidthSolver,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
    few_calls: bool = False,
) -> Solution:
    """Fit every lane of a `HuberScale` objective; `decrement` is the dual's excess in a narrow zone.

    Lanes of one data set under one row of weights are several starts of one fit. They meet at few optima: the
    narrow zones are for one lane of each, and the best is compared with what lies at the bound.

    Args:
        batch: the lanes, all of data sets that can be fitted; n runs, p parameters.
        candidates: starts of every lane, best guess first, each (R, p).
        solve_widths: fits the law under a Huber zone of given half-width in each lane.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
        few_calls: whether a lane from the bound that joins another in the wide zone stops there. It would end
            at the same point to rounding, and published numbers have that rounding.
    """
    size = batch.law.size
    if batch.n_runs < size:
        raise UsageError(
            f"HuberScale needs at least {size} runs, found {batch.n_runs}; add runs or use Huber"
        )
    paths = _Paths(batch.law, batch.objective, solve_widths, options)
    _, fit = np.unique(batch.condition * len(batch.weights) + batch.row, return_inverse=True)
    known = [paths.begun(batch, start) for start in candidates]
    lanes_of, every = together(np.column_stack([fit, known[0].theta]))
    found = paths.finished(batch[lanes_of], known[0][lanes_of])[every]
    for number, ends in enumerate(known[1:], start=1):
        new = np.flatnonzero(_elsewhere(ends, known[:number]))
        _compete(found, new, paths.finished(batch[new], ends[new]))
    if batch.law.bounded:
        # Another minimum may lie where a bounded coordinate (E) is zero.
        best = _best_of_each(found, fit)
        of_best = batch[best]
        at_bound = paths.begun(of_best, nearest_at_bound(of_best, found.theta[best], options.workers))
        new = np.flatnonzero(_elsewhere(at_bound, [found[best]]))
        if few_calls and len(new):
            # From there the zone is wider than from their start; in the same one, most join that lane.
            widths = paths.first_widths(of_best[new], candidates[0][best[new]])
            joined = paths.within(of_best[new], at_bound.theta[new], widths)
            new = new[_elsewhere(joined, [known[0][best[new]]])]
        _compete(found, best[new], paths.finished(of_best[new], at_bound[new]))
    if on_progress is not None:
        on_progress(len(batch))
    return found


def _best_of_each(found: Solution, fit: NDArray[np.intp]) -> NDArray[np.intp]:
    """The best lane of every fit, of which `fit` (R,) gives the number; in the order of the fits."""
    order = np.argsort(fit, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(fit[order])) + 1) if len(order) else []
    return np.array([lanes[found[lanes].best_lane() if len(lanes) > 1 else 0] for lanes in groups], np.intp)


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
        self, law: Law, objective: Objective, solve_widths: WidthSolver, options: SolverOptions
    ) -> None:
        assert isinstance(objective, HuberScale)
        self.law, self.objective = law, objective
        self.solve_widths, self.options = solve_widths, options

    def begun(self, batch: Batch, theta: NDArray[np.float64]) -> Solution:
        """Ends in a wide zone of L lanes that begin at theta (L, p)."""
        return self.within(batch, theta, self.first_widths(batch, theta))

    def first_widths(self, batch: Batch, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half-widths (L,) of the wide zones of lanes that begin at theta (L, p)."""
        return np.maximum(_CONTINUATION[0] * _mean_abs(batch, theta), 1e-12)

    def within(self, batch: Batch, theta: NDArray[np.float64], widths: NDArray[np.float64]) -> Solution:
        """Ends of L lanes in zones of these half-widths (L,)."""
        first = dataclasses.replace(self.options, tolerance=1e-8)
        return self.solve_widths(batch, theta, widths, options=first, judged=False)

    def finished(self, batch: Batch, ends: Solution) -> Solution:
        """Minima of L lanes, with certificates, from their ends in a wide zone."""
        if not len(batch):
            return ends
        objective, w = self.objective, _real(batch)
        narrow = dataclasses.replace(self.options, precision="float64", wide_start=False)
        loose = dataclasses.replace(narrow, tolerance=1e-8)
        theta, steps = ends.theta, ends.steps.copy()
        near = np.maximum(_mean_abs(batch, theta), 1e-12)
        width = _CONTINUATION[0] * near
        for fraction in _CONTINUATION[1:]:
            if objective.delta**2 >= fraction:  # the zone is delta sigma wide, sigma about delta mean|r|
                break
            width = fraction * near
            solution = self.solve_widths(batch, theta, width, options=loose, judged=False)
            theta, steps = solution.theta, steps + solution.steps
            near = np.maximum(_mean_abs(batch, theta), 1e-12)
        sigma = objective.scale(batch.residuals(theta), w)
        at_vertex = objective.delta * sigma < VERTEX_BELOW * near
        found = Solution.empty(len(batch), self.law.size)
        sharp = np.flatnonzero(at_vertex)
        if len(sharp):
            found.put(sharp, self._sharp(batch[sharp], theta[sharp], width[sharp], steps[sharp]))
        left = np.flatnonzero(~(at_vertex & is_certified(found.status)))
        if len(left):
            smooth = self._alternate(batch[left], theta[left], sigma[left], narrow)
            smooth.steps[:] += steps[left]
            # From its own minimum a lane may reach the sharp one after all: then that is the answer.
            sharp = np.flatnonzero(at_vertex[left])
            if len(sharp):
                again = self._sharp(
                    batch[left[sharp]],
                    smooth.theta[sharp],
                    objective.delta * sigma[left[sharp]],
                    smooth.steps[sharp],
                )
                take = is_certified(again.status)
                smooth.put(sharp[take], again[take])
            found.put(left, smooth)
        # The law passes through every run with a weight: the likelihood is unbounded as sigma goes to zero.
        perfect = _mean_abs(batch, found.theta) < _PERFECT
        undetermined = perfect | degenerate(batch, found.theta)
        found.status[(is_certified(found.status) & undetermined) | ~(w > 0).any(axis=1)] = Status.UNIDENTIFIED
        found.objective_value[np.isnan(found.objective_value)] = np.inf
        return found

    def _sharp(
        self,
        batch: Batch,
        theta: NDArray[np.float64],
        width: NDArray[np.float64],
        steps: NDArray[np.int32],
    ) -> Solution:
        """Least absolute deviations from near theta (L, p), optima in zones of this half-width (L,)."""
        objective, w = self.objective, _real(batch)
        end = least_absolute(batch, theta, width, self.options.workers)
        # No further up than where it began: a step may have led elsewhere.
        lower = _mean_abs(batch, end.theta) <= _mean_abs(batch, theta) * (1 + 1e-9)
        certified = end.certified & lower
        residual = batch.residuals(end.theta)
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

    def _alternate(
        self,
        batch: Batch,
        theta: NDArray[np.float64],
        sigma: NDArray[np.float64],
        options: SolverOptions,
    ) -> Solution:
        """Fit scale and law in turn until the scale settles."""
        objective, w = self.objective, _real(batch)
        solution = self.solve_widths(batch, theta, objective.delta * sigma, options=options)
        # In a zone this narrow the scale hardly moves the law: a few turns are enough.
        narrow = objective.delta * sigma < VERTEX_BELOW * _mean_abs(batch, theta)
        turns = np.where(narrow, _NARROW_TURNS, _MOST_TURNS)
        for turn in range(_MOST_TURNS):
            updated = objective.scale(batch.residuals(solution.theta), w)
            moving = np.flatnonzero((np.abs(updated - sigma) > _SETTLED * sigma) & (turn < turns))
            sigma = np.where(turn < turns, updated, sigma)
            if not moving.size:
                break
            part = self.solve_widths(
                batch[moving], solution.theta[moving], objective.delta * sigma[moving], options=options
            )
            part.steps[:] += solution.steps[moving]
            solution.put(moving, part)
        final = objective.scale(batch.residuals(solution.theta), w)
        settled = np.abs(final - sigma) <= 1e-9 * sigma
        status = solution.status.copy()
        status[is_certified(status) & ~settled] = Status.MAX_STEPS
        value = objective.value(batch.residuals(solution.theta), w, np.maximum(final, 1e-300))
        return dataclasses.replace(solution, objective_value=value, status=status)


def together(theta: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """One lane of each distinct optimum, and for every lane the position of its optimum among those."""
    _, lanes_of, every = np.unique(np.round(theta, 5), axis=0, return_index=True, return_inverse=True)
    return lanes_of, every.reshape(-1)


def _real(batch: Batch) -> NDArray[np.float64]:
    """The weights of every lane (R, n) as numbers to calculate with."""
    return np.asarray(batch.rows, dtype=np.float64)


def _mean_abs(batch: Batch, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean of |r| over the runs with a weight; at the others a law may well overflow; (R,)."""
    return np.concatenate(in_blocks(_mean_abs_of_block, batch, theta))


def _mean_abs_of_block(batch: Batch, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    w = _real(batch)
    total = w.sum(axis=1)
    residual = np.where(w > 0, batch.residuals(theta), 0.0)
    return np.asarray(np.sum(w * np.abs(residual), axis=1) / np.where(total > 0, total, 1.0))
