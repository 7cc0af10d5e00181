"""What a reader must know before using the numbers of a point fit, one sentence each.

A certificate speaks of an optimum. Whether the runs determine the law is a second judgement, and CONVERGED
needs both: `judge_fit` takes the status back where the runs cannot tell two laws apart, and says what they
lack.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.identifiability import (
    Rival,
    Separation,
    asked_budget,
    condition,
    enough_spread,
    ratios_at,
    rival_of,
)
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

_ONE_BUDGET = -0.8  # power of parameters that tokens go with, below which the runs share a budget


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the runs say about the best optimum of a fit.

    Attributes:
        status: that of the optimum, or UNIDENTIFIED where the runs do not determine the law.
        reason: what the runs lack, where that is known; else the sentence of the status.
        warnings: see `FitResult.warnings`.
    """

    status: Status
    reason: str
    warnings: tuple[str, ...] = ()


def judge_fit(
    problem: Problem,
    weights: Floats | None,
    theta: Floats,
    status: Status,
    others: Floats,
    scale: float,
) -> Judgement:
    """Judge the best optimum theta (p,) of a fit.

    Args:
        problem: what was fitted.
        weights: of the runs (n,), or None.
        theta: the best optimum.
        status: how its lane ended.
        others: the other optima found (K, p).
        scale: of the residuals, in log loss; NaN where there are too few.
    """
    if status is Status.INVALID:
        return Judgement(status=status, reason=status.sentence)
    separation = Separation.of(problem.design, weights)
    if not status.certified:
        reason = status.sentence
        if separation.on_line:  # more steps, if it ran out of them, would not help
            status = Status.UNIDENTIFIED
            reason = _not_told_apart(problem, weights, theta, separation, None, scale)
        elif separation.near_line:
            hardly = _hardly_told_apart(problem, weights, theta, separation, scale)
            reason = f"{reason} Here {hardly}."
        return Judgement(status=status, reason=reason)
    rival = rival_of(problem, weights, theta, others)
    if separation.near_line and rival is not None:
        reason = _not_told_apart(problem, weights, theta, separation, rival, scale)
        return Judgement(status=Status.UNIDENTIFIED, reason=reason)
    found = []
    if status is Status.BOUNDARY:
        found.append(
            "the best E is 0: these runs show no irreducible loss, so predictions far beyond them are too "
            "low if there is one; add runs with more compute"
        )
    found += _rising(problem, theta)
    if separation.near_line:
        found.append(_hardly_told_apart(problem, weights, theta, separation, scale))
    if rival is not None:
        found.append(_rival(problem, theta, rival))
    return Judgement(status=status, reason=status.sentence, warnings=tuple(found))


def _rising(problem: Problem, theta: Floats) -> list[str]:
    """Losses that rise with parameters or tokens."""
    law = problem.law.allocation_law(theta, problem.design)
    if law is None:
        return []
    return [
        f"the fitted loss rises with {what} ({name} = {float(exponent):.3g}), so there is no optimum at any "
        f"budget; see whether the runs with most {what} were trained as well as the others, and add runs "
        f"that differ in {what} alone"
        for what, name, exponent in (("parameters", "alpha", law.alpha), ("tokens", "beta", law.beta))
        if exponent < 0
    ]


def _line(separation: Separation) -> str:
    """In words, which line the runs are on or near."""
    who = "all runs"
    if separation.one_carries:
        who = f"all runs but one (run {separation.run + 1} of the table)"
    off = math.expm1(separation.off_line)
    within = f", to within {off:.1%}" if off > 0.001 else ""
    for same, count, what in (
        (separation.same_params, separation.params, "parameters"),
        (separation.same_tokens, separation.tokens, "tokens"),
    ):
        if same:
            return f"{who} have {count:.3g} {what}"
    if separation.power < _ONE_BUDGET:
        return f"{who} have one budget{within}"
    if abs(separation.power - 1.0) < 0.02:
        return f"{who} have {separation.ratio:.3g} tokens per parameter{within}"
    return f"{who} have tokens that go with the power {separation.power:.2f} of parameters{within}"


