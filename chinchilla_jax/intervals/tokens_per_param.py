"""Compute-optimal tokens per parameter over a range of budgets, with its band.

| code    | symbol       | shape  | unit                                              |
|---------|--------------|--------|---------------------------------------------------|
| flops   | C            | (k,)   | training FLOP                                     |
| laws    |              | (R,)   | the resamples' laws                               |
| ratio   | D_opt/N_opt  | (k,)   | tokens per parameter                              |

For most laws ln(ratio) is a line in ln(C/6) (`log_ratio_line`), so a band is R lines evaluated and sorted at
k budgets; for the others the ratios themselves are sorted. A ratio may be +inf or 0 (see `ScalingLaw`): both
have a place in the order, so a limit is +inf or 0 where enough lanes are. A lane without an optimum (NaN) has
no place: it is left out and counted.

The band of the paper (Besiroglu et al. 2024, arXiv:2404.10102) draws laws from a normal; see `normal.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.blocks import LONG, blocks
from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.intervals.line_order import line_order_statistics, order_statistics
from chinchilla_jax.intervals.methods import METHODS, STUDY_METHODS, read_method
from chinchilla_jax.intervals.normal import counted_coordinates, draw_shifts, five_parameter_law, shifted_laws
from chinchilla_jax.intervals.parameters import IntervalRequest
from chinchilla_jax.intervals.quantiles import (
    between_ranks,
    central_tails,
    interpolate,
    quantiles_of_known,
)
from chinchilla_jax.intervals.replicates import check_lanes, check_point
from chinchilla_jax.laws.compute import params_times_tokens
from chinchilla_jax.laws.fitted import FittedLaws, parameter_names, parameter_values
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

_FEW_PLACES = 8  # budgets up to which the lines of many laws are computed at each, and not kept
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
    counted: ArrayLike | None = None,
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
        counted: which laws count, bool (R,); None for all.

    Returns:
        One row per budget: flops, low, median, high, estimate (of `point_law`, NaN without one), level,
        method. `frame.attrs` holds "n_converged" and "n_failed" (lanes of the bootstrap that counted and did
        not; they add up to R) and "n_without_optimum" (of the lanes or draws that counted, those without a
        compute optimum at some budget, left out of the quantiles there). low, median and high are NaN where
        nothing is left.

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
        counted=counted,
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
    counted: ArrayLike | None,
    caller: str = "band_columns",
) -> tuple[dict[str, NDArray[np.float64]], dict[str, int]]:
    """`tokens_per_param_band` without pandas, which would take as long as the quantiles.

    Returns:
        flops, low, median, high and estimate, each (k,); and the counts.
    """
    request = IntervalRequest(point_law, level, method)
    return interval_bands(laws, flops, [request], draws, seed, counted=counted, caller=caller)[0]


def interval_bands(
    laws: FittedLaws,
    flops: ArrayLike,
    requests: Sequence[IntervalRequest],
    draws: int = 4000,
    seed: int = 0,
    *,
    counted: ArrayLike | None,
    caller: str = "interval_bands",
) -> list[tuple[dict[str, NDArray[np.float64]], dict[str, int]]]:
    """`band_columns` of each request; what they share is computed once."""
    for each in requests:
        read_method(each.method, STUDY_METHODS)
        central_tails(each.level)
    budgets = positive_budgets(flops)
    mask = check_lanes(laws, counted)
    drawn: tuple[NDArray[np.float64], int] | None = None
    estimates: dict[int, NDArray[np.float64]] = {}
    bands = []
    among: NDArray[np.bool_] | None
    # By method first: whether two laws are equal takes their numbers.
    for (method, point_law), group in itertools.groupby(requests, lambda each: (each.method, each.point_law)):
        sample: FittedLaws
        if METHODS[method].normal:
            centre = five_parameter_law(check_point(point_law, caller, laws), method)
            if drawn is None:
                coordinates = counted_coordinates(five_parameter_law(laws, method), mask)
                drawn = draw_shifts(coordinates, draws, seed), len(coordinates)
            shifts, n_counted = drawn
            sample, among = shifted_laws(centre, shifts), None
        else:
            kept = mask & finite_laws(laws)
            n_counted = int(np.count_nonzero(kept))
            sample, among = laws, None if n_counted == len(laws) else kept
        tails = [central_tails(each.level) for each in group]
        probabilities = sorted({0.5}.union(*tails))
        quantiles, without = ratio_quantiles(sample, budgets, probabilities, among)
        at = dict(zip(probabilities, quantiles, strict=True))
        if id(point_law) not in estimates:
            estimates[id(point_law)] = (
                np.full(budgets.shape, np.nan)
                if point_law is None
                else np.asarray(check_point(point_law, caller, laws).tokens_per_param(budgets))
            )
        counts = {
            "n_converged": n_counted,
            "n_failed": mask.size - n_counted,
            "n_without_optimum": without,
        }
        bands += [
            (
                {
                    "flops": budgets,
                    "low": at[low],
                    "median": at[0.5],
                    "high": at[high],
                    "estimate": estimates[id(point_law)],
                },
                dict(counts),
            )
            for low, high in tails
        ]
    return bands


def finite_laws(laws: FittedLaws) -> NDArray[np.bool_]:
    """Which laws have finite parameters, (R,): NaN, or an A beyond float64, is a failed lane.

    E is not asked about: no optimum depends on it.
    """
    finite = np.ones(laws.shape, np.bool_)
    for name in parameter_names(laws):
        if name != "E":
            finite &= np.isfinite(parameter_values(laws, name))
    return finite


def ratio_quantiles(
    laws: FittedLaws,
    budgets: NDArray[np.float64],
    probabilities: Sequence[float],
    counted: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], int]:
    """Quantiles (p, k) of the ratio over the laws, and how many laws have no optimum at some budget.

    As `quantiles` of the ratios; along lines the order is found in logs, and the ratios are interpolated.

    Args:
        laws: (R,).
        budgets: (k,), FLOP.
        probabilities: (p,).
        counted: which of the laws, (R,); None for all.
    """
    places = np.log(params_times_tokens(budgets))
    if not isinstance(laws, ScalingLaw) and laws[:1].log_ratio_line() is None:
        ratios = np.asarray((laws if counted is None else laws[counted]).tokens_per_param(budgets))
        return quantiles_of_known(ratios, probabilities), int(np.isnan(ratios).any(axis=1).sum())
    count = len(laws) if counted is None else int(np.count_nonzero(counted))
    if len(laws) > LONG and len(places) <= _FEW_PLACES:
        # Line by line as they are needed: slopes and intercepts would take twice the memory of the values.
        known, ordered = 0, []
        for place in places:
            values = _known_values(laws, counted, place)
            known = len(values)
            ranks, *around = _around(probabilities, known)
            ordered.append(order_statistics(values, ranks.tolist())[:, None])
            del values  # before those of the next place
        logs = np.concatenate(ordered, axis=1)
    else:
        intercept, slope = _known_lines(laws, counted)
        known = len(slope)
        ranks, *around = _around(probabilities, known)
        logs = line_order_statistics(slope, intercept, places, ranks)
    if not known:
        return np.full((len(probabilities), budgets.size), np.nan), count
    with np.errstate(over="ignore"):
        ratios = np.exp(logs)
    below, above, share = around
    left, right = ratios[below], ratios[above]
    return interpolate(left, right, share[:, None]), count - known


def _around(probabilities: Sequence[float], count: int) -> tuple[NDArray[Any], ...]:
    """What quantiles among `count` values need: nothing of none.

    Returns:
        Rising ranks; for each quantile, (p,), which two of these ranks it lies between, and how far from the
        lower one.
    """
    below, above, share = between_ranks(probabilities, count)
    ranks = np.array(sorted({*below.tolist(), *above.tolist()} if count else ()), np.int64)
    return ranks, ranks.searchsorted(below), ranks.searchsorted(above), share


def _known_lines(
    laws: FittedLaws, counted: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intercept and slope of ln ratio, (m,) each, of the counted laws that have an optimum."""
    if len(laws) <= LONG:
        return next(_known_blocks(laws, counted))
    lines, filled = np.empty((2, len(laws))), 0
    for line in _known_blocks(laws, counted):
        lines[:, filled : filled + len(line[0])] = line
        filled += len(line[0])
    return lines[0, :filled], lines[1, :filled]


