"""What a law says of runs that it was not fitted to, under every weighting of the runs.

| code    | symbol | shape      | meaning                                                                 |
|---------|--------|------------|-------------------------------------------------------------------------|
| masks   |        | (K, n)     | runs held out in each part of a split                                   |
| weights |        | (1 + R, n) | of the runs themselves, then of the resamples                           |
| errors  | r_i    | (1 + R, n) | ln predicted - ln observed loss of runs outside the fit; NaN for others |
| score   |        | (1 + R,)   | weighted mean of |r_i| over the runs held out                           |

A resample weights the runs, in the fits and in the score alike: a run that was drawn three times is held out
three times, and is never on both sides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.fitting.problem_fit import ask_problem_fit
from chinchilla_jax.solvers.requests import side_by_side

if TYPE_CHECKING:
    from chinchilla_jax.solvers import Problem, Solution, SolverOptions
    from chinchilla_jax.solvers.requests import Asking

Floats = NDArray[np.float64]
STARTS = 24  # of the fits from which each part's resamples start


def held_out_errors(
    problem: Problem, masks: NDArray[np.bool_], weights: Floats, options: SolverOptions | None = None
) -> Floats:
    """Errors (1 + R, n) of a law; NaN too where the part of a run has no optimum under a weighting.

    A fit at an edge (E = 0) is an optimum and predicts like any other.
    """
    parts = side_by_side([ask_part(problem, mask, weights, options) for mask in masks])
    return errors_of(problem, masks, parts)


def errors_of(problem: Problem, masks: NDArray[np.bool_], parts: Sequence[Solution]) -> Floats:
    """`held_out_errors` of fits without each part, as `ask_part` gives them."""
    design = problem.design
    errors = np.full((len(parts[0]), len(design)), np.nan)
    for mask, found in zip(masks, parts, strict=True):
        held = np.flatnonzero(mask)
        places = [column[held] for column in design.places]
        part = problem.law.log_losses(found.theta, places, design) - design.log_loss[held]
        usable = found.is_optimum & np.isfinite(part).all(axis=1)
        errors[:, held] = np.where(usable[:, None], part, np.nan)
    return errors


def scores(errors: Floats, masks: NDArray[np.bool_], weights: Floats) -> Floats:
    """Score under every weighting (1 + R,); NaN where some part has no optimum or nothing to predict."""
    held = masks.any(axis=0)
    of_held = weights[:, held]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(of_held * np.abs(errors[:, held]), axis=1) / of_held.sum(axis=1))


def ask_part(
    problem: Problem, mask: NDArray[np.bool_], weights: Floats, options: SolverOptions | None
) -> Asking[Solution]:
    """Fits without the runs of one part under every weighting, as a procedure, see solvers/requests.py."""
    kept = (~mask).astype(np.float64)
    left = weights * kept
    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    point = yield from ask_problem_fit(problem, left[0], starts=STARTS, options=wide)
    fitter = yield from ResampleFitter.ask_prepared(problem, point, own=kept, options=options, raced=True)
    return (yield from fitter.ask_fit(left, fitter.starts(left)))
