"""What people train next without a design: simple rules, to compare with.

| rule            | runs                                                                              |
|-----------------|-----------------------------------------------------------------------------------|
| largest         | one run, the compute-optimal of the most compute that the allowance pays for      |
| ladder          | compute-optimal runs at budgets of one factor, the largest as above               |
| replicates      | the compute-optimal run of an equal share of the allowance, several times         |
| spread          | runs of an equal share each: the smallest, the middle and the largest size for it |

Each is of the candidates: the one nearest to what the rule asks for, among those that are paid for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.planning.design.question import Question

    Floats = NDArray[np.float64]

RULES = ("largest", "ladder", "replicates", "spread")
_FACTOR = 2.0  # between the budgets of a ladder


def rule_choices(question: Question, allowance: float, most: int) -> dict[str, tuple[int, ...]]:
    """What each rule would choose: positions of candidates; rules without a choice are left out."""
    places, paid, off = question.places, question.paid, question.off
    if np.isnan(off).all():
        return {}
    share = allowance / most
    parts = allowance * (1 - 1 / _FACTOR) / (1 - _FACTOR**-most) * _FACTOR ** -np.arange(float(most))
    found = {
        "largest": [_nearest(paid, off, allowance)],
        "ladder": [_nearest(paid, off, part) for part in parts],
        "replicates": [_nearest(paid, off, share)] * most,
        "spread": _spread(paid, places.params, share, most),
    }
    known = {name: tuple(place for place in chosen if place is not None) for name, chosen in found.items()}
    return {
        name: known[name]
        for name, chosen in found.items()
        if len(known[name]) == len(chosen) and not (question.plain.once and _repeats(known[name]))
    }


def _repeats(chosen: tuple[int, ...]) -> bool:
    return len(set(chosen)) < len(chosen)


def _nearest(flops: Floats, off: Floats, budget: float) -> int | None:
    """The candidate within the budget that is nearest to the optimum of most of it."""
    paid = flops <= budget * (1 + 1e-9)
    if not paid.any():
        return None
    # As far from the budget as from the frontier counts the same.
    return int(np.argmin(np.where(paid, np.log(budget / flops) + np.nan_to_num(off, nan=np.inf), np.inf)))


def _spread(flops: Floats, params: Floats, share: float, most: int) -> list[int | None]:
    """Candidates of about equal cost, from the smallest size to the largest."""
    paid = (flops <= share * (1 + 1e-9)) & (flops >= share / _FACTOR)
    if not paid.any():
        return [None]
    order = np.flatnonzero(paid)[np.argsort(params[paid], kind="stable")]
    return [int(order[i]) for i in np.linspace(0, len(order) - 1, most).round().astype(int)]
