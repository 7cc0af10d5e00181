"""The residual of every run from the law that is fitted without it.

Notation
    n, p       runs, parameters of the law
    residual   r_i, log predicted minus log observed loss; (n,)
    leverage   h_i, diagonal of the projection onto the columns of the Jacobian; (n,)

In least squares a residual of the fit has 1 - h_i times the variance of the error, and one of the fit without
the run 1 / (1 - h_i) times: the former are too small, most of all on small tables. The fits without a run are
made and not derived from leverages, so that they are right for every law and objective. Close to least
absolute deviations, where p residuals of the fit vanish, leverages would leave those at zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.column_space import orthonormal_basis
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter, fit_all
from chinchilla_jax.bootstrapping.weights import leave_one_out
from chinchilla_jax.solvers.status import is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.solvers import Problem

_LARGEST_LEVERAGE = 0.9  # beyond it a run determines the law by itself, and its residual tells nothing


def left_out_residuals(fitter: ResampleFitter, point: FitResult) -> NDArray[np.float64]:
    """Residual (n,) of every run from the law fitted without it, by the same estimator.

    Where that fit is not certified, because the run is needed to determine the law, r_i / (1 - h_i).

    Args:
        fitter: fits weightings of the runs.
        point: the fit to all runs.
    """
    problem, count = fitter.problem, len(fitter.problem.design)
    weights = leave_one_out(count)
    found = fit_all(fitter, lambda lanes: weights[lanes], count)
    with np.errstate(all="ignore"):
        residuals = np.diagonal(problem.residuals(found.theta)).copy()
    usable = is_certified(found.status) & np.isfinite(residuals)
    approximate = point.residuals / (1 - _leverages(problem, point, fitter.own))
    return np.where(usable, residuals, approximate)


def _leverages(problem: Problem, point: FitResult, own: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Leverage h (n,) of every run at the fit, at most `_LARGEST_LEVERAGE`."""
    jacobian = problem.jacobian(point.theta)
    if own is not None:
        jacobian = jacobian * np.sqrt(own)[:, None]
    return np.minimum(np.sum(orthonormal_basis(jacobian) ** 2, axis=1), _LARGEST_LEVERAGE)
