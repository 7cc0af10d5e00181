"""Whether a law has a compute-optimal point at all, and why not.

A law whose loss does not fall with one of the counts prescribes none of it: tokens per parameter 0 or +inf,
which are an edge and no answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import NoOptimumError, UsageError
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMEDY = "check the losses and the counts of the table"


def known_ratio(ratio: float) -> float:
    """Tokens per parameter, NaN in place of the 0 and +inf that stand for an optimum at an edge."""
    return float(ratio) if 0 < ratio < math.inf else math.nan


def has_optimum(law: FittedLaws) -> NDArray[np.bool_]:
    """Whether each law has a best allocation inside the plane: A, B, alpha and beta positive and finite.

    Laws without a closed form are asked at each budget: here only whether they were found.
    """
    if isinstance(law, FittedLaw):
        same = law.model.allocation_law(law.theta, law.design)
        if same is None:
            return np.asarray(np.isfinite(law.theta).all(axis=-1) & law.model.has_optimum)
        return has_optimum(same)
    named = law.as_dict()
    fields = np.stack([np.asarray(named[name]) for name in ("A", "B", "alpha", "beta")])
    return np.asarray(((fields > 0) & np.isfinite(fields)).all(axis=0) & np.isfinite(np.asarray(named["E"])))


def no_optimum(law: FittedLaws) -> str:
    """Why a single law has no compute-optimal point at any budget, as a clause; "" where it has one."""
    if isinstance(law, FittedLaw) and not law.model.has_optimum:
        return f"{law.model.name} predicts losses and says nothing of how a budget is best divided"
    same = law.model.allocation_law(law.theta, law.design) if isinstance(law, FittedLaw) else law
    if not isinstance(same, ScalingLaw):
        try:
            ratio = float(np.asarray(law.tokens_per_param(1e21)))
        except UsageError as error:
            return f"{error}"
        return "" if 0 < ratio < math.inf else "one of its terms does not fall with the counts"
    if bool(has_optimum(same)):
        return ""
    for names, what in ((("alpha", "A"), "parameters"), (("beta", "B"), "tokens")):
        for name in names:
            value = float(getattr(same, name))
            if value <= 0:
                return f"{name} is {value:.4g}, so that more {what} do not lower the loss"
    return "a parameter of the law is not finite"


def no_optimum_anywhere(law: FittedLaws) -> str:
    """`no_optimum`, for laws that need not be asked at a budget; "" for those that must be."""
    searched = isinstance(law, FittedLaw) and law.model.allocation_law(law.theta, law.design) is None
    return "" if searched and law.model.has_optimum else no_optimum(law)  # type: ignore[attr-defined]


def remedy_of(law: FittedLaws) -> str:
    """What to do about a law without a compute-optimal point."""
    if isinstance(law, FittedLaw) and not law.model.has_optimum:
        return "fit a law of parameters and tokens, or predict its losses"
    return REMEDY


def require_optimum(law: FittedLaws, source: str, remedy: str | None = None) -> None:
    """Refuse a single law without a compute-optimal point: it prescribes nothing.

    Args:
        law: the law.
        source: where it comes from.
        remedy: what to do; None as `remedy_of`.

    Raises:
        NoOptimumError: it has none.
    """
    why = no_optimum(law)
    if why:
        raise NoOptimumError(no_optimum_sentence(source, why, remedy or remedy_of(law)))


def no_optimum_sentence(source: str, why: str, remedy: str = REMEDY) -> str:
    """That a law has no compute-optimal point, why (see `no_optimum`) and what to do."""
    return f"{source}: no budget has a compute-optimal size, because {why}; {remedy}"
