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

from chinchilla_jax.fitting.identifiability import asked_budget
from chinchilla_jax.fitting.scaled_jacobian import ScaledJacobian, ratio_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LinearErrors:
    """What errors of the runs do to the law, where the runs determine it to first order.

    Attributes:
        leverage: of each run, (n,); zero for runs without a weight.
        passed: s_i at `budget`, (n,); NaN where the law has no optimum there.
        budget: ten times the compute of the largest run (FLOP).
        condition: of the derivatives, see `ScaledJacobian.condition`.
    """

    leverage: Floats
    passed: Floats
    budget: float
    condition: float

    @classmethod
    def of(cls, problem: Problem, weights: Floats | None, theta: Floats) -> LinearErrors | None:
        """Those at theta (p,); None where the derivatives do not have rank p."""
        scaled = ScaledJacobian.of(problem.jacobian(theta), weights)
        if scaled is None or not scaled.full_rank:
            return None
        roots = 1.0 if weights is None else np.sqrt(np.where(weights > 0, weights, 0.0))
        budget = asked_budget(problem.design)
        return cls(
            leverage=np.sum(scaled.left**2, axis=1),
            passed=scaled.passed(ratio_gradient(problem, theta, budget)) * roots,
            budget=budget,
            condition=scaled.condition,
        )

    def factor(self, noise: float) -> float:
        """The factor within which tokens per parameter are known, 80% of the time; `noise` is sigma.

        NaN where the law has no optimum at the budget or the noise is not known.
        """
        error = 1.2816 * noise * float(np.linalg.norm(self.passed))
        return math.exp(min(error, 700.0))
