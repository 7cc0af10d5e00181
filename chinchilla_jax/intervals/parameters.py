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

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
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

    return pd.DataFrame(parameter_rows(laws, counted, point_law, level, method))


def parameter_rows(
    laws: FittedLaws, counted: ArrayLike, point_law: FittedLaws, level: float, method: str
) -> list[dict[str, Any]]:
    """The rows of `parameter_table`, as dicts."""
    return interval_rows(laws, counted, [IntervalRequest(point_law, level, method)])


def interval_rows(
    laws: FittedLaws, counted: ArrayLike, requests: Sequence[IntervalRequest]
) -> list[dict[str, Any]]:
    """The rows of one `parameter_table` per request, in order; what they share is computed once."""
    tails, estimates = [], []
    for point_law, level, method in requests:
        read_method(method, STUDY_METHODS)
        tails.append(central_tails(level))
        estimates.append(check_point(point_law, "parameter_table", laws).as_dict())
    mask = check_lanes(laws, counted)
    tables: list[list[dict[str, Any]]] = [[] for _ in requests]
    for name in parameter_names(laws):
        values = parameter_values(laws, name)
        values = values[mask & np.isfinite(values)]  # a copy, which the quantiles may reorder
        error = standard_deviation(values)
        spread = error
        if name in COEFFICIENTS and any(METHODS[method].normal for _, _, method in requests):
            spread = standard_deviation(np.log(values[values > 0]))
        for table, (_, level, method), point, probabilities in zip(
            tables, requests, estimates, tails, strict=True
        ):
            estimate = float(point[name])
            if METHODS[method].normal:
                low, high = _normal_limits(name, estimate, spread, probabilities)
            else:
                low = high = math.nan
                if values.size:
                    with beyond_float64():
                        low, high = np.quantile(values, probabilities, overwrite_input=True)
            table.append(
                {
                    "parameter": name,
                    "estimate": estimate,
                    "standard_error": error,
                    "low": float(low),
                    "high": float(high),
                    "level": float(level),
                    "method": method,
                    "n_converged": values.size,
                    "n_failed": mask.size - values.size,
                }
            )
    return [row for table in tables for row in table]


def standard_deviation(values: NDArray[np.float64]) -> float:
    """Standard deviation with 1/(n-1), NaN for fewer than two values; no overflow where squares would."""
    if values.size < 2:
        return float("nan")
    largest = float(max(values.max(), -values.min()))
    if not largest > 0:
        return 0.0
    # As np.std, with one array of the length of the values on the way.
    scaled = values / largest
    scaled -= scaled.mean()
    scaled *= scaled
    return largest * math.sqrt(scaled.sum() / (values.size - 1))


def _normal_limits(
    name: str, estimate: float, spread: float, tails: tuple[float, float]
) -> tuple[float, float]:
    """Quantiles of the marginal normal, exact and without draws: coefficients in logs, E not below 0."""
    z = [statistics.NormalDist().inv_cdf(tail) for tail in tails]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if name in COEFFICIENTS:
            centre = np.log(estimate)
            return float(np.exp(centre + z[0] * spread)), float(np.exp(centre + z[1] * spread))
        low, high = estimate + z[0] * spread, estimate + z[1] * spread
    return (max(low, 0.0), high) if name == "E" and low == low else (low, high)
