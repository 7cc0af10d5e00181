"""The claims of the published robustness study, each with the margin and the rule it is judged by.

`claim_rules.py` has the verdicts. Margins:

- tokens per parameter: a factor of 2, as from 20 to the 10 or 40 of `compute.NEAR_RULE_OF_THUMB`;
- slope of tokens per parameter: 0.1 decades per decade of compute, a factor of 2 in three decades;
- E, alpha, beta: 15.2%, what the parameter counts of the published study differ by;
- identities: 1e-4 of each of E, B, alpha, beta and of A, on 99% of the resamples.

Source of the claims: Schaeffer et al. 2025 (arXiv:2509.23963), abstract and figures; the rule of thumb of 20
is of Hoffmann et al. 2022 (arXiv:2203.15556).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax.analysis.claim_evidence import Evidence, Fits, Floats
from chinchilla_jax.analysis.claim_rules import (
    FAILS,
    HOLDS,
    IDENTITY_MARGIN,
    IDENTITY_SHARE,
    LAW_MARGIN,
    LEAST_KNOWN,
    NOT_ASKED,
    RATIO_MARGIN,
    SLOPE_MARGIN,
    UNDETERMINED,
    Verdict,
    opposite,
    positive,
    within,
)
from chinchilla_jax.analysis.identities import exact_map
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.perturbations import FAMILIES, PARAMS_FAMILIES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        name: its name in tables.
        sentence: what is claimed.
        rule: when it holds, in words.
        judge: the rule.
        theorem: whether it follows from the law and the objective alone, so that it can only fail where the
            solver does.
    """

    name: str
    sentence: str
    rule: str
    judge: Callable[[Evidence], Verdict]
    theorem: bool = False


def _flat(given: Evidence) -> Verdict:
    return within({"slope": (given.plain.slope, SLOPE_MARGIN)})


def _twenty(given: Evidence) -> Verdict:
    from_rule = given.plain.ratio(given.largest) - math.log(RULE_OF_THUMB)
    return within({"ln of tokens per parameter over 20": (from_rule, RATIO_MARGIN)})


def _counts_law(given: Evidence) -> Verdict:
    return within(
        {
            f"ln of {parameter}, {name}": (
                _log(fits.parameter(parameter)) - _log(given.plain.parameter(parameter)),
                LAW_MARGIN,
            )
            for name, fits in given.countings.items()
            for parameter in ("E", "alpha", "beta")
        }
    )


def _counts_ratio(given: Evidence) -> Verdict:
    return within(
        {
            f"ln of tokens per parameter, {name}": (given.ratio_change(fits), RATIO_MARGIN)
            for name, fits in given.countings.items()
        }
    )


def _counts_slope(given: Evidence) -> Verdict:
    return within(
        {f"slope, {name}": (given.slope_change(fits), SLOPE_MARGIN) for name, fits in given.countings.items()}
    )


def _identity(family: str) -> Callable[[Evidence], Verdict]:
    def judge(given: Evidence) -> Verdict:
        deviations = [
            _deviation(given, family, size, draws[0]) for size, draws in given.swept.get(family, {}).items()
        ]
        if not deviations:
            return Verdict(verdict=NOT_ASKED)
        worst = np.concatenate(deviations)
        known = worst[~np.isnan(worst)]
        if known.size < LEAST_KNOWN * worst.size:
            return Verdict(verdict=UNDETERMINED, quantity="too few certified fits")
        share = float(np.mean(known <= IDENTITY_MARGIN))
        return Verdict(
            verdict=HOLDS if share >= IDENTITY_SHARE else FAILS,
            quantity="share of the resamples that meet it to 1e-4",
            estimate=share,
            margin=IDENTITY_SHARE,
        )

    return judge


def _deviation(given: Evidence, family: str, size: float, fits: Fits) -> Floats:
    """Largest relative deviation of each resample from the exact law, (R,); NaN where either is unknown."""
    found = exact_map(FAMILIES[family](size), given.centre)
    assert found is not None
    own, wanted = fits.laws, found.law(given.plain.laws)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        apart = [_relative(getattr(own, name), getattr(wanted, name)) for name in ("E", "B", "alpha", "beta")]
        # A ranges over hundreds of decades, where A~ itself could overflow.
        log_a = np.log(given.plain.laws.A) + wanted.alpha * found.log_k
        apart.append(np.abs(np.expm1(np.log(own.A) - log_a)))
    return np.where(given.plain.counted & fits.counted, np.max(apart, axis=0), np.nan)


def _relative(found: ArrayLike, wanted: ArrayLike) -> Floats:
    """|found - wanted| / |wanted|; 0 where both are 0."""
    there, here = np.asarray(found), np.asarray(wanted)
    return np.where(there == here, 0.0, np.abs(there - here) / np.abs(here))


def _additive_raises(given: Evidence) -> Verdict:
    sizes = sorted(given.swept.get("additive", {}))
    if not sizes:
        return Verdict(verdict=NOT_ASKED)
    least, most = (given.swept["additive"][size][0] for size in (sizes[0], sizes[-1]))
    return positive({name: most.parameter(name) - least.parameter(name) for name in ("E", "alpha")})


def _tilts(family: str) -> Callable[[Evidence], Verdict]:
    def judge(given: Evidence) -> Verdict:
        return opposite(within(_slope_changes(given, given.swept.get(family, {}))))

    return judge


def _slope_changes(given: Evidence, sizes: Mapping[float, Sequence[Fits]]) -> dict[str, tuple[Floats, float]]:
    """Changes of the slope at the ends of a sweep."""
    ends = sorted({min(sizes), max(sizes)}) if sizes else []
    return {
        f"slope at {size:.4g}": (_typical([given.slope_change(each) for each in sizes[size]]), SLOPE_MARGIN)
        for size in ends
    }


