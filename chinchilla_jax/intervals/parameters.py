"""Standard errors and intervals of the fitted parameters, from the laws of a bootstrap.

| code      | shape | unit                                                                |
|-----------|-------|---------------------------------------------------------------------|
| laws      | (R,)  | one per resample, in natural units (see `laws/fitted.py`)           |
| counted   | (R,)  | bool: the lanes that count                                          |
| point_law | ()    | the law fitted to the runs themselves                               |
| level     | ()    | probability mass of the central interval                            |

These are the methods of a study's tables (`STUDY_METHODS`):
- "percentile": the (1 - level)/2 and (1 + level)/2 quantiles of the resamples (NumPy's linear interpolation).
- "gaussian": a normal distribution around the point fit with the covariance of the resamples, both by one
  estimator.
- "besiroglu2024": the same formula as published (arXiv:2404.10102), which mixes two estimators: the caller
  passes the `HuberScale` point with the `Huber` resamples. It has its own name to make the mix visible.

The normal is that of the parameters, of the logarithm for positive coefficients (`COEFFICIENTS`). Besiroglu
et al. take ln E as well. E is used here because it may be 0, a boundary that some resamples of noisy runs
reach and where ln E does not exist. Nothing else depends on the choice (the compute optimum does not contain
E), and on the published runs the limits of E agree to 4 digits.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.blocks import LONG
from chinchilla_jax.intervals.methods import METHODS, STUDY_METHODS, read_method
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.replicates import check_lanes, check_point
from chinchilla_jax.laws.fitted import COEFFICIENTS, FittedLaws, parameter_names, parameter_values

if TYPE_CHECKING:
    import pandas as pd


class IntervalRequest(NamedTuple):
    """One interval asked of a bootstrap: the arguments of `parameter_table` after the laws."""

    point_law: FittedLaws | None
    level: float
    method: str


def parameter_table(
    laws: FittedLaws,
    counted: ArrayLike,
    point_law: FittedLaws,
    level: float = 0.8,
    method: str = "percentile",
) -> pd.DataFrame:
    """Estimate, standard error and interval of each parameter.

    Args:
        laws: the resamples' laws, shape (R,).
        counted: which of them count, bool (R,); the others are left out and counted in `n_failed`.
        point_law: a single law, the estimate; also the centre of "gaussian" and "besiroglu2024".
        level: mass of the central interval, between 0 and 1.
        method: see the module's docstring.

    Returns:
        One row per parameter of the law; columns parameter, estimate, standard_error (standard deviation
        over the resamples in natural units, 1/(n-1)), low, high, level, method, n_converged, n_failed. A lane
        counts in a row where `counted` says so and its value is finite; n_failed counts all others, so the
        two add up to R. standard_error and the limits of the normal methods are NaN where fewer than two
        lanes count, the percentile limits where none does.

    Raises:
        UsageError: an argument is out of range, or shapes disagree.
    """
    import pandas as pd

    return pd.DataFrame(interval_columns(laws, counted, [IntervalRequest(point_law, level, method)]))


def interval_columns(
    laws: FittedLaws, counted: ArrayLike, requests: Sequence[IntervalRequest]
) -> dict[str, list[Any]]:
    """The columns of one `parameter_table` per request, one below the other; shared work is done once."""
    tails, estimates = [], []
    for point_law, level, method in requests:
        read_method(method, STUDY_METHODS)
        tails.append(central_tails(level))
        point = check_point(point_law, "parameter_table", laws).as_dict()
        estimates.append(np.array([float(value) for value in point.values()]))
    mask, names = check_lanes(laws, counted), parameter_names(laws)
    drawn = [METHODS[each.method].normal for each in requests]
    probabilities = sorted(
        {tail for pair, normal in zip(tails, drawn, strict=True) if not normal for tail in pair}
    )
    counts, errors, spreads = np.empty(len(names), np.int64), np.empty(len(names)), np.empty(len(names))
    at = np.full((len(probabilities), len(names)), np.nan)
    for some, values in _counted_values(laws, names, mask):
        counts[some] = values.shape[1]
        errors[some] = spreads[some] = standard_deviations(values)
        for k, j in enumerate(some):
            if any(drawn) and names[j] in COEFFICIENTS:
                spreads[j] = _deviation_of_logs(values[k])
        if probabilities and values.size:
            with beyond_float64():
                at[:, some] = np.quantile(values, probabilities, axis=1, overwrite_input=True)
        del values  # before those of the next parameters
    quantiles = dict(zip(probabilities, at, strict=True))
    limits = [
        _normal_limits(names, estimate, spreads, pair) if normal else [quantiles[tail] for tail in pair]
        for estimate, pair, normal in zip(estimates, tails, drawn, strict=True)
    ]
    tables, rows = len(requests), len(names)
    return {
        "parameter": list(names) * tables,
        "estimate": np.concatenate(estimates).tolist(),
        "standard_error": errors.tolist() * tables,
        "low": np.concatenate([low for low, _ in limits]).tolist(),
        "high": np.concatenate([high for _, high in limits]).tolist(),
        "level": [float(each.level) for each in requests for _ in range(rows)],
        "method": [each.method for each in requests for _ in range(rows)],
        "n_converged": counts.tolist() * tables,
        "n_failed": (mask.size - counts).tolist() * tables,
    }


def _counted_values(
    laws: FittedLaws, names: Sequence[str], mask: NDArray[np.bool_]
) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """The finite values of parameters in the lanes that count, to be reordered at will, (q, m); and which q.

    Those for which the same lanes count are side by side, unless they are long.
    """
    every = list(range(len(names)))
    if len(laws) <= LONG:
        values = np.stack([np.asarray(each) for each in laws.as_dict().values()])
        finite = np.isfinite(values)
        if finite.all() or finite[:, mask].all():
            yield every, values if mask.all() else values.take(np.flatnonzero(mask), axis=1)
            return
    for j in every:
        yield [j], _finite_among(parameter_values(laws, names[j]), mask)[None]


def _finite_among(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return values[mask & np.isfinite(values)]


def standard_deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each row (q, m) with 1/(m-1), NaN for m < 2; no overflow where squares would."""
    count = values.shape[1]
    if count < 2:
        return np.full(len(values), np.nan)
    largest = np.maximum(values.max(axis=1), -values.min(axis=1))
    # As np.std, with one array of the size of the values on the way.
    scaled = values / np.where(largest > 0, largest, 1.0)[:, None]
    scaled -= scaled.mean(axis=1, keepdims=True)
    scaled *= scaled
    return np.asarray(largest * np.sqrt(scaled.sum(axis=1) / (count - 1)))


def _deviation_of_logs(values: NDArray[np.float64]) -> float:
    return float(standard_deviations(np.log(values[None, values > 0]))[0])


def _normal_limits(
    names: Sequence[str],
    estimates: NDArray[np.float64],
    spreads: NDArray[np.float64],
    tails: tuple[float, float],
) -> NDArray[np.float64]:
    """Exact quantiles of the marginal normals, (2, q): of coefficients in logs, of E not below 0."""
    in_logs = np.array([name in COEFFICIENTS for name in names])
    z = np.array([statistics.NormalDist().inv_cdf(tail) for tail in tails])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        centres = np.where(in_logs, np.log(estimates), estimates)
        limits = centres + z[:, None] * spreads
        limits = np.where(in_logs, np.exp(limits), limits)
    floored = np.array([name == "E" for name in names]) & (limits[0] < 0)
    limits[0, floored] = 0.0
    return limits
