"""What a table near a line of ln D in ln N lacks: how far apart tokens per parameter should be.

The answer is a matter of the design and of the noise. The fitted law has no part in it: on a line it may be
any of many, absurd ones among them. A reference law stands in, with exponents near the published ones and
the slope in compute that these runs show.

Notation
    c     slope of ln L in ln C over the runs
    f     share of both terms in the loss at the middle of the runs; terms of one size with exponents of 1/3
          give c = -f / 6
    g     derivatives of ln tokens per parameter at a budget; (p,)
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.automatic_delta import largest_scale
from chinchilla_jax.fitting.identifiability import Separation, asked_budget
from chinchilla_jax.fitting.scaled_jacobian import ScaledJacobian, ratio_gradient
from chinchilla_jax.laws.chinchilla import Chinchilla

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

ONE_BUDGET = -0.8  # power of parameters that tokens go with, below which the runs share a budget
_EXPONENT = 1 / 3
_SHARES = (0.1, 0.8)  # of the terms in the loss, whatever the slope; the middle of them where there is none
# Factors by which tokens per parameter might differ; less would leave the table near its line.
_FACTORS = (3.0, 6.0, 10.0, 30.0, 100.0)
_WANTED = math.log(2.0) / 1.2816  # standard error of ln tokens per parameter: 80% within a factor of 2


def remedy(problem: Problem, weights: Floats | None, separation: Separation, residuals: Floats) -> str:
    """What to do, as the end of a sentence.

    Args:
        problem: what was fitted.
        weights: of the runs (n,), or None.
        separation: of the same runs.
        residuals: of the log losses (n,), which show the noise.
    """
    if separation.same_params:
        return "add runs of at least two other sizes, a factor of 10 apart or more"
    if separation.same_tokens:
        return "add runs of at least two other token counts, a factor of 10 apart or more"
    one = "budget" if separation.power < ONE_BUDGET else "ratio of tokens to parameters"
    what = f"train the same sizes at a second {one}"
    factor = enough_spread(problem, weights, largest_scale(residuals, weights, problem.law.size))
    if factor is None:
        return f"{what}, several times as large or small"
    if math.isinf(factor):
        count = len(problem.design) if weights is None else int(np.count_nonzero(weights))
        return f"{what}, a factor of 10 away or more, on more than {count} runs"
    return f"{what}, a factor of {factor:g} away or more"


def reference_law(problem: Problem, weights: Floats | None) -> Floats | None:
    """Theta (p,) of the reference law of the runs; None where the law is of another form."""
    design = problem.design
    used = np.ones(len(design), bool) if weights is None else weights > 0
    log_compute = (design.params_scale * design.log_params + design.tokens_scale * design.log_tokens)[used]
    log_loss = design.log_loss[used]
    square = float(np.sum((log_compute - log_compute.mean()) ** 2))
    share = float(np.mean(_SHARES))
    if square > 1e-3 * len(log_compute):
        slope = float((log_compute - log_compute.mean()) @ log_loss) / square
        share = min(max(-2.0 / _EXPONENT * slope, _SHARES[0]), _SHARES[1])
    loss = math.exp(log_loss.mean())
    term = math.log(0.5 * share * loss)
    exponents = (_EXPONENT * design.params_scale, _EXPONENT * design.tokens_scale)
    theta = np.array([term, term, (1.0 - share) * loss, *exponents])
    return theta if isinstance(problem.law, Chinchilla) else problem.law.embed(theta, design)


def enough_spread(problem: Problem, weights: Floats | None, noise: float) -> float | None:
    """The factor of tokens per parameter at each size that would settle the optimum at ten times the compute.

    The runs keep their sizes and their number; every other one, in order of size, gets more tokens and the
    others fewer, by the root of the factor. It is enough where the linear standard error of ln tokens per
    parameter is below ln(2) / 1.28: 80% within a factor of two.

    Returns:
        The factor; inf where a factor of 100 is not enough, None where nothing is known.
    """
    design, law = problem.design, problem.law
    theta = reference_law(problem, weights)
    if theta is None or not math.isfinite(noise):
        return None
    gradient = ratio_gradient(problem, theta, asked_budget(design))
    if not np.isfinite(gradient).all():
        return None
    # Ties in size are different runs: one of two goes up and one down.
    order = np.empty(len(design), np.intp)
    order[np.argsort(design.log_params, kind="stable")] = np.arange(len(design))
    side = np.where(order % 2 == 0, 0.5, -0.5) / design.tokens_scale
    known = None
    for factor in _FACTORS:
        moved = dataclasses.replace(design, log_tokens=design.log_tokens + side * math.log(factor))
        scaled = ScaledJacobian.of(law.jacobian(theta, moved), weights)
        if scaled is None or not scaled.full_rank:
            continue
        known = math.inf
        if noise * float(np.linalg.norm(scaled.passed(gradient))) <= _WANTED:
            return factor
    return known
