"""Standard errors and intervals of the fitted parameters, from the laws of a bootstrap.

| code       | symbol | shape  | unit                                                                |
|------------|--------|--------|---------------------------------------------------------------------|
| laws       |        | (R,)   | one per resample, in natural units (see `laws/fitted.py`)           |
| converged  |        | (R,)   | bool: the lanes that count                                          |
| point      |        | ()     | the law fitted to the runs themselves                               |
| level      |        | ()     | probability mass of the central interval                            |
| covariance | Sigma  | (4, 4) | of (ln A, ln B, alpha, beta) of the five-parameter law, 1/(n-1)     |

The methods are

- "percentile": the (1 - level)/2 and (1 + level)/2 quantiles of the resamples (NumPy's linear interpolation).
- "gaussian": a normal distribution around the point fit with the covariance of the resamples, both of one
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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.fitted import COEFFICIENTS, FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("percentile", "gaussian", "besiroglu2024")


class IntervalRequest(NamedTuple):
    """One interval asked of a bootstrap: the arguments of `parameter_table` after the laws."""

    point_law: FittedLaws | None
    level: float
    method: str


def parameter_table(
    laws: FittedLaws,
    converged: ArrayLike,
    point_law: FittedLaws,
    level: float = 0.8,
    method: str = "percentile",
) -> pd.DataFrame:
    """Estimate, standard error and interval of each parameter.

    Args:
        laws: the resamples' laws, shape (R,).
        converged: which of them count, bool (R,); the others are left out and counted in `n_failed`.
        point_law: a single law, the estimate; also the centre of "gaussian" and "besiroglu2024".
        level: mass of the central interval, between 0 and 1.
        method: see the module's docstring.

    Returns:
        One row per parameter of the law; columns parameter, estimate, standard_error (standard deviation
        over the resamples in natural units, 1/(n-1)), low, high, level, method, n_converged, n_failed. A lane
        counts in a row when it converged and its value is finite; n_failed counts all others, so the two add
        up to R. standard_error and the limits of the normal methods are NaN where fewer than two lanes count,
        the percentile limits where none does.

    Raises:
        UsageError: an argument is out of range, or shapes disagree.
    """
    import pandas as pd

    return pd.DataFrame(parameter_rows(laws, converged, point_law, level, method))


def parameter_rows(
    laws: FittedLaws, converged: ArrayLike, point_law: FittedLaws, level: float, method: str
) -> list[dict[str, Any]]:
    """The rows of `parameter_table`, as dicts."""
    return interval_rows(laws, converged, [IntervalRequest(point_law, level, method)])


def interval_rows(
    laws: FittedLaws, converged: ArrayLike, requests: Sequence[IntervalRequest]
) -> list[dict[str, Any]]:
    """The rows of one `parameter_table` per request, in order; what they share is computed once."""
    tails, estimates = [], []
    for point_law, level, method in requests:
        check_method(method)
        tails.append(central_tails(level))
        estimates.append(check_point(point_law, "parameter_table", laws).as_dict())
    mask = check_lanes(laws, converged)
    tables: list[list[dict[str, Any]]] = [[] for _ in requests]
    for name, every in laws.as_dict().items():
        values = np.asarray(every)
        values = values[mask & np.isfinite(values)]
        error = standard_deviation(values)
        spread = error
        if name in COEFFICIENTS and any(method != "percentile" for _, _, method in requests):
            spread = standard_deviation(np.log(values[values > 0]))
        for table, (_, level, method), point, probabilities in zip(
            tables, requests, estimates, tails, strict=True
        ):
            estimate = float(point[name])
            if method == "percentile":
                low, high = np.quantile(values, probabilities) if values.size else (np.nan, np.nan)
            else:
                low, high = _normal_limits(name, estimate, spread, probabilities)
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


def normal_coordinates(laws: ScalingLaw) -> NDArray[np.float64]:
    """(ln A, ln B, alpha, beta) of each law, shape s + (4,): what the compute optimum depends on."""
    with np.errstate(divide="ignore"):
        columns = (np.log(laws.A), np.log(laws.B), laws.alpha, laws.beta)
    return np.stack([np.asarray(column) for column in columns], axis=-1)


def law_covariance(laws: ScalingLaw, converged: ArrayLike) -> NDArray[np.float64]:
    """Covariance of (ln A, ln B, alpha, beta) over the lanes that count, shape (4, 4), 1/(n-1).

    Lanes count when they converged and all four coordinates are finite. All NaN where fewer than two do.

    Raises:
        UsageError: shapes disagree.
    """
    return coordinate_covariance(counted_coordinates(laws, converged))


def counted_coordinates(laws: ScalingLaw, converged: ArrayLike | None) -> NDArray[np.float64]:
    """The finite `normal_coordinates` among the lanes that count, shape (m, 4)."""
    points = normal_coordinates(laws)
    return points[check_lanes(laws, converged) & np.isfinite(points).all(axis=-1)]


def coordinate_covariance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of `counted_coordinates`, see `law_covariance`."""
    return np.cov(points, rowvar=False) if len(points) > 1 else np.full((4, 4), np.nan)


def standard_deviation(values: NDArray[np.float64]) -> float:
    """Standard deviation with 1/(n-1), NaN for fewer than two values; no overflow where squares would."""
    if values.size < 2:
        return float("nan")
    largest = float(np.max(np.abs(values)))
    return largest * float(np.std(values / largest, ddof=1)) if largest > 0 else 0.0


def check_method(method: str) -> None:
    """Raise `UsageError` unless `method` is one of `METHODS`."""
    if method not in METHODS:
        raise unknown_name("interval method", method, METHODS)


def check_point(point_law: FittedLaws | None, caller: str, laws: FittedLaws) -> FittedLaws:
    """The point law, if it is a single law with the parameters of `laws`; otherwise `UsageError`."""
    if not isinstance(point_law, FittedLaws) or point_law.shape:
        raise UsageError(f"{caller}: point_law is {short(point_law)}; give the single law of the point fit")
    found, expected = tuple(point_law.as_dict()), tuple(laws.as_dict())
    if found != expected:
        raise UsageError(
            f"{caller}: point_law has the parameters {', '.join(found)} and the resamples "
            f"{', '.join(expected)}; give the point fit of the same law"
        )
    return point_law


def five_parameter_law(law: FittedLaws, method: str) -> ScalingLaw:
    """`law` if laws can be drawn from a normal around it; otherwise `UsageError`."""
    if not isinstance(law, ScalingLaw):
        raise UsageError(
            f"method {method!r} draws five-parameter laws (E, A, B, alpha, beta), and this law has "
            f"{', '.join(law.as_dict())}; use 'percentile'"
        )
    return law


def check_lanes(laws: FittedLaws, converged: ArrayLike | None) -> NDArray[np.bool_]:
    """The mask of lanes that count, shape (R,); None means all of them.

    Raises:
        UsageError: `laws` are not of shape (R,), or `converged` is not bool (R,) (status names are not a
            mask).
    """
    if len(laws.shape) != 1:
        raise UsageError(f"laws have shape {laws.shape}; give the laws of one bootstrap, shape (R,)")
    if converged is None:
        return np.ones(laws.shape, dtype=np.bool_)
    mask = np.asarray(converged)
    if mask.dtype != np.bool_ or mask.shape != laws.shape:
        raise UsageError(
            f"converged has dtype {mask.dtype} and shape {mask.shape}; "
            f"give one bool per law, shape {laws.shape}"
        )
    return mask


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
