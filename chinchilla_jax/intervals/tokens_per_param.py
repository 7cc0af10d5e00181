"""Compute-optimal tokens per parameter over a range of budgets, with its band, and its slope per decade.

| code    | symbol       | shape  | unit                                              |
|---------|--------------|--------|---------------------------------------------------|
| flops   | C            | (k,)   | training FLOP                                     |
| laws    |              | (R,)   | the resamples' laws                               |
| ratio   | D_opt/N_opt  | (k,)   | tokens per parameter                              |
| slope   |              | ()     | tokens per parameter per decade of compute        |

For most laws ln(ratio) is a line in ln(C/6) (`log_ratio_line`), so a band is R lines evaluated and sorted at
k budgets; for the others the ratios themselves are sorted. A ratio may be +inf or 0 (see `ScalingLaw`): both
have a place in the order, so a limit is +inf or 0 where enough lanes are. A lane without an optimum (NaN) has
no place: it is left out and counted.

The band of the paper (Besiroglu et al. 2024, arXiv:2404.10102) draws laws from a normal; see `parameters.py`.
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
    IntervalRequest,
    check_lanes,
    check_method,
    check_point,
    counted_coordinates,
    five_parameter_law,
)
from chinchilla_jax.intervals.quantiles import (
    between_ranks,
    central_tails,
    interpolate,
    quantiles_of_known,
)
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.fitted import FittedLaws

if TYPE_CHECKING:
    import pandas as pd

COMPUTE_GRID: NDArray[np.float64] = 10.0 ** np.linspace(18.0, 28.0, 201)
"""10^18 to 10^28 FLOP in steps of 0.05 decades, shape (201,): the budgets of both papers."""
COMPUTE_GRID.setflags(write=False)


def tokens_per_param_band(
    laws: FittedLaws,
    flops: ArrayLike = COMPUTE_GRID,
    level: float = 0.8,
    method: str = "percentile",
    point_law: FittedLaws | None = None,
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
        method: "percentile" (over the resamples), "gaussian" or "besiroglu2024" (over five-parameter laws
            drawn from a normal around `point_law`; the median is that of the draws).
        point_law: the point fit, needed by the two normal methods.
        draws: how many laws the normal methods draw.
        seed: seed of these draws. The standard normal numbers are the same for every call with one seed, so
            that conditions are compared on the same draws.
        converged: which laws count, bool (R,); None for all.

    Returns:
        One row per budget: flops, low, median, high, level, method. `frame.attrs` holds "n_converged" and
        "n_failed" (lanes of the bootstrap that counted and did not; they add up to R) and "n_without_optimum"
        (of the lanes or draws that counted, those without a compute optimum at some budget, left out of the
        quantiles there). low, median and high are NaN where nothing is left.

    Raises:
        UsageError: an argument is out of range, or a normal method lacks its point law or meets a law from
            which none can be drawn.
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
    laws: FittedLaws,
    flops: ArrayLike,
    level: float,
    method: str,
    point_law: FittedLaws | None,
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
    request = IntervalRequest(point_law, level, method)
    return interval_bands(laws, flops, [request], draws, seed, converged=converged, caller=caller)[0]


def interval_bands(
    laws: FittedLaws,
    flops: ArrayLike,
    requests: Sequence[IntervalRequest],
    draws: int = 4000,
    seed: int = 0,
    *,
    converged: ArrayLike | None,
    caller: str = "interval_bands",
) -> list[tuple[dict[str, NDArray[np.float64]], dict[str, int]]]:
    """`band_columns` of each request; what they share is computed once."""
    for each in requests:
        check_method(each.method)
        central_tails(each.level)
    budgets = _budgets(flops)
    mask = check_lanes(laws, converged)
    drawn: tuple[NDArray[np.float64], int] | None = None
    bands = []
    for (point_law, method), group in itertools.groupby(requests, lambda each: (each.point_law, each.method)):
        sample: FittedLaws
        if method == "percentile":
            kept = mask & _finite(laws)
            sample = laws if kept.all() else laws[kept]
            counted = len(sample)
        else:
            centre = five_parameter_law(check_point(point_law, caller, laws), method)
            if drawn is None:
                points = counted_coordinates(five_parameter_law(laws, method), mask)
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
    laws: FittedLaws,
    point_law: FittedLaws | None = None,
    flops: ArrayLike = COMPUTE_GRID,
    method: str = "besiroglu2024",
    *,
    converged: ArrayLike | None = None,
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
        converged: which laws count, bool (R,); None for all.
        draws: laws drawn per repeat by the normal methods.
        repeats: number of repeats, 2 or more.
        seed: seed of everything here; repeat i draws with seed + 1 + i.

    Raises:
        UsageError: an argument is out of range, or fewer than two laws count.
    """
    check_method(method)
    kept = laws[check_lanes(laws, converged) & _finite(laws)]
    budgets = _budgets(flops)
    if positive_whole("repeats", repeats) < 2 or len(kept) < 2:
        raise UsageError(
            f"slope_monte_carlo_error: {repeats} repeats of {len(kept)} laws; give two or more of both"
        )
    everyone = np.ones(len(kept), dtype=np.bool_)

    def slope(sample: FittedLaws, draw_seed: int) -> float:
        if method != "percentile":
            centre = check_point(point_law, "slope_monte_carlo_error", laws)
            sample = draw_laws(
                five_parameter_law(sample, method),
                everyone,
                five_parameter_law(centre, method),
                draws,
                draw_seed,
            )
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


def _finite(laws: FittedLaws) -> NDArray[np.bool_]:
    """Which laws have finite parameters, (R,): NaN, or an A beyond float64, is a failed lane.

    E is not asked about: no optimum depends on it.
    """
    fields = [np.asarray(values) for name, values in laws.as_dict().items() if name != "E"]
    return np.asarray(np.isfinite(np.stack(fields)).all(axis=0))


def _ratio_quantiles(
    laws: FittedLaws, budgets: NDArray[np.float64], probabilities: Sequence[float]
) -> tuple[NDArray[np.float64], int]:
    """Quantiles (p, k) of the ratio over the laws, and how many laws have no optimum at some budget.

    As `quantiles` of the ratios; along lines the order is found in logs, and the ratios are interpolated.
    """
    line = laws.log_ratio_line()
    if line is None:
        ratios = np.asarray(laws.tokens_per_param(budgets))
        return quantiles_of_known(ratios, probabilities), int(np.isnan(ratios).any(axis=1).sum())
    intercept, slope = line
    kept = ~np.isnan(intercept)
    without = int(kept.size - kept.sum())
    if without:
        intercept, slope = intercept[kept], slope[kept]
    if without == kept.size:
        return np.full((len(probabilities), budgets.size), np.nan), without
    below, above, share = between_ranks(probabilities, kept.size - without)
    ranks = sorted({*below.tolist(), *above.tolist()})
    ordered = line_order_statistics(slope, intercept, np.log(budgets / FLOPS_PER_PARAM_TOKEN), ranks)
    with np.errstate(over="ignore"):
        ratios = np.exp(ordered)
    left, right = ratios[np.searchsorted(ranks, below)], ratios[np.searchsorted(ranks, above)]
    return interpolate(left, right, share[:, None]), without


def _budgets(flops: ArrayLike) -> NDArray[np.float64]:
    budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
    if budgets.ndim != 1 or not budgets.size or not ((budgets > 0) & np.isfinite(budgets)).all():
        raise UsageError(f"flops = {short(flops)}: give one or more positive, finite budgets, shape (k,)")
    return budgets