def _remedy(
    problem: Problem, weights: Floats | None, laws: list[Floats], separation: Separation, scale: float
) -> str:
    """How much spread would do under any of the laws (p,) that the runs allow and that have an optimum."""
    budget = asked_budget(problem.design)
    usable = [theta for theta in laws if not np.isnan(ratios_at(problem, theta[None], budget)[0])]
    factors = [enough_spread(problem, weights, theta, scale) for theta in usable]
    what = "train the same sizes at tokens per parameter that differ by a factor of"
    if separation.same_params:
        return "add runs of other sizes, a factor of 10 apart or more"
    if separation.power < _ONE_BUDGET:
        what = "train the same sizes with a second budget, larger or smaller by a factor of"
    if not factors:
        return f"{what} several"
    known = [factor for factor in factors if factor is not None]
    if len(known) == len(factors):
        return (
            f"{what} {max(known):g} or more, which with as many runs and these residuals would settle tokens "
            f"per parameter at {budget:.2g} FLOP within a factor of 2"
        )
    return (
        f"{what} 10 to 100, and more runs or runs with less noise: with as many runs and these residuals "
        f"even 100 would not settle tokens per parameter at {budget:.2g} FLOP within a factor of 2"
    )


def _ratio_text(ratio: float) -> str:
    return "undefined" if math.isnan(ratio) else f"{ratio:.3g}"


def _not_told_apart(
    problem: Problem,
    weights: Floats | None,
    theta: Floats,
    separation: Separation,
    rival: Rival | None,
    scale: float,
) -> str:
    """Why the runs do not determine the law, and what would."""
    budget = asked_budget(problem.design)
    apart = separation.same_params or separation.same_tokens
    twin = problem.law.exchanged(theta) if separation.power > 0 and not apart else None
    other, fits = math.nan, ""
    if rival is not None:
        other, fits = rival.ratio, f"by another that fits as well ({_excess(rival)})"
    elif twin is not None and not separation.one_carries:
        other = float(ratios_at(problem, twin[None], budget)[0])
        fits = "by its twin, which has the terms exchanged and predicts the same losses"
    said = _line(separation)
    if fits:
        mine = float(ratios_at(problem, theta[None], budget)[0])
        said += (
            f"; tokens per parameter at {budget:.2g} FLOP are {_ratio_text(mine)} by the law found and "
            f"{_ratio_text(other)} {fits}"
        )
    if separation.one_carries:
        said += "; an error of that one run passes into the law undiminished"
    elif not fits:
        said += ", and what the law says elsewhere is its form alone"
    remedy = _remedy(problem, weights, [theta] if twin is None else [theta, twin], separation, scale)
    return (
        f"The runs do not tell the terms of the law apart: {said}. "
        f"More runs of this kind do not help: {remedy}."
    )


def _hardly_told_apart(
    problem: Problem, weights: Floats | None, theta: Floats, separation: Separation, scale: float
) -> str:
    number = condition(problem, weights, theta)
    remedy = _remedy(problem, weights, [theta], separation, scale)
    return (
        f"{_line(separation)}, which hardly tells the terms of the law apart (condition number "
        f"{number:.2g}); {remedy}"
    )


def _rival(problem: Problem, theta: Floats, rival: Rival) -> str:
    budget = asked_budget(problem.design)
    mine = float(ratios_at(problem, theta[None], budget)[0])
    return (
        f"another optimum fits these runs as well ({_excess(rival)}): tokens per parameter at {budget:.2g} "
        f"FLOP are {_ratio_text(mine)} by this law and {_ratio_text(rival.ratio)} by that; add runs that "
        "differ in tokens per parameter"
    )


def _excess(rival: Rival) -> str:
    return f"objective {rival.excess:.2%} higher, {rival.errors:.1f} sampling errors"
