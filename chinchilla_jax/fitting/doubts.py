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

from chinchilla_jax._util.text import flops_text
from chinchilla_jax.fitting.automatic_delta import largest_scale
from chinchilla_jax.fitting.identifiability import (
    Rival,
    Separation,
    asked_budget,
    constant_explains,
    is_near_line,
    ratios_at,
    rival_of,
)
from chinchilla_jax.fitting.linear_errors import LinearErrors
from chinchilla_jax.fitting.no_number import no_number
from chinchilla_jax.fitting.remedy import ONE_BUDGET, remedy
from chinchilla_jax.fitting.run_off import run_offs
from chinchilla_jax.fitting.scaled_jacobian import condition
from chinchilla_jax.fitting.shortage import few_left, shortage
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

_CARRIES = 0.98  # leverage above which the law follows whatever a run says
_HEAVY, _DECIDES = 0.8, 0.25  # leverage, and share of the answer's variance, from which one run decides it
_SPREAD_OUT = "add runs of other sizes and token counts, a factor of 10 apart or more."
_LOOSE = 10.0  # factor of tokens per parameter beyond which they are not known at all
_ALIKE, _LOOSE_IF_ALIKE = 0.95, 3.0  # correlation of ln N and ln D that is to blame for a factor beyond this


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
    residuals: Floats,
    *,
    warned: bool = True,
) -> Judgement:
    """Judge the best optimum theta (p,) of a fit.

    Args:
        problem: what was fitted.
        weights: of the runs (n,), or None.
        theta: the best optimum.
        status: how its lane ended.
        others: the other optima found (K, p).
        residuals: log predicted minus log observed loss at theta (n,).
        warned: whether the warnings of a certified fit are worked out; its status does not depend on them.
    """
    if status is Status.INVALID:
        return Judgement(status=status, reason=status.sentence)
    if not status.certified:
        separation = Separation.of(problem.design, weights)
        return _judge_uncertified(problem, weights, theta, status, separation, residuals)
    if constant_explains(problem, weights, theta, residuals):
        return Judgement(status=Status.UNIDENTIFIED, reason=_flat(problem, weights))
    if not warned and not is_near_line(problem.design, weights):
        return Judgement(status=status, reason=status.sentence)
    separation = Separation.of(problem.design, weights)
    rival = rival_of(problem, weights, theta, others)
    if separation.near_line and rival is not None:
        reason = _not_told_apart(problem, weights, theta, separation, rival, residuals)
        return Judgement(status=Status.UNIDENTIFIED, reason=reason)
    if not warned:
        return Judgement(status=status, reason=status.sentence)
    found = []
    if status is Status.BOUNDARY:
        found.append(
            "the best E is 0: these runs show no irreducible loss, so predictions far beyond them are too "
            "low if there is one; add runs with more compute"
        )
    found += _rising(problem, theta)
    if problem.law.exchangeable and separation.near_line:
        found.append(_hardly_told_apart(problem, weights, theta, separation, residuals))
    if rival is not None:
        found.append(_rival(problem, theta, rival))
    found += _carried(problem, weights, theta, separation, residuals, told=len(found) > 0)
    left = few_left(problem, weights)
    if left is not None:
        found.append(left)
    return Judgement(status=status, reason=status.sentence, warnings=tuple(found))


def _flat(problem: Problem, weights: Floats | None) -> str:
    """What is said where `constant_explains`: of few runs because they hardly show how large the noise is."""
    count = len(problem.design) if weights is None else int(np.count_nonzero(weights))
    size = problem.law.size
    if count < 2 * size:
        return (
            f"{count} runs for {size} parameters show the size of the noise so poorly that one constant loss "
            f"cannot be ruled out; {_SPREAD_OUT}"
        )
    return (
        "The losses vary no more than their noise: one constant loss fits these runs as well as the law; "
        f"{_SPREAD_OUT}"
    )


def _judge_uncertified(
    problem: Problem,
    weights: Floats | None,
    theta: Floats,
    status: Status,
    separation: Separation,
    residuals: Floats,
) -> Judgement:
    """What is to blame where the best end of a fit is not certified; the arguments as for `judge_fit`."""
    on_line = problem.law.exchangeable and separation.on_line
    near_line = problem.law.exchangeable and separation.near_line
    wrong = no_number(problem, theta, residuals)
    if wrong is not None:  # which says nothing of the runs
        return Judgement(status=Status.MAX_STEPS, reason=wrong)
    reason = status.sentence
    lacking = shortage(problem, weights)
    lone = separation.same_params or separation.same_tokens
    if lacking is not None and (lone or not on_line):
        status, reason = Status.UNIDENTIFIED, lacking
    elif on_line:  # more steps, if it ran out of them, would not help
        status = Status.UNIDENTIFIED
        reason = _not_told_apart(problem, weights, theta, separation, None, residuals)
    elif near_line:
        hardly = _hardly_told_apart(problem, weights, theta, separation, residuals)
        if status is Status.UNIDENTIFIED:
            reason = f"A term of the law vanishes or an exponent runs off: {hardly}."
        else:
            reason = f"{reason} Here {hardly}."
    elif status is Status.UNIDENTIFIED and constant_explains(problem, weights, theta, residuals):
        reason = _flat(problem, weights)
    else:
        rows = np.ones((1, len(residuals))) if weights is None else weights[None]
        (off,) = run_offs(problem, rows, theta[None])
        if off is not None:
            status, reason = Status.UNIDENTIFIED, off.sentence
    return Judgement(status=status, reason=reason)


