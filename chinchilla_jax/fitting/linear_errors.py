"""What noise of the runs does to a fit, to first order: leverage, and the error of tokens per parameter.

Notation (n runs with weights w, p parameters)
    J      derivatives of the log losses at the optimum; (n, p)
    h_i    leverage of run i, the share of its own error that the law follows: diagonal of
           J (J' W J)^-1 J' W; between 0 and 1, p in sum (Belsley, Kuh & Welsch 1980, Regression Diagnostics)
    g      derivatives of ln tokens per parameter at a budget; (p,)
    s_i    g' (J' W J)^-1 J_i w_i: what an error of one in the log loss of run i adds to ln tokens per
           parameter
    error  sigma times the root of sum_i s_i^2, the standard error of ln tokens per parameter

As for least squares. A robust objective counts fewer runs and is no better.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.identifiability import asked_budget, ratios_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

_SINGULAR = 1e-12  # smallest singular value, relative to the largest, that tells of more than rounding
_STEP = 1e-5  # of standardised coordinates


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearErrors:
    """What errors of the runs do to the law, where the runs determine it to first order.

    Attributes:
        leverage: of each run, (n,); zero for runs without a weight.
        passed: s_i at `budget`, (n,); NaN where the law has no optimum there.
        budget: ten times the compute of the largest run (FLOP).
    """

    leverage: Floats
    passed: Floats
    budget: float

    @classmethod
    def of(cls, problem: Problem, weights: Floats | None, theta: Floats) -> LinearErrors | None:
        """Those at theta (p,); None where the derivatives do not have rank p."""
        size, count = problem.law.size, len(problem.design)
        w = np.ones(count) if weights is None else weights
        roots = np.sqrt(np.where(w > 0, w, 0.0))
        jacobian = problem.jacobian(theta) * roots[:, None]
        length = np.linalg.norm(jacobian, axis=0)
        if not (np.isfinite(jacobian).all() and (length > 0).all()) or count < size:
            return None
        left, values, right = np.linalg.svd(jacobian / length, full_matrices=False)
        if values[-1] <= _SINGULAR * values[0]:
            return None
        budget = asked_budget(problem.design)
        steps = _STEP * np.eye(size)
        around = ratios_at(problem, np.concatenate([theta + steps, theta - steps]), budget)
        with np.errstate(invalid="ignore"):
            gradient = (np.log(around[:size]) - np.log(around[size:])) / (2 * _STEP)
            passed = left @ (right @ (gradient / length) / values) * roots
        return cls(leverage=np.sum(left**2, axis=1), passed=passed, budget=budget)

    def factor(self, noise: float) -> float:
        """The factor within which tokens per parameter are known, 80% of the time; `noise` is sigma.

        NaN where the law has no optimum at the budget or the noise is not known.
        """
        error = 1.2816 * noise * float(np.linalg.norm(self.passed))
        return math.exp(min(error, 700.0))
