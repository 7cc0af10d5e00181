"""What is fitted, from arguments as people give them: law, objective, width of the zone, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import real_array
from chinchilla_jax.laws import read_law, read_objective
from chinchilla_jax.laws.objectives import AUTO, Delta, Huber, Objective, RawHuber
from chinchilla_jax.solvers import Problem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Law

_PUBLISHED_DELTA = 1e-3


def read_problem(
    caller: str, runs: object, law: Law | str, objective: Objective | str, delta: Delta | None = None
) -> Problem:
    """What is to be fitted, from arguments as people give them; a zone that is "auto" has no width yet.

    Raises:
        UsageError: `runs` is not a `Runs`, the law or the objective is unknown, or the law cannot describe
            the runs.
    """
    from chinchilla_jax.datasets import Runs

    if not isinstance(runs, Runs):
        found = short(runs) if isinstance(runs, str) else f"a {type(runs).__name__}"
        raise UsageError(f"{caller}: runs is {found}, expected Runs; load_runs reads a table")
    if delta is None and isinstance(objective, str) and objective in (Huber.name, RawHuber.name):
        delta = usual_delta(runs)
    law = read_law(law)
    problem = Problem(law=law, design=law.design(runs), objective=read_objective(objective, delta=delta))
    if problem.design.valid:
        problem.law.require(problem.design)
    return problem


def usual_delta(runs: Runs) -> Delta:
    """Half-width of the zone of `Huber` and `RawHuber` where the caller gives none.

    "auto", which costs nothing and makes intervals narrower and their coverage right: see
    experiments/coverage_designs. Embedded tables keep the 1e-3 of the papers that they are compared with.
    """
    from chinchilla_jax.datasets.catalogue import is_embedded

    return _PUBLISHED_DELTA if is_embedded(runs) else AUTO


def read_weights(weights: ArrayLike | None, n_runs: int) -> NDArray[np.float64] | None:
    """Weights of the runs (n,), with a mean of 1 over those that have one; None where all count the same.

    Raises:
        UsageError: not one number for each run, one that is negative or not finite, or all of them zero.
    """
    if weights is None:
        return None
    array = real_array("weights", weights)
    if array.shape != (n_runs,):
        raise UsageError(f"weights have shape {array.shape}; give one for each of {n_runs} runs")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if len(bad):
        raise UsageError(
            f"weights: {len(bad)} of {n_runs} are negative or not finite (first: {array[bad[0]]} of run "
            f"{bad[0] + 1}); give zero or more"
        )
    if not array.any():
        raise UsageError("weights: all are zero; give some run a weight")
    # Only their ratios matter; with a mean of one every threshold of the solvers keeps its meaning.
    return np.asarray(array / array.max() / np.mean(array[array > 0] / array.max()))


def require_fit_of(problem: Problem, point: FitResult, what: str) -> None:
    """Refuse a fit of other runs: its residuals are not those of its law on these.

    Raises:
        UsageError: it is one.
    """
    same = point.n_runs == len(problem.design)
    if same and problem.design.valid and np.isfinite(point.residuals).all():
        same = np.allclose(problem.residuals(point.theta), point.residuals, rtol=0.0, atol=1e-9)
    if not same:
        raise UsageError(f"{what} is a fit of other runs; give one of the same runs, or leave it out")
