"""A multiverse in a few numbers: its curve, the interval over choices and resampling together, and sentences.

| code       | symbol          | shape  | meaning                                                            |
|------------|-----------------|--------|--------------------------------------------------------------------|
| estimates  | y_s             | (n,)   | the answer of analysis s                                           |
| draws      | y_sr            | (n, R) | that of its resample r; NaN where the resample failed              |
| resampling | E_s Var_r(y_sr) | ()     | the variance that an analyst sees who makes one analysis           |
| choices    | Var_s E_r(y_sr) | ()     | the variance between analyses, which that analyst does not see     |

Every analysis has the same weight, 1/n, and within it every resample that has an answer. The pooled
distribution is therefore that of "draw an analysis, then one of its resamples". It describes how far the
answer moves when both are open. It promises no coverage: the analyses are those that were listed, not a
sample of all that could be, and their equal weights say nothing about which are right.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.blocks import row_blocks
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.validation import finite_number, real_array, whole_number
from chinchilla_jax.analysis.choice_design import scale_of
from chinchilla_jax.analysis.mixture_quantiles import mixture_quantiles
from chinchilla_jax.intervals.quantiles import central_tails, low_median_high

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VarianceSplit:
    """The variance of the pooled distribution, by the law of total variance: resampling + choices.

    Attributes:
        resampling: the mean over analyses of the variance of their resamples.
        choices: the variance between the analyses' means over their resamples. It holds 1/R of `resampling`,
            the scatter of means over R resamples.
        scale: "log" or "linear": of the answer whose variance this is.
        n: how many analyses count: those with two resamples that have an answer on the scale.
        n_left_out: how many analyses do not.
        n_draws_left_out: how many resamples of those that count have no answer on the scale.
    """

    resampling: float
    choices: float
    scale: str
    n: int
    n_left_out: int
    n_draws_left_out: int

    @property
    def total(self) -> float:
        """The variance of the pooled distribution."""
        return self.resampling + self.choices

    @property
    def share_of_choices(self) -> float:
        """The share of the total that the choices make; 0 where nothing varies."""
        return self.choices / self.total if self.total > 0 else 0.0


def split_variance(estimates: ArrayLike, draws: ArrayLike, *, scale: str = "auto") -> VarianceSplit:
    """Split the variance of all resamples of all analyses into resampling and choices.

    Args:
        estimates: the answers, (n,), which decide the scale; NaN where an analysis has none.
        draws: those of the resamples, (n, R); NaN where a resample failed. The row of an analysis without an
            estimate is left out.
        scale: "log", "linear", or "auto": the logarithm where every finite estimate is positive.

    Raises:
        DataError: the arrays do not fit together, or no analysis has two resamples with an answer.
        UsageError: an unknown scale.
    """
    answers, rows = _read(estimates, draws)
    kind = scale_of(answers, scale)
    found = [_moments(rows[each], answers[each], kind) for each in row_blocks(*rows.shape)]
    counts, means, variances = (np.concatenate(each) for each in zip(*found, strict=True))
    kept = counts >= 2
    if not kept.any():
        raise DataError("draws: no analysis has two resamples with an answer; take more resamples")
    return VarianceSplit(
        resampling=float(np.mean(variances[kept])),
        choices=float(np.var(means[kept])),
        scale=kind,
        n=int(kept.sum()),
        n_left_out=int(np.sum(~kept)),
        n_draws_left_out=int(kept.sum()) * rows.shape[1] - int(counts[kept].sum()),
    )


def _moments(rows: Floats, answers: Floats, scale: str) -> tuple[Floats, Floats, Floats]:
    """How many resamples of each analysis have an answer on the scale, their mean and variance, (n,) each."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.log(rows) if scale == "log" else rows
    known = np.isfinite(values) & np.isfinite(answers)[:, None]
    counts = known.sum(axis=1)
    means = np.where(known, values, 0.0).sum(axis=1) / np.maximum(counts, 1)
    with np.errstate(invalid="ignore"):
        within = np.where(known, values - means[:, None], 0.0)
    return counts, means, np.sum(within**2, axis=1) / np.maximum(counts, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledInterval:
    """Where the answer lies over analyst's choices and resampling together; not a statement of coverage.

    Attributes:
        low: lower limit of the central interval of the pooled distribution.
        median: its median.
        high: upper limit.
        level: mass of the interval.
        n: how many analyses count: those with at least one resample that has an answer.
        default_low: lower limit of the default analysis by its own resamples; NaN where none is named.
        default_high: upper limit.
        times_as_wide: width of the pooled interval over that of the default analysis, on the log scale where
            both are positive; NaN where none is named, and where a limit is infinite.
    """

    low: float
    median: float
    high: float
    level: float
    n: int
    default_low: float = math.nan
    default_high: float = math.nan
    times_as_wide: float = math.nan


def pooled_interval(draws: ArrayLike, level: float = 0.8, *, default: int | None = None) -> PooledInterval:
    """The central interval of all resamples of all analyses, each analysis of the same weight.

    A resample weighs 1/(n r), where r is the number of resamples of its analysis that have an answer. So an
    analysis whose resamples often fail counts as much as one whose resamples never do.

    Args:
        draws: answers of the resamples, (n, R); NaN where a resample failed. Infinities keep their place.
        level: mass of the interval.
        default: position of the default analysis, whose interval is set beside; None for none.

    Returns:
        Limits and median: quantiles by the inverse of the weighted distribution function.

    Raises:
        DataError: no resample has an answer.
        UsageError: `level` is no probability, or `default` no position.
    """
    rows = _matrix(draws)
    tails = central_tails(level)
    low, median, high = (float(each) for each in mixture_quantiles(rows, (tails[0], 0.5, tails[1])))
    if math.isnan(median):
        raise DataError("draws: no resample has an answer; see the statuses of the analyses")
    own_low = own_high = math.nan
    if default is not None:
        place = whole_number("default", default, high=len(rows) - 1)
        own_low, _, own_high = (float(each) for each in low_median_high(rows[place], level))
    return PooledInterval(
        low=low, median=median, high=high, level=float(level), n=int(np.sum(~np.isnan(rows).all(axis=1))),
        default_low=own_low, default_high=own_high, times_as_wide=_ratio((low, high), (own_low, own_high)),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveFacts:
    """What a specification curve shows, in numbers (after Simonsohn, Simmons & Nelson 2020).

    They describe the listed analyses. The paper's third step, a test of all of them together, needs resamples
    under a null hypothesis, which these are not.

    Attributes:
        n: analyses with an answer.
        n_failed: analyses without one.
        lowest: the smallest answer.
        low: lower limit of the central share `level` of the answers.
        median: their median.
        high: upper limit.
        highest: the largest.
        level: the share between `low` and `high`.
        default: the answer of the default analysis; NaN where none is named.
        default_rank: the share of the other answers that are smaller; NaN where there is none.
        reference: what the intervals are compared with; NaN for nothing.
        share_below: of the analyses with an interval, those whose interval lies wholly below the reference.
        share_above: those whose interval lies wholly above it.
    """

    n: int
    n_failed: int
    lowest: float
    low: float
    median: float
    high: float
    highest: float
    level: float
    default: float = math.nan
    default_rank: float = math.nan
    reference: float = math.nan
    share_below: float = math.nan
    share_above: float = math.nan

    @property
    def share_excluding(self) -> float:
        """The share of the analyses whose interval excludes the reference."""
        return self.share_below + self.share_above


def curve_facts(
    estimates: ArrayLike,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    reference: float | None = None,
    default: int | None = None,
    level: float = 0.8,
) -> CurveFacts:
    """Range, median and agreement of the answers.

    Args:
        estimates: the answers, (n,); NaN or infinite where an analysis has none.
        low: lower limits of their intervals, (n,); NaN for those without.
        high: upper limits.
        reference: a value the intervals may exclude, such as 20 tokens per parameter; None for the answer of
            the default analysis, if one is named.
        default: position of the default analysis.
        level: the central share of the answers that `CurveFacts.low` and `high` bound.

    Raises:
        DataError: no finite answer, or arrays of different lengths.
        UsageError: an argument has no meaning.
    """
    answers = real_array("estimates", estimates).reshape(-1)
    usable = np.isfinite(answers)
    if not usable.any():
        raise DataError("estimates: no analysis has a finite answer; see their statuses")
    own, rank = math.nan, math.nan
    if default is not None:
        own = float(answers[whole_number("default", default, high=len(answers) - 1)])
        others = int(usable.sum()) - 1
        if math.isfinite(own) and others:
            rank = float(np.sum(answers[usable] < own)) / others
    asked = own if reference is None else finite_number("reference", reference)
    below = above = math.nan
    if low is not None and high is not None and math.isfinite(asked):
        ends = [real_array(name, each).reshape(-1) for name, each in (("low", low), ("high", high))]
        if any(len(each) != len(answers) for each in ends):
            raise DataError(f"low and high: give one limit for each of the {len(answers)} analyses")
        known = usable & ~np.isnan(ends[0]) & ~np.isnan(ends[1])
        if known.any():
            below, above = float(np.mean(ends[1][known] < asked)), float(np.mean(ends[0][known] > asked))
    inner = low_median_high(answers[usable], level)
    return CurveFacts(
        n=int(usable.sum()), n_failed=int(np.sum(~usable)),
        lowest=float(answers[usable].min()), highest=float(answers[usable].max()),
        low=float(inner[0]), median=float(inner[1]), high=float(inner[2]), level=float(level),
        default=own, default_rank=rank, reference=asked, share_below=below, share_above=above,
    )  # fmt: skip


def _matrix(draws: ArrayLike) -> Floats:
    rows = real_array("draws", draws)
    if rows.ndim != 2 or not rows.size:
        raise UsageError(f"draws has shape {rows.shape}; give (analyses, resamples)")
    return rows


def _read(estimates: ArrayLike, draws: ArrayLike) -> tuple[Floats, Floats]:
    answers, rows = real_array("estimates", estimates).reshape(-1), _matrix(draws)
    if len(answers) != len(rows):
        raise DataError(f"estimates has {len(answers)} analyses and draws {len(rows)}; give one row for each")
    return answers, rows


def _ratio(pooled: tuple[float, float], own: tuple[float, float]) -> float:
    """Width over width, of logarithms where all limits are positive; NaN where it has no meaning."""
    ends = np.array([pooled, own])
    if not np.isfinite(ends).all():
        return math.nan
    if (ends > 0).all():
        ends = np.log(ends)
    wide, narrow = ends[:, 1] - ends[:, 0]
    return float(wide / narrow) if narrow > 0 else math.nan
