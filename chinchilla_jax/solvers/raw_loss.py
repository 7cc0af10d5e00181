"""Fits of the loss itself: from a fit of its logarithm, which is nearly the same, to the raw optimum.

Notation
    r_i       residual of the log loss
    e_i       raw residual, L_i (exp(r_i) - 1), about L_i r_i

Squares of e_i are about squares of r_i with weights L_i^2, and absolute values with weights L_i. Such a fit
of the logarithms has the kernel where the law has one, and far starts lead it astray less: raw residuals
grow like the exponential of the distance. The raw optimum is a few Newton steps away, and its certificate is
that of the raw objective.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chinchilla_jax.laws.objectives import Huber, Objective, Squared, ZonedObjective
from chinchilla_jax.solvers.base import Problem, Solution, Solver, SolverOptions
from chinchilla_jax.solvers.huber_scale import together

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Race(Protocol):
    """Fits every lane from the best of several starts."""

    def __call__(
        self,
        problem: Problem,
        weights: NDArray[Any],
        starts: Sequence[NDArray[np.float64]],
        *,
        options: SolverOptions,
    ) -> Solution:
        """Fit R lanes: weights (R, n) or (1, n), starts (R, p) each."""
        ...


def solve_raw(
    problem: Problem,
    weights: NDArray[Any],
    candidates: Sequence[NDArray[np.float64]],
    *,
    solve: Race,
    polish: Solver,
    options: SolverOptions,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane of a raw objective.

    Args:
        problem: what is fitted; p parameters.
        weights: (R, n) or (1, n).
        candidates: starts of every lane, best guess first, each (R, p).
        solve: fits the logarithms.
        polish: fits the losses, from where that ended.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
    """
    lanes = len(candidates[0])
    if not problem.design.valid:
        return Solution.invalid(lanes, problem.law.size)
    objective, factor = log_objective(problem)
    of_logs = dataclasses.replace(problem, objective=objective)
    near = solve(of_logs, np.asarray(weights, dtype=np.float64) * factor, candidates, options=options)
    theta = np.where(np.isfinite(near.theta), near.theta, candidates[0])
    # Starts of one data set meet at few optima: one lane of each is fitted further.
    one_table = len(weights) == 1
    lanes_of, every = together(theta) if one_table else (np.arange(lanes), np.arange(lanes))
    found = polish(problem, weights, theta[lanes_of], options=dataclasses.replace(options, wide_start=False))
    left = np.flatnonzero(~found.is_optimum)
    if len(left) and not one_table:
        wide = dataclasses.replace(options, wide_start=True)
        again = polish(problem, weights[left], candidates[0][left], options=wide)
        found.put(left, Solution.best_of([found[left], again]))
    found.steps[:] += near.steps[lanes_of]
    if on_progress is not None:
        on_progress(lanes)
    return found[every]


def log_objective(problem: Problem) -> tuple[Objective, NDArray[np.float64]]:
    """The objective of the log residuals nearest to a raw one, and the factors (n,) on its weights."""
    objective = problem.objective
    assert isinstance(objective, ZonedObjective)
    relative = np.exp(problem.design.log_loss) / problem.loss_unit
    if isinstance(objective, Squared) or not math.isfinite(objective.down):
        return Squared(), relative**2
    return Huber(objective.down / problem.loss_unit), relative
