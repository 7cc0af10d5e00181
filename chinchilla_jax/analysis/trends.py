"""How each fitted parameter moves with the size of a perturbation: one line per family and parameter.

| code        | symbol | shape | unit                                                        |
|-------------|--------|-------|-------------------------------------------------------------|
| x           |        | (m,)  | size of the perturbation, transformed                       |
| y           |        | (m,)  | fitted parameter, transformed                               |
| slope       |        | ()    | y per x                                                     |
| intercept   |        | ()    | y at x = 0                                                  |
| r_squared   | R^2    | ()    | 1 - residual / total sum of squares                         |

Axes (`AXES`): log10 c for a factor, c in millions of parameters, billions of tokens or nats per token for an
amount, log10 s for systematic bias, log10 sigma for noise. A and B enter as log10 everywhere, since they
range over decades; alpha enters as log10 under systematic bias, where theory has alpha = alpha_0 / s
(Schaeffer et al. 2025, arXiv:2509.23963: log10 alpha = -0.46 - log10 s with R^2 > 0.999); all others are not
transformed.

The repeats of one sigma become one point, the median of the transformed estimates: in heavy noise the fit of
a repeat can end far away (alpha near 0, A of any size), and would dominate a mean. Noise with sigma = 0 has
no logarithm; it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.intervals.methods import STUDY_METHODS, read_method
from chinchilla_jax.laws.fitted import COEFFICIENTS
from chinchilla_jax.perturbations import FAMILIES

if TYPE_CHECKING:
    import pandas as pd

_CONSTANT = 1e-8  # spread relative to size below which y is constant: solvers agree to about 1e-9

TRANSFORMS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = MappingProxyType(
    {
        "identity": lambda values: values,
        "log10": np.log10,
        "millions": lambda values: values / 1e6,
        "billions": lambda values: values / 1e9,
    }
)
"""The transforms that `transform_x` and `transform_y` name."""

_AMOUNTS = {"parameters": "millions", "tokens": "billions", "nats per token": "identity", "1": "log10"}
AXES: Mapping[str, str] = MappingProxyType({name: _AMOUNTS[each.unit] for name, each in FAMILIES.items()})
"""Transform of the perturbation's size, per family."""


def transform_of(family: str, parameter: str) -> str:
    """Name of the transform of a fitted parameter in the trend of a family."""
    steep = FAMILIES[family].form == "systematic_bias" and parameter == "alpha"
    if parameter in COEFFICIENTS or steep:
        return "log10"
    return "identity"


def trend_table(conditions: pd.DataFrame, params: pd.DataFrame, method: str = "percentile") -> pd.DataFrame:
    """Regress every fitted parameter on the size of the perturbation, family by family.

    Args:
        conditions: the study's conditions: columns condition, family, value (others are not read).
        params: the study's parameter table: columns condition, parameter, estimate, method.
        method: whose estimates: those of "percentile" and "gaussian" are the `Huber` point fit, those of
            "besiroglu2024" the `HuberScale` one.

    Returns:
        One row per family present and parameter: family, parameter, transform_x, transform_y, slope,
        intercept, r_squared, n_conditions (conditions used), n_points (distinct sizes: what the line passes
        through), n_excluded (conditions of the family without a point: no finite estimate, or no finite
        transform). slope and intercept are NaN for fewer than two points; r_squared also for two, through
        which there is always a line, and where y is constant to 1e-8, so that there is nothing to explain.

    Raises:
        UsageError: a column is missing or the method unknown.
    """
    import pandas as pd

    read_method(method, STUDY_METHODS)
    for table, label, columns in (
        (conditions, "conditions", ("condition", "family", "value")),
        (params, "params", ("condition", "parameter", "estimate", "method")),
    ):
        missing = [column for column in columns if column not in table]
        if missing:
            raise UsageError(f"trend_table: {label} has no column {missing[0]!r}; give the study's own table")
    # The estimate is the same at every level.
    chosen = params[params["method"] == method].drop_duplicates(["condition", "parameter"])
    names = list(dict.fromkeys(chosen["parameter"]))
    estimates = chosen.pivot(index="condition", columns="parameter", values="estimate").reindex(
        index=conditions["condition"], columns=names
    )
    values = conditions["value"].to_numpy(np.float64)
    rows = []
    present = set(conditions["family"])
    for family in (name for name in FAMILIES if name in present):
        members = (conditions["family"] == family).to_numpy()
        for parameter in names:
            estimate = estimates[parameter].to_numpy(np.float64)[members]
            rows.append(_trend(family, parameter, values[members], estimate))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = (
    "family",
    "parameter",
    "transform_x",
    "transform_y",
    "slope",
    "intercept",
    "r_squared",
    "n_conditions",
    "n_points",
    "n_excluded",
)


def _trend(
    family: str, parameter: str, value: NDArray[np.float64], estimate: NDArray[np.float64]
) -> tuple[object, ...]:
    transform_x, transform_y = AXES[family], transform_of(family, parameter)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = TRANSFORMS[transform_x](value), TRANSFORMS[transform_y](estimate)
    kept = np.isfinite(x) & np.isfinite(y)
    sizes = np.unique(x[kept])
    with beyond_float64():
        points = np.array([np.median(y[kept & (x == size)]) for size in sizes])
    slope, intercept, r_squared = fit_line(sizes, points)
    counts = (int(kept.sum()), sizes.size, int(kept.size - kept.sum()))
    return (family, parameter, transform_x, transform_y, slope, intercept, r_squared, *counts)


@beyond_float64()
def fit_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Least-squares line: (slope, intercept, R^2), NaN where undefined as `trend_table` says.

    Also NaN, or infinite, where squares lie beyond float64.

    Args:
        x: finite, shape (m,).
        y: finite, shape (m,).
    """
    if x.size < 2 or np.ptp(x) == 0:
        return float("nan"), float("nan"), float("nan")
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(np.divide(dx @ dy, dx @ dx))
    intercept = float(y.mean() - slope * x.mean())
    constant = np.ptp(y) <= _CONSTANT * np.max(np.abs(y))
    residual = dy - slope * dx
    unexplained = (
        float("nan") if constant or x.size < 3 else float(1 - np.divide(residual @ residual, dy @ dy))
    )
    return slope, intercept, unexplained