def _known_values(
    laws: FittedLaws, counted: NDArray[np.bool_] | None, place: np.float64
) -> NDArray[np.float64]:
    """Ln ratio at one place, (m,), of the counted laws that have an optimum."""
    values, filled = np.empty(len(laws)), 0
    for intercept, slope in _known_blocks(laws, counted):
        values[filled : filled + len(slope)] = slope * place + intercept
        filled += len(slope)
    return values[:filled]


def _known_blocks(
    laws: FittedLaws, counted: NDArray[np.bool_] | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Intercept and slope (m,) of the counted laws that have an optimum, block by block."""
    for lanes in blocks(len(laws)) if len(laws) > LONG else (slice(0, len(laws)),):
        intercept, slope = _line(laws if len(laws) <= LONG else laws[lanes])
        known = ~np.isnan(intercept)
        if counted is not None:
            known &= counted[lanes]
        yield (intercept, slope) if known.all() else (intercept[known], slope[known])


def _line(laws: FittedLaws) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    line = laws.log_ratio_line()
    assert line is not None, "laws of one kind all have lines or none"
    return line


def positive_budgets(flops: ArrayLike, what: str = "flops") -> NDArray[np.float64]:
    """`flops` as an array of shape (k,), k at least 1.

    Raises:
        UsageError: a budget is not positive and finite, or there is none.
    """
    budgets = np.atleast_1d(positive_array(what, flops))
    if budgets.ndim != 1 or not budgets.size:
        raise UsageError(f"{what} = {short(flops)}: give one or more budgets, shape (k,)")
    return budgets
