"""What a table has too few of: sizes, token counts, different places, or runs beyond the law's parameters.

Notation: n runs with a weight, p parameters, d = n - p degrees of freedom of the residuals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.automatic_delta import effective_runs
from chinchilla_jax.solvers.certificate import identifiable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]


def shortage(problem: Problem, weights: Floats | None) -> str | None:
    """What the runs have too few of to determine the law, and what to add; None where they have enough."""
    design, law = problem.design, problem.law
    used = np.ones(len(design), bool) if weights is None else weights > 0
    sizes, tokens, places = (len(np.unique(group[used])) for group, _ in design.groups)
    sizes_needed, tokens_needed, together = law.least
    for count, needed, what, term in (
        (sizes, sizes_needed, "model size", "N"),
        (tokens, tokens_needed, "token count", "D"),
    ):
        if count < needed:
            least = "a third" if (count, needed) == (2, 3) else f"others, for {needed} in all"
            return (
                f"Only {_counted(count, what)}: many curves of {term}, each with an irreducible loss of its "
                f"own, pass through {'it' if count == 1 else 'them'}; add {least}, a factor of 10 away."
            )
    if sizes + tokens < together:
        return (
            f"Only {_counted(sizes, 'model size')} and {_counted(tokens, 'token count')} for a law of "
            f"{law.size} parameters, which needs {together} of both together; add sizes or token counts."
        )
    count = int(used.sum())
    if places < law.size:
        seen = "" if places == count else f" ({count} with repetitions)"
        return (
            f"Only {_counted(places, 'different run')}{seen} for a law of {law.size} parameters; add runs of "
            f"other sizes and token counts, {2 * law.size} or more in all."
        )
    if places < 2 * law.size and not identifiable(law, design, used[None], np.array([math.inf]))[0]:
        return (
            f"The {places} places of these runs leave a curve of laws that fit alike, since too few sizes "
            "have several token counts; add token counts at sizes that have one."
        )
    return None


def few_left(problem: Problem, weights: Floats | None) -> str | None:
    """What residuals of so few degrees of freedom are worth; None for as many runs as two per parameter."""
    size = problem.law.size
    count = len(problem.design) if weights is None else int(np.count_nonzero(weights))
    worth = count if weights is None else effective_runs(weights)
    if worth < count and count - size >= size > worth - size:
        return (
            f"the weights let {count} runs count as {worth:.2g} of equal weight for {size} parameters, so "
            "the law passes near those with the largest and the residuals show the noise poorly; add runs "
            "or give weights that differ less"
        )
    left = count - size
    if left >= size:
        return None
    said = f"{count} runs for {size} parameters leave {_counted(left, 'degree')} of freedom"
    if left <= 0:
        return f"{said}: the law passes through every run, and nothing shows its error; add runs"
    from scipy.special import chdtri

    # Of normal errors: the scale found over the true one is the root of chi squared over its degrees.
    low, high = (math.sqrt(chdtri(left, p) / left) for p in (0.9, 0.1))
    return (
        f"{said}: the law passes so near every run that the residuals show the noise poorly (80% of the time "
        f"they give {low:.2g} to {high:.2g} times its size); add runs, {2 * size} or more in all"
    )


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
