"""Derivatives of the log losses by the parameters, scaled to length one, as their singular values show them.

Notation (n runs with weights w, p parameters)
    J      derivatives of the log losses; (n, p)
    X      W^(1/2) J, columns scaled to length one; X = U diag(v) V'
    g      derivatives of ln tokens per parameter at a budget; (p,)
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.identifiability import ratios_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

_SINGULAR = 1e-12  # smallest singular value, relative to the largest, that tells of more than rounding
_STEP = 1e-5  # of standardised coordinates


@dataclasses.dataclass(frozen=True, eq=False)
class ScaledJacobian:
    """The singular value decomposition of X.

    Attributes:
        left: U, (n, k) with k the smaller of n and p; rows of runs without a weight are zero.
        values: v, (k,), descending.
        right: V', (k, p).
        length: of the columns before scaling, (p,).
    """

    left: Floats
    values: Floats
    right: Floats
    length: Floats

    @classmethod
    def of(cls, jacobian: Floats, weights: Floats | None) -> ScaledJacobian | None:
        """That of J (n, p) and w (n,); None where a column vanishes or is not finite."""
        if weights is not None:
            jacobian = jacobian * np.sqrt(np.where(weights > 0, weights, 0.0))[:, None]
        length = np.linalg.norm(jacobian, axis=0)
        if not (np.isfinite(jacobian).all() and (length > 0).all()):
            return None
        left, values, right = np.linalg.svd(jacobian / length, full_matrices=False)
        return cls(left=left, values=values, right=right, length=length)

    @property
    def full_rank(self) -> bool:
        """Whether there are as many directions as parameters, beyond rounding."""
        return len(self.values) == len(self.length) and bool(self.values[-1] > _SINGULAR * self.values[0])

    @property
    def condition(self) -> float:
        """Largest over smallest singular value: by how much errors of the runs are magnified."""
        return float(self.values[0] / self.values[-1]) if self.values[-1] > 0 else math.inf

    def passed(self, gradient: Floats) -> Floats:
        """What an error of one in each row of X adds to a function with derivatives (p,); (n,)."""
        return self.left @ (self.right @ (gradient / self.length) / self.values)


def condition(problem: Problem, weights: Floats | None, theta: Floats) -> float:
    """Condition number of X at theta (p,); inf where a column vanishes."""
    found = ScaledJacobian.of(problem.jacobian(theta), weights)
    return math.inf if found is None else found.condition


def ratio_gradient(problem: Problem, theta: Floats, budget: float) -> Floats:
    """G at theta (p,) and a budget in FLOP; (p,), NaN where the law has no optimum there."""
    size = problem.law.size
    steps = _STEP * np.eye(size)
    around = ratios_at(problem, np.concatenate([theta + steps, theta - steps]), budget)
    with np.errstate(invalid="ignore"):
        return (np.log(around[:size]) - np.log(around[size:])) / (2 * _STEP)
