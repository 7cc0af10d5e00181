"""Two families of perturbation at once: what a study's products do to the prescription.

| code         | symbol      | shape | unit                                                        |
|--------------|-------------|-------|-------------------------------------------------------------|
| first, second |            | ()    | sizes of the two perturbations, the first applied first     |
| flops        | C           | ()    | training FLOP                                               |
| median       | D_opt/N_opt | ()    | tokens per parameter at C, median over the resamples        |
| slope        |             | ()    | decades of it per decade of compute: (alpha-beta)/(alpha+beta) |

The interval of the slope is over the slopes of the resamples, which are not in the summary tables of a study
but in its fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.ratio_curves import ratio_slopes
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.tokens_per_param import tokens_per_param_band
from chinchilla_jax.laws.compute import GOPHER_FLOPS, NEAR_RULE_OF_THUMB
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import Composition, parse_condition
from chinchilla_jax.solvers.counted import counted_rows

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.laws.fitted import FittedLaws

COLUMNS = (
    *("condition", "first_family", "second_family", "first", "second", "repeat", "params", "flops"),
    *("low", "median", "high", "slope_low", "slope", "slope_high", "level", "n_converged", "n_failed"),
    *("leaves_range", "outside_range"),
)


class StudyFits(Protocol):
    """The part of a study that a joint map needs.

    It may also have `spec`, with its `boundary` and `law`, and under another law needs `laws`.
    """

    @property
    def conditions(self) -> pd.DataFrame:
        """condition, family, value, repeat, params, n_runs."""

    def fits(self, condition: str | None = None) -> pd.DataFrame:
        """condition, resample, E, A, B, alpha, beta, status, ... of one condition."""


def joint_map(study: StudyFits, *, flops: float = GOPHER_FLOPS, level: float = 0.8) -> pd.DataFrame:
    """Tokens per parameter, and their slope, under every pair of perturbations of a study.

    Args:
        study: finished, with products among its sweeps.
        flops: the budget (FLOP).
        level: share of the resamples that count inside an interval (percentiles); whether those whose best E
            is 0 do is the study's choice.

    Returns:
        One row per condition that is a pair, in the study's order: condition, first_family, second_family,
        first and second (sizes), repeat, params, flops; low, median, high of tokens per parameter at that
        budget, slope_low, slope, slope_high, level; n_converged, n_failed (which add up to the resamples);
        leaves_range (the interval of tokens per parameter is not within 10 to 40) and outside_range (no part
        of it is). Numbers are NaN, and both flags False, where no fit counts.

    Raises:
        UsageError: `flops` or `level` is out of range, or the study has no pairs.
    """
    import pandas as pd

    central_tails(level)
    rows = [
        _row(study, row, pair, flops, level)
        for row in study.conditions.to_dict("records")
        if (pair := _pair(str(row["condition"]))) is not None
    ]
    if not rows:
        raise UsageError("joint_map: the study has no products of two families; give its spec one")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def pairs_of_families(study: Any, least: int = 1) -> list[tuple[str, str]]:
    """The pairs of families of a study's products, in its order; none where it has no fits to show them.

    Args:
        study: whose products they are.
        least: so many sizes of either family must occur: fewer than three make no map.
    """
    if not hasattr(study, "fits"):
        return []
    conditions: pd.DataFrame = study.conditions
    made = conditions.loc[conditions["family"] == Composition.family, "condition"]
    sizes: dict[tuple[str, str], tuple[set[float], set[float]]] = {}
    for pair in filter(None, (_pair(str(condition)) for condition in made)):
        first, second = pair.parts
        of = sizes.setdefault((first.family, second.family), (set(), set()))
        of[0].add(first.value)
        of[1].add(second.value)
    return [families for families, of in sizes.items() if min(map(len, of)) >= least]


def _pair(condition: str) -> Composition | None:
    """The two perturbations of a condition, if it has two."""
    name = condition.partition("@")[0]
    if "|" not in name:
        return None
    found = parse_condition(name)
    return found if isinstance(found, Composition) and len(found.parts) == 2 else None


def _row(
    study: StudyFits, row: dict[str, object], pair: Composition, flops: float, level: float
) -> dict[str, object]:
    first, second = pair.parts
    spec = getattr(study, "spec", None)
    boundary = getattr(spec, "boundary", "keep")
    condition = str(row["condition"])
    five = getattr(spec, "law", "chinchilla") == "chinchilla"
    laws = None if five else cast(Any, study).laws(condition)[0]
    fits = study.fits(condition)
    return {
        "condition": row["condition"],
        "first_family": first.family,
        "second_family": second.family,
        "first": first.value,
        "second": second.value,
        "repeat": row["repeat"],
        "params": row["params"],
        **prescription(fits, flops=flops, level=level, boundary=boundary, laws=laws),
    }


def prescription(
    fits: pd.DataFrame,
    *,
    flops: float = GOPHER_FLOPS,
    level: float = 0.8,
    boundary: str = "keep",
    laws: FittedLaws | None = None,
) -> dict[str, float | int | bool]:
    """Tokens per parameter and their slope over the fits of one condition.

    Args:
        fits: E, A, B, alpha, beta, status of every resample, as `study.fits(condition)` has them.
        flops: the budget (FLOP).
        level: share of the resamples that count inside an interval (percentiles).
        boundary: whether resamples whose best E is 0 count ("keep") or not ("drop").
        laws: the fits as laws, (R,), where they are not of the five-parameter law. Where the optimum of such
            a law is no power of compute, its slope is that of the decade around the budget.

    Returns:
        The columns of `joint_map` from flops to outside_range.

    Raises:
        UsageError: `flops` or `level` is out of range.
    """
    if laws is None:
        laws = ScalingLaw(**{name: fits[name].to_numpy() for name in PARAMETERS})
    counted = counted_rows(fits["status"], boundary)
    band = tokens_per_param_band(laws, [flops], level, counted=counted)
    low, median, high = (float(band[name].iloc[0]) for name in ("low", "median", "high"))
    found = laws.slope_per_decade if isinstance(laws, ScalingLaw) else ratio_slopes(laws, flops)
    slopes = np.asarray(found)[counted]
    slopes = slopes[np.isfinite(slopes)]
    tails = central_tails(level)
    quantiles = np.quantile(slopes, (tails[0], 0.5, tails[1])) if slopes.size else np.full(3, np.nan)
    known = not np.isnan(median)
    return {
        "flops": float(flops),
        "low": low,
        "median": median,
        "high": high,
        "slope_low": float(quantiles[0]),
        "slope": float(quantiles[1]),
        "slope_high": float(quantiles[2]),
        "level": float(level),
        "n_converged": int(counted.sum()),
        "n_failed": int((~counted).sum()),
        "leaves_range": known and not (NEAR_RULE_OF_THUMB[0] <= low and high <= NEAR_RULE_OF_THUMB[1]),
        "outside_range": known and (high < NEAR_RULE_OF_THUMB[0] or low > NEAR_RULE_OF_THUMB[1]),
    }
