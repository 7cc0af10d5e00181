"""Runs at which a law, or its derivative, is no number: what no solver can step from.

A law of the user's own may be a root or a logarithm of what is negative at some runs, or a root of zero,
which has no derivative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.text import count_text, list_text
from chinchilla_jax.laws import NaturalLaw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

_SHOWN = 3  # parameters whose derivatives are named


def no_number(problem: Problem, theta: NDArray[np.float64], residuals: NDArray[np.float64]) -> str | None:
    """What is no number where an uncertified fit ended, as a sentence with the remedy; None if all are.

    Args:
        problem: what was fitted; laws in natural parameters are looked at.
        theta: (p,) where the best start ended.
        residuals: there, (n,).
    """
    law, design = problem.law, problem.design
    if not isinstance(law, NaturalLaw):
        return None
    lacking = ~np.isfinite(residuals)
    at = list_text([f"{name} = {value:.4g}" for name, value in law.natural(theta, design).items()])
    if lacking.any():
        return (
            f"The law {law.name} has no positive finite loss at {_runs(problem, lacking)}, from any start; "
            f"the best was {at}. Give guesses at which it has one at every run, or change the function."
        )
    slopes = ~np.isfinite(law.jacobian(theta, design))
    if not slopes.any():
        return None
    names = [name for name, column in zip(law.parameters, slopes.T, strict=True) if column.any()]
    return (
        f"The derivative of the law {law.name} by {list_text(names, _SHOWN)} is not finite at "
        f"{_runs(problem, np.any(slopes, axis=1))}, where {at}. Change the function so that it has one: a "
        "root of 0 has none."
    )


def _runs(problem: Problem, chosen: NDArray[np.bool_]) -> str:
    first, design = int(np.flatnonzero(chosen)[0]), problem.design
    params = np.exp(design.params_location + design.params_scale * design.log_params[first])
    tokens = np.exp(design.tokens_location + design.tokens_scale * design.log_tokens[first])
    return (
        f"{count_text(int(chosen.sum()), 'run')} of {len(chosen)} (first: run {first + 1}, with {params:.3g} "
        f"parameters and {tokens:.3g} tokens)"
    )
