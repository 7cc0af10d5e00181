"""Resamples that end at E = 0: what they are, what leaving them out would change, and what to say about it.

| code    | shape | meaning                                                               |
|---------|-------|-----------------------------------------------------------------------|
| result  | (R,)  | a bootstrap; its lanes at the boundary count ("keep") or not ("drop") |
| flops   | (k,)  | training FLOP                                                         |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.text import counts_text
from chinchilla_jax.solvers.counted import many_at_boundary, other_boundary, shows_other
from chinchilla_jax.solvers.status import status_counts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from chinchilla_jax.bootstrapping.result import BootstrapResult

MANY_LOST = 0.1
"""Share of the resamples without a certified fit above which the intervals come with a warning."""
ALMOST_ALL = 0.9
"""Share of the resamples from which a sentence says "almost all"."""
_EXPONENTS = ("alpha", "beta")


def boundary_comparison(
    result: BootstrapResult, flops: ArrayLike, level: float = 0.8, method: str = "percentile"
) -> dict[str, list[Any]] | None:
    """Intervals of the exponents and of tokens per parameter by both choices; None where it hardly matters.

    Args:
        result: the bootstrap, with its own choice.
        flops: budgets (FLOP) of the tokens per parameter.
        level: probability inside, in (0, 1).
        method: as for `BootstrapResult.interval`.

    Returns:
        Columns quantity ("alpha", "beta", "tokens_per_param"), flops (NaN for an exponent), estimate, low,
        high (of the result's own choice), other_low, other_high (of the other one); None where at most
        5% of the resamples end at E = 0, or the other choice counts fewer than 10 of them or than 10%.
    """
    if not shows_other(result.status_codes, result.boundary):
        return None
    other = result.with_boundary(other_boundary(result.boundary))
    rows: list[tuple[Any, ...]] = []
    ours, theirs = (each.parameter_columns(level, method) for each in (result, other))
    for i, name in enumerate(ours["parameter"]):
        if name in _EXPONENTS:
            rows.append((name, np.nan, *_limits(ours, theirs, i)))
    ours, theirs = (each.tokens_per_param_columns(flops, level, method)[0] for each in (result, other))
    for i, budget in enumerate(ours["flops"]):
        rows.append(("tokens_per_param", budget, *_limits(ours, theirs, i)))
    names = ("quantity", "flops", "estimate", "low", "high", "other_low", "other_high")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _limits(ours: dict[str, list[Any]], theirs: dict[str, list[Any]], i: int) -> tuple[float, ...]:
    return (*(ours[name][i] for name in ("estimate", "low", "high")), theirs["low"][i], theirs["high"][i])


def interval_warnings(result: BootstrapResult) -> tuple[str, ...]:
    """Sentences about resamples that are missing from the intervals, or at the boundary."""
    total, found = len(result.status_codes), []
    if not result.estimated:
        # Nothing else matters: there is no interval.
        return (
            f"there is no estimate, because the point fit ended as {result.point.status.name}, and so no "
            "interval around it",
        )
    codes = result.status_codes[~(result.counted | result.at_boundary)]
    lost = len(codes)
    if lost > MANY_LOST * total:
        kinds = counts_text(status_counts(codes))
        found.append(
            f"{lost:,} of {total:,} resamples ({lost / total:.0%}) have no certified fit ({kinds}), so the "
            "intervals describe only the others and may cover too little; give more runs, or a wider range "
            "of sizes and tokens"
        )
    edge = int(np.sum(result.at_boundary))
    if many_at_boundary(result.at_boundary):
        share = f"{edge:,} of {total:,} resamples ({edge / total:.0%}) are best fitted with E = 0"
        if edge == total:
            share = f"all {total:,} resamples are best fitted with E = 0"
        elif edge > ALMOST_ALL * total:
            share = f"almost all resamples ({edge:,} of {total:,}) are best fitted with E = 0"
        if result.boundary == "keep":
            consequence = "would select those with a larger E" if edge < total else "would leave none"
            found.append(
                f"{share} and count in the intervals; leaving them out (boundary 'drop') {consequence}"
            )
        elif result.counted.any():
            found.append(
                f"{share} and are left out of the intervals, which then cover too little; boundary 'keep' "
                "counts them"
            )
        else:
            found.append(
                f"{share} and are left out, as asked, so that there is no interval; boundary 'keep' counts "
                "them"
            )
    return tuple(found)
