"""The rules that say whether a table bears a claim out: holds, fails, undetermined.

Every rule was fixed before any table was judged. A rule compares a change x, known from R resamples, with a
margin m: the smallest change that would matter to a reader.

| verdict      | rule                                                                                    |
|--------------|-----------------------------------------------------------------------------------------|
| holds        | the central 80% interval of every change lies within its margin, -m to m                |
| fails        | of some change, the interval lies beyond its margin (k changes: at tails of 10%/k each) |
| undetermined | neither: the runs do not say; or under half of the resamples have a certified fit, or   |
|              | too few have one for a `p` of 10%: 9, and 10 k - 1 to fail at one of k changes          |
| not asked    | the study has no such condition: a table with one count has no other to compare with    |

These are two one-sided tests for equivalence (Schuirmann 1987), each at 10%, and their opposites. A claim
that something does change is judged by the same rules the other way round. So a verdict is wrong in at most
one case of ten where the truth lies at the margin, and more rarely elsewhere; `p` is the share of the
resamples that contradict it. Claims that are theorems, the exact identities, are judged by their deviations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.analysis.claim_evidence import Floats
from chinchilla_jax.intervals.quantiles import central_tails, quantiles
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT

LEVEL = 0.8
RATIO_MARGIN = math.log(2.0)
SLOPE_MARGIN = 0.1
LAW_MARGIN = math.log1p(DOCUMENTED_MISCOUNT)
IDENTITY_MARGIN, IDENTITY_SHARE = 1e-4, 0.99
LEAST_KNOWN = 0.5
"""Share of the resamples that must have a certified fit before a claim is judged."""

HOLDS, FAILS, UNDETERMINED, NOT_ASKED = VERDICTS = ("holds", "fails", "undetermined", "not asked")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one table says about one claim.

    Attributes:
        verdict: one of `VERDICTS`.
        quantity: the change that decided, or came nearest to deciding; "" if there is none.
        estimate: its median over the resamples.
        low: lower end of its interval.
        high: upper end.
        margin: what it is compared with.
        p: share of the resamples that contradict the verdict, times the number of changes where any of them
            could have decided; NaN where nothing was decided, and for identities.
    """

    verdict: str
    quantity: str = ""
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    margin: float = math.nan
    p: float = math.nan


Changes = Mapping[str, tuple[Floats, float]]
_RAREST = (1 - LEVEL) / 2  # tail of a verdict


def _is_attainable(resamples: int, parts: int = 1) -> bool:
    """Whether so many resamples could tell a tail of 10% over `parts` changes from a larger one.

    The ends of an interval over two resamples are these two: without this every claim would be decided.
    """
    return parts / (resamples + 1) <= _RAREST * (1 + 1e-9)


def _share(against: NDArray[np.bool_]) -> float:
    """The share of the resamples that contradict a verdict, as (k + 1)/(R + 1), which is never 0."""
    return float((np.sum(against) + 1) / (against.size + 1))


def within(changes: Changes) -> Verdict:
    """Whether all changes lie within their margins.

    Args:
        changes: by name, the values over the resamples (R,), NaN where unknown, and the margin.
    """
    if not changes:
        return Verdict(verdict=NOT_ASKED)
    known = {name: values[~np.isnan(values)] for name, (values, _) in changes.items()}
    scarce = [name for name, (values, _) in changes.items() if known[name].size < LEAST_KNOWN * values.size]
    if scarce:
        return Verdict(verdict=UNDETERMINED, quantity=f"{scarce[0]}: too few certified fits")
    low_tail, high_tail = central_tails(LEVEL)
    margins = {name: margin for name, (_, margin) in changes.items()}

    def interval(name: str, parts: int = 1) -> tuple[float, float, float]:
        low, middle, high = quantiles(known[name], [low_tail / parts, 0.5, 1 - (1 - high_tail) / parts])
        return float(low), float(middle), float(high)

    def shown(name: str, verdict: str, p: float) -> Verdict:
        low, middle, high = interval(name)
        return Verdict(
            verdict=verdict, quantity=name, estimate=middle, low=low, high=high, margin=margins[name], p=p
        )

    def beyond(name: str) -> float:
        return max(_share(known[name] > margins[name]), _share(known[name] < -margins[name]))

    farthest = max(changes, key=lambda name: abs(interval(name)[1]) / margins[name])
    outside = {}
    for name, margin in margins.items():
        low, _, high = interval(name, len(changes))
        if (low > margin or high < -margin) and _is_attainable(known[name].size, len(changes)):
            against = known[name] <= margin if low > margin else known[name] >= -margin
            outside[name] = min(1.0, len(changes) * _share(against))
    if outside:
        name = farthest if farthest in outside else min(outside, key=lambda each: outside[each])
        return shown(name, FAILS, outside[name])
    inside = all(
        -margins[name] <= interval(name)[0]
        and interval(name)[2] <= margins[name]
        and _is_attainable(known[name].size)
        for name in changes
    )
    if inside:
        return shown(farthest, HOLDS, max(beyond(name) for name in changes))
    return shown(farthest, UNDETERMINED, math.nan)


def opposite(found: Verdict) -> Verdict:
    """The verdict on the claim that something does change."""
    other = {HOLDS: FAILS, FAILS: HOLDS}.get(found.verdict, found.verdict)
    return dataclasses.replace(found, verdict=other)


def positive(changes: Mapping[str, Floats]) -> Verdict:
    """Whether all of these (R,) lie above zero: fails where one lies below, each by its interval."""
    if not changes:
        return Verdict(verdict=NOT_ASKED)
    known = {name: values[~np.isnan(values)] for name, values in changes.items()}
    if any(known[name].size < LEAST_KNOWN * changes[name].size for name in changes):
        return Verdict(verdict=UNDETERMINED, quantity="too few certified fits")
    tails = central_tails(LEVEL)
    ends = {name: quantiles(each, [tails[0], 0.5, tails[1]]) for name, each in known.items()}
    name = min(changes, key=lambda each: ends[each][1] / max(float(np.std(known[each])), 1e-300))
    low, middle, high = (float(value) for value in ends[name])
    parts = len(changes)
    falls = {
        each: min(1.0, parts * _share(values >= 0))
        for each, values in known.items()
        if quantiles(values, [1 - (1 - tails[1]) / parts])[0] < 0 and _is_attainable(values.size, parts)
    }
    verdict, p = UNDETERMINED, math.nan
    if falls:
        verdict, p = FAILS, min(falls.values())
    elif all(ends[each][0] > 0 and _is_attainable(known[each].size) for each in changes):
        verdict = HOLDS
        p = max(_share(values <= 0) for values in known.values())
    return Verdict(verdict=verdict, quantity=name, estimate=middle, low=low, high=high, margin=0.0, p=p)