def _withstands(family: str) -> Callable[[Evidence], Verdict]:
    def judge(given: Evidence) -> Verdict:
        changes: dict[str, tuple[Floats, float]] = {}
        for size, draws in given.documented.get(family, {}).items():
            slopes = [given.slope_change(each) for each in draws]
            ratios = [given.ratio_change(each) for each in draws]
            # Any one draw of noise could be the error that was made, so all of them count.
            changes[f"slope at {size:.4g}"] = (np.concatenate(slopes), SLOPE_MARGIN)
            changes[f"ln of tokens per parameter at {size:.4g}"] = (np.concatenate(ratios), RATIO_MARGIN)
        return within(changes)

    return judge


def _most_sensitive(given: Evidence) -> Verdict:
    moved = {
        family: np.max(
            [np.abs(_typical([given.slope_change(each) for each in draws])) for draws in sizes.values()],
            axis=0,
        )
        for family, sizes in given.documented.items()
        if sizes
    }
    if set(moved) != set(PARAMS_FAMILIES):
        return Verdict(verdict=NOT_ASKED)
    return positive(
        {
            f"|slope| {structured} less {other}": moved[structured] - moved[other]
            for structured in ("additive", "systematic_bias")
            for other in ("multiplicative", "log_normal_noise")
        }
    )


def _typical(draws: Sequence[Floats]) -> Floats:
    """The median over the draws of each resample, (R,); NaN where half of them are unknown."""
    if len(draws) == 1:
        return draws[0]
    stacked = np.stack(draws)
    unknown = np.isnan(stacked).mean(axis=0) > LEAST_KNOWN
    filled = np.where(unknown, 0.0, stacked)  # nanmedian warns of a column of NaN
    return np.where(unknown, np.nan, np.nanmedian(filled, axis=0))


def _log(values: Floats) -> Floats:
    """Ln, with a floor for what is certified to be 0, such as E at its boundary."""
    return np.log(np.maximum(values, 1e-12))


_DOCUMENTED = {
    "multiplicative": "a factor of 1.152 on all counts",
    "additive": "an amount of 15.2% of the smallest model",
    "systematic_bias": "a bias of 15.2% at the model farthest from the mean",
    "log_normal_noise": "noise with a standard deviation of 15.2%",
}

CLAIMS: tuple[Claim, ...] = (
    Claim(
        name="flat",
        sentence="Optimal tokens per parameter hardly change with compute",
        rule="the slope is within 0.1 decades per decade of compute",
        judge=_flat,
    ),
    Claim(
        name="twenty",
        sentence="The optimum is near 20 tokens per parameter",
        rule="at the compute of the largest run they are within 10 to 40",
        judge=_twenty,
    ),
    Claim(
        name="counts_law",
        sentence="Which count of parameters is used hardly matters to the law",
        rule="under every other count, E, alpha and beta are within 15.2% of those under the first",
        judge=_counts_law,
    ),
    Claim(
        name="counts_ratio",
        sentence="The count hardly matters to optimal tokens per parameter",
        rule="under every other count, they are within a factor of 2 at the compute of the largest run",
        judge=_counts_ratio,
    ),
    Claim(
        name="counts_slope",
        sentence="The count hardly matters to their trend",
        rule="under every other count, the slope changes by less than 0.1",
        judge=_counts_slope,
    ),
    Claim(
        name="multiplicative_identity",
        sentence="A factor on all counts moves A alone",
        rule="E, B, alpha, beta and A / c^alpha agree to 1e-4 on 99% of the resamples, c from 0.001 to 1000",
        judge=_identity("multiplicative"),
        theorem=True,
    ),
    Claim(
        name="bias_identity",
        sentence="A bias of exponent s divides alpha by s",
        rule="alpha s, E, B, beta and A mu^(alpha (1 - 1/s)) agree to 1e-4 on 99% of the resamples",
        judge=_identity("systematic_bias"),
        theorem=True,
    ),
    Claim(
        name="additive_raises",
        sentence="Amounts added to all counts raise E and alpha",
        rule="both are larger at the upper end of the sweep than at the lower",
        judge=_additive_raises,
    ),
    Claim(
        name="additive_tilts",
        sentence="Amounts added to all counts can alter the trend",
        rule="at an end of the sweep, the slope changes by more than 0.1",
        judge=_tilts("additive"),
    ),
    Claim(
        name="bias_tilts",
        sentence="A systematic bias can alter the trend",
        rule="at an end of the sweep, the slope changes by more than 0.1",
        judge=_tilts("systematic_bias"),
    ),
    Claim(
        name="most_sensitive",
        sentence="The trend is most sensitive to amounts and systematic bias",
        rule="at the documented miscount, each of them moves the slope more than factors and noise do",
        judge=_most_sensitive,
    ),
    *(
        Claim(
            name=f"withstands_{family}",
            sentence=f"Results withstand {_DOCUMENTED[family]}",
            rule="tokens per parameter at the compute of the largest run are within a factor of 2 of those "
            "without it, and the slope within 0.1",
            judge=_withstands(family),
        )
        for family in PARAMS_FAMILIES
    ),
)
"""Every claim, in the order of the tables."""


def judge_claims(given: Evidence) -> list[dict[str, Any]]:
    """One row per claim: claim, verdict, quantity, estimate, low, high, margin, p."""
    return [{"claim": claim.name, **dataclasses.asdict(claim.judge(given))} for claim in CLAIMS]