def _carried(
    problem: Problem,
    weights: Floats | None,
    theta: Floats,
    separation: Separation,
    residuals: Floats,
    *,
    told: bool,
) -> list[str]:
    """Runs whose errors pass into the law undiminished, and answers that noise moves far.

    A wide answer is no news where other warnings are `told` already.
    """
    errors = LinearErrors.of(problem, weights, theta)
    used = len(problem.design) if weights is None else int(np.count_nonzero(weights))
    if errors is None or separation.one_carries or used <= problem.law.size + 1:
        return []
    found = []
    alone = np.flatnonzero(errors.leverage >= _CARRIES)
    if len(alone):
        moved = math.exp(min(0.01 * float(np.abs(errors.passed[alone]).max()), 600.0))
        who = f"run {alone[0] + 1}" if len(alone) == 1 else f"each of the runs {_numbers(alone + 1)}"
        moves = (
            ""
            if math.isnan(moved)
            else f", 1% of loss there changes tokens per parameter at {flops_text(errors.budget, 2)} FLOP "
            f"{moved:.3g} times"
        )
        found.append(
            f"the law passes through {who} of the table whatever its loss, since no other run tells the "
            f"same (leverage {errors.leverage[alone].min():.2f}){moves}, and intervals from resamples know "
            "nothing of its error; add runs near it"
        )
    share = errors.passed**2 / np.maximum(np.sum(errors.passed**2), 1e-300)
    for run in np.flatnonzero(
        (errors.leverage >= _HEAVY) & (errors.leverage < _CARRIES) & (share >= _DECIDES)
    ):
        moved = math.exp(min(0.01 * abs(float(errors.passed[run])), 600.0))
        found.append(
            f"run {run + 1} of the table alone has {share[run]:.0%} of the variance of tokens per parameter "
            f"at {flops_text(errors.budget, 2)} FLOP (leverage {errors.leverage[run]:.2f}): 1% of loss there "
            f"changes them {moved:.3g} times; repeat it, or add runs near it"
        )
    factor = errors.factor(largest_scale(residuals, weights, problem.law.size))
    alike = _correlation(problem, weights)
    if alike >= _ALIKE and factor > _LOOSE_IF_ALIKE and not told:
        found.append(
            f"tokens grow with parameters in these runs (correlation of ln N and ln D {alike:.2f}, condition "
            f"number {errors.condition:.2g}), which leaves tokens per parameter at "
            f"{flops_text(errors.budget, 2)} FLOP uncertain by a factor of {factor:.2g} (80%); add runs that "
            "differ in tokens per parameter"
        )
    elif factor > _LOOSE and not told:
        found.append(
            f"the noise of these runs leaves tokens per parameter at {flops_text(errors.budget, 2)} FLOP "
            f"uncertain by a factor of {factor:.2g} (80%, condition number {errors.condition:.2g}); add "
            "runs that differ in tokens per parameter, or more of them"
        )
    return found


def _correlation(problem: Problem, weights: Floats | None) -> float:
    """Of ln N and ln D over the runs with a weight; 0 for a law that is not of both."""
    if not problem.law.exchangeable:
        return 0.0
    used = slice(None) if weights is None else weights > 0
    design = problem.design
    return float(np.corrcoef(design.log_params[used], design.log_tokens[used])[0, 1])


def _numbers(runs: NDArray[np.intp]) -> str:
    shown = ", ".join(str(each) for each in runs[:5])
    return shown if len(runs) <= 5 else f"{shown} and {len(runs) - 5} more"


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
    if separation.power < ONE_BUDGET:
        return f"{who} have one budget{within}"
    if abs(separation.power - 1.0) < 0.02:
        return f"{who} have {separation.ratio:.3g} tokens per parameter{within}"
    return f"{who} have tokens that go with the power {separation.power:.2f} of parameters{within}"


def _not_told_apart(
    problem: Problem,
    weights: Floats | None,
    theta: Floats,
    separation: Separation,
    rival: Rival | None,
    residuals: Floats,
) -> str:
    """Why the runs do not determine the law, and what would: one sentence."""
    said = "so the terms in N and D cannot be told apart"
    if separation.one_carries:
        said = "so an error of that one run passes into the law undiminished"
    elif rival is not None and not math.isnan(rival.ratio):
        budget = asked_budget(problem.design)
        mine = float(ratios_at(problem, theta[None], budget)[0])
        if not math.isnan(mine):
            said = (
                f"so the terms in N and D cannot be told apart: laws that fit alike give {mine:.3g} and "
                f"{rival.ratio:.3g} tokens per parameter at {flops_text(budget, 2)} FLOP"
            )
    what = _line(separation)
    return f"{what[0].upper()}{what[1:]}, {said}; {remedy(problem, weights, separation, residuals)}."


def _hardly_told_apart(
    problem: Problem, weights: Floats | None, theta: Floats, separation: Separation, residuals: Floats
) -> str:
    number = condition(problem, weights, theta)
    return (
        f"{_line(separation)}, which hardly tells the terms in N and D apart (condition number "
        f"{number:.2g}); {remedy(problem, weights, separation, residuals)}"
    )


def _rival(problem: Problem, theta: Floats, rival: Rival) -> str:
    budget = asked_budget(problem.design)
    mine = float(ratios_at(problem, theta[None], budget)[0])
    texts = [
        "no optimum" if math.isnan(ratio) else f"{ratio:.3g} tokens per parameter"
        for ratio in (mine, rival.ratio)
    ]
    return (
        f"another law fits these runs as well as noise lets one tell (objective {rival.excess:.0%} higher): "
        f"at {flops_text(budget, 2)} FLOP this one has {texts[0]} and that one {texts[1]}; add runs that "
        "differ in tokens per parameter"
    )
