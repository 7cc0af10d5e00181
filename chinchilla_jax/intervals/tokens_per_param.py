"""Compute-optimal tokens per parameter over a range of budgets, with its band, and its slope per decade.

| code    | symbol       | shape  | unit                                              |
|---------|--------------|--------|---------------------------------------------------|
| flops   | C            | (k,)   | training FLOP                                     |
| laws    |              | (R,)   | the resamples' laws                               |
| ratio   | D_opt/N_opt  | (k,)   | tokens per parameter                              |
| slope   |              | ()     | tokens per parameter per decade of compute        |

For one law ln(ratio) is a line in ln(C/6) (`ScalingLaw.log_ratio_line`), so a band is R lines evaluated and
sorted at k budgets. A ratio may be +inf or 0 (see `ScalingLaw`): both have a place in the order and count as
such, so a limit is +inf or 0 where enough lanes are. A lane without an optimum (NaN) has no place: it is left
out and counted.

The band of the paper (Besiroglu et al. 2024, arXiv:2404.10102) draws laws from a normal; see `intervals.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.intervals.draws import draw_laws, draw_shifts, philox, positive_whole, shifted_laws
from chinchilla_jax.intervals.line_order import line_order_statistics
from chinchilla_jax.intervals.parameters import (
    Wanted,
    check_lanes,
    check_method,
    check_point,
    counted_coordinates,
    normal_coordinates,
)
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

COMPUTE_GRID: NDArray[np.float64] = 10.0 ** np.linspace(18.0, 28.0, 201)
"""10^18 to 10^28 FLOP in steps of 0.05 decades, shape (201,): the budgets of both papers."""
COMPUTE_GRID.setflags(write=False)


def tokens_per_param_band(
    laws: ScalingLaw,
    flops: ArrayLike = COMPUTE_GRID,
    level: float = 0.8,
    method: str = "percentile",
    point_law: ScalingLaw | None = None,
    draws: int = 4000,
    seed: int = 0,
    *,
    converged: ArrayLike | None = None,
) -> pd.DataFrame:
    """Median and central interval of tokens per parameter at each budget.

    Args:
        laws: the resamples' laws, shape (R,).
        flops: budgets (FLOP), positive, shape (k,) or a single one.
        level: mass of the central interval, between 0 and 1.
        method: "percentile" (over the resamples), "gaussian" or "besiroglu2024" (over laws drawn from a
            normal around `point_law`; the median is that of the draws).
        point_law: the point fit, needed by the two normal methods.
        draws: how many laws the normal methods draw.
        seed: seed of these draws. The standard normal numbers are the same for every call with one seed, so
            that conditions are compared on the same draws.
        converged: which laws count, bool (R,); None says that all do.

    Returns:
        One row per budget: flops, low, median, high, level, method. `frame.attrs` holds "n_converged" and
        "n_failed" (lanes of the bootstrap that counted and did not; they add up to R) and "n_without_optimum"
        (of the lanes or draws that counted, those with no compute optimum, left out of the quantiles). low,
        median and high are NaN where nothing is left.

    Raises:
        UsageError: an argument is out of range, or a normal method lacks its point law.
    """
    import pandas as pd

    columns, counts = band_columns(
        laws,
        flops,
        level,
        method,
        point_law,
        draws,
        seed,
        converged=converged,
        caller="tokens_per_param_band",
    )
    frame = pd.DataFrame(columns | {"level": float(level), "method": method})
    frame.attrs = counts
    return frame


def band_columns(
    laws: ScalingLaw,
    flops: ArrayLike,
    level: float,
    method: str,
    point_law: ScalingLaw | None,
    draws: int = 4000,
    seed: int = 0,
    *,
    converged: ArrayLike | None,
    caller: str = "band_columns",
) -> tuple[dict[str, NDArray[np.float64]], dict[str, int]]:
    """`tokens_per_param_band` without pandas, which would take as long as the quantiles.

    Returns:
        flops, low, median and high, each (k,); and the counts.
    """
    wanted = [Wanted(point_law, level, method)]
    return interval_bands(laws, flops, wanted, draws, seed, converged=converged, caller=caller)[0]


def interval_bands(
    laws: ScalingLaw,
    flops: ArrayLike,
    wanted: Sequence[Wanted],
    draws: int = 4000,
    seed: int = 0,
    *,
    converged: ArrayLike | None,
    caller: str = "interval_bands",
) -> list[tuple[dict[str, NDArray[np.float64]], dict[str, int]]]:
    """`band_columns` of each that is wanted; what they share is computed once."""
    for each in wanted:
        check_method(each.method)
        central_tails(each.level)
    budgets = _budgets(flops)
    mask = check_lanes(laws, converged)
    drawn: tuple[NDArray[np.float64], int] | None = None
    bands = []
    for (point_law, method), group in itertools.groupby(wanted, lambda each: (each.point_law, each.method)):
        if method == "percentile":
            # A NaN, or an A beyond float64, is a failure whatever the mask says; A = 0 is an edge with a
            # ratio.
            kept = mask & np.isfinite(np.stack([laws.A, laws.B, laws.alpha, laws.beta])).all(axis=0)
            sample = laws if kept.all() else laws[kept]
            counted = len(sample)
        else:
            centre = check_point(point_law, caller)
            if drawn is None:
                points = counted_coordinates(laws, mask)
                drawn = draw_shifts(points, draws, seed), len(points)
            shifts, counted = drawn
            sample = shifted_laws(centre, shifts)
        tails = [central_tails(each.level) for each in group]
        probabilities = sorted({0.5}.union(*tails))
        quantiles, without = _ratio_quantiles(sample, budgets, probabilities)
        at = dict(zip(probabilities, quantiles, strict=True))
        counts = {
            "n_converged": counted,
            "n_failed": mask.size - counted,
            "n_without_optimum": without,
        }
        bands += [
            ({"flops": budgets, "low": at[low], "median": at[0.5], "high": at[high]}, dict(counts))
            for low, high in tails
        ]
    return bands


def slope_per_decade(flops: ArrayLike, ratio: ArrayLike) -> NDArray[np.float64]:
    """Least-squares slope of tokens per parameter on log10 compute: the published measure of the trend.

    Schaeffer et al. 2025 (arXiv:2509.23963) apply it to the median of the band: -0.572 (standard), -1.049
    (best fit), -1.248 (reported).

    Args:
        flops: budgets (FLOP), positive, shape (k,), at least two distinct ones.
        ratio: tokens per parameter, shape (..., k).

    Returns:
        Tokens per parameter per decade, shape (...). NaN where a ratio is infinite or NaN: no line passes
        there.

    Raises:
        UsageError: shapes disagree, or the budgets do not span a range.
    """
    x = np.log10(_budgets(flops))
    y = np.asarray(ratio, dtype=np.float64)
    if y.shape[-1:] != x.shape or np.ptp(x) == 0:
        raise UsageError(
            f"slope_per_decade: {x.size} budgets and ratios of shape {y.shape}; "
            "give one ratio per budget, for two or more distinct budgets"
        )
    centred = x - x.mean()
    with np.errstate(invalid="ignore"):
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


def slope_monte_carlo_error(
    laws: ScalingLaw,
    point_law: ScalingLaw | None = None,
    flops: ArrayLike = COMPUTE_GRID,
    method: str = "besiroglu2024",
    *,
    converged: ArrayLike | None = None,
    draws: int = 4000,
    repeats: int = 100,
    seed: int = 0,
) -> SlopeError:
    """How far the slope of the median would move with other random numbers; the data stay the same.

    Fresh bootstrap resamples are stood in for by resampling the R laws with replacement.

    Args:
        laws: the resamples' laws, shape (R,).
        point_law: the point fit, needed by the normal methods.
        flops: budgets (FLOP), shape (k,).
        method: the method of the band.
        converged: which laws count, bool (R,); None says that all do.
        draws: laws drawn per repeat by the normal methods.
        repeats: number of repeats, 2 or more.
        seed: seed of everything here; repeat i draws with seed + 1 + i.

    Raises:
        UsageError: an argument is out of range, or fewer than two laws count.
    """
    kept = laws[check_lanes(laws, converged) & np.isfinite(normal_coordinates(laws)).all(axis=-1)]
    check_method(method)
    budgets = _budgets(flops)
    if positive_whole("repeats", repeats) < 2 or len(kept) < 2:
        raise UsageError(
            f"slope_monte_carlo_error: {repeats} repeats of {len(kept)} laws; give two or more of both"
        )
    everyone = np.ones(len(kept), dtype=np.bool_)

    def slope(sample: ScalingLaw, draw_seed: int) -> float:
        if method != "percentile":
            centre = check_point(point_law, "slope_monte_carlo_error")
            sample = draw_laws(sample, everyone, centre, draws, draw_seed)
        medians, _ = _ratio_quantiles(sample, budgets, (0.5,))
        return float(slope_per_decade(budgets, medians[0]))

    generator = philox(seed)
    seeds = [seed + 1 + i for i in range(repeats)]
    fixed = [slope(kept, s) for s in (seeds if method != "percentile" else seeds[:1])]
    fresh = [slope(kept[generator.integers(0, len(kept), len(kept))], s) for s in seeds]
    return SlopeError(
        slope=float(np.mean(fixed)),
        draws_error=float(np.std(fixed, ddof=1)) if len(fixed) > 1 else 0.0,
        total_error=float(np.std(fresh, ddof=1)),
        repeats=repeats,
    )


def _ratio_quantiles(
    laws: ScalingLaw, budgets: NDArray[np.float64], probabilities: Sequence[float]
) -> tuple[NDArray[np.float64], int]:
    """Quantiles (p, k) of the ratio over the laws (linear interpolation), and how many laws had no optimum.

    The order is found in logs, the interpolation is done on the ratios; this is what numpy.quantile of the
    ratios gives, except that between two equal values, two infinities among them, the value itself is
    returned.
    """
    intercept, slope = laws.log_ratio_line()
    kept = ~np.isnan(intercept)
    without = int(kept.size - kept.sum())
    if without:
        intercept, slope = intercept[kept], slope[kept]
    if without == kept.size:
        return np.full((len(probabilities), budgets.size), np.nan), without
    n = kept.size - without
    position = np.asarray(probabilities) * (n - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, n - 1)
    ranks = sorted({*below.tolist(), *above.tolist()})
    ordered = line_order_statistics(slope, intercept, np.log(budgets / FLOPS_PER_PARAM_TOKEN), ranks)
    weight = (position - below)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        ratios = np.exp(ordered)
        left, right = ratios[np.searchsorted(ranks, below)], ratios[np.searchsorted(ranks, above)]
        between = left + weight * (right - left)
    return np.where((left == right) | (weight == 0), left, between), without


def _budgets(flops: ArrayLike) -> NDArray[np.float64]:
    budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
    if budgets.ndim != 1 or not budgets.size or not ((budgets > 0) & np.isfinite(budgets)).all():
        raise UsageError(f"flops = {short(flops)}: give one or more positive, finite budgets, shape (k,)")
    return budgets
