"""Slope of compute-optimal tokens per parameter on log compute: the published measure of the trend.

| code  | symbol      | shape | unit                                       |
|-------|-------------|-------|--------------------------------------------|
| flops | C           | (k,)  | training FLOP                              |
| ratio | D_opt/N_opt | (k,)  | tokens per parameter                       |
| slope |             | ()    | tokens per parameter per decade of compute |
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.intervals.methods import METHODS, STUDY_METHODS, read_method
from chinchilla_jax.intervals.normal import draw_laws, five_parameter_law, philox
from chinchilla_jax.intervals.replicates import check_lanes, check_point
from chinchilla_jax.intervals.tokens_per_param import (
    COMPUTE_GRID,
    finite_laws,
    positive_budgets,
    ratio_quantiles,
)
from chinchilla_jax.laws.fitted import FittedLaws

if TYPE_CHECKING:
    import pandas as pd


def slope_per_decade(flops: ArrayLike, ratio: ArrayLike) -> NDArray[np.float64]:
    """Least-squares slope of tokens per parameter on log10 compute: the published measure of the trend.

    Schaeffer et al. 2025 (arXiv:2509.23963) apply it to the median of the band: -0.572 (standard), -1.049
    (best fit), -1.248 (reported).

    Args:
        flops: budgets (FLOP), positive, shape (k,), at least two distinct ones.
        ratio: tokens per parameter, shape (..., k).

    Returns:
        Tokens per parameter per decade, shape (...). NaN where a ratio is infinite or NaN: no line passes
        there. Infinite or NaN too where sums of the ratios lie beyond float64.

    Raises:
        UsageError: shapes disagree, or the budgets do not span a range.
    """
    x = np.log10(positive_budgets(flops))
    y = np.asarray(ratio, dtype=np.float64)
    if y.shape[-1:] != x.shape or np.ptp(x) == 0:
        raise UsageError(
            f"slope_per_decade: {x.size} budgets and ratios of shape {y.shape}; "
            "give one ratio per budget, for two or more distinct budgets"
        )
    centred = x - x.mean()
    with beyond_float64():
        slope = (y - y.mean(axis=-1, keepdims=True)) @ centred / (centred @ centred)
    return np.where(np.isfinite(y).all(axis=-1), slope, np.nan)


def slope_table(tokens_per_param: pd.DataFrame) -> pd.DataFrame:
    """Slope per decade of the median tokens per parameter, per condition and method.

    Args:
        tokens_per_param: rows of `tokens_per_param_band`, with a column `condition` if there are several.

    Returns:
        Columns condition (if given), method, level, slope_per_decade (NaN where a median is not finite),
        n_flops, n_not_finite (budgets whose median is not finite), in the order of first appearance.

    Raises:
        UsageError: a column is missing.
    """
    import pandas as pd

    missing = [name for name in ("method", "level", "flops", "median") if name not in tokens_per_param]
    if missing:
        raise UsageError(
            f"slope_table: column {missing[0]!r} is missing; give the rows of tokens_per_param_band"
        )
    keys = [key for key in ("condition", "method", "level") if key in tokens_per_param]
    rows = []
    for group, band in tokens_per_param.groupby(keys, sort=False, observed=True):
        median = band["median"].to_numpy()
        slope = float(slope_per_decade(band["flops"].to_numpy(), median))
        bad = int((~np.isfinite(median)).sum())
        rows.append((*group, slope, len(band), bad))
    return pd.DataFrame(rows, columns=[*keys, "slope_per_decade", "n_flops", "n_not_finite"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlopeError:
    """Monte-Carlo error of a slope per decade (all three in tokens per parameter per decade).

    Attributes:
        slope: mean slope over the repeats that vary only the draws (for "percentile": the slope).
        draws_error: standard deviation of the slope when only the seed of the draws changes (0 for
            "percentile").
        total_error: the same when the bootstrap's resamples change too. Another group's slope from its own
            resamples and draws differs from ours by about sqrt(2) times this.
        repeats: how many repeats each standard deviation is taken over.
    """

    slope: float
    draws_error: float
    total_error: float
    repeats: int


@beyond_float64()
def slope_monte_carlo_error(
    laws: FittedLaws,
    point_law: FittedLaws | None = None,
    flops: ArrayLike = COMPUTE_GRID,
    method: str = "besiroglu2024",
    *,
    counted: ArrayLike | None = None,
    draws: int = 4000,
    repeats: int = 100,
    seed: int = 0,
) -> SlopeError:
    """How far the slope of the median would move with other random numbers; the data stay the same.

    Resampling the R laws with replacement takes the place of fresh bootstrap resamples.

    Args:
        laws: the resamples' laws, shape (R,).
        point_law: the point fit, needed by the normal methods.
        flops: budgets (FLOP), shape (k,).
        method: the method of the band.
        counted: which laws count, bool (R,); None for all.
        draws: laws drawn per repeat by the normal methods.
        repeats: number of repeats, 2 or more.
        seed: seed of everything here; repeat i draws with seed + 1 + i.

    Raises:
        UsageError: an argument is out of range, or fewer than two laws count.
    """
    read_method(method, STUDY_METHODS)
    kept = laws[check_lanes(laws, counted) & finite_laws(laws)]
    budgets = positive_budgets(flops)
    if whole_number("repeats", repeats, low=1) < 2 or len(kept) < 2:
        raise UsageError(
            f"slope_monte_carlo_error: {repeats} repeats of {len(kept)} laws; give two or more of both"
        )
    everyone = np.ones(len(kept), dtype=np.bool_)

    def slope(sample: FittedLaws, draw_seed: int) -> float:
        if METHODS[method].normal:
            centre = check_point(point_law, "slope_monte_carlo_error", laws)
            sample = draw_laws(
                five_parameter_law(sample, method),
                everyone,
                five_parameter_law(centre, method),
                draws,
                draw_seed,
            )
        medians, _ = ratio_quantiles(sample, budgets, (0.5,))
        return float(slope_per_decade(budgets, medians[0]))

    generator = philox(seed)
    seeds = [seed + 1 + i for i in range(repeats)]
    fixed = [slope(kept, s) for s in (seeds if METHODS[method].normal else seeds[:1])]
    fresh = [slope(kept[generator.integers(0, len(kept), len(kept))], s) for s in seeds]
    return SlopeError(
        slope=float(np.mean(fixed)),
        draws_error=float(np.std(fixed, ddof=1)) if len(fixed) > 1 else 0.0,
        total_error=float(np.std(fresh, ddof=1)),
        repeats=repeats,
    )
