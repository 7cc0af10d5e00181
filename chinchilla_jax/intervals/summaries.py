"""The two tables that a bootstrap is asked for most, by any method, as columns without pandas.

| code       | shape | meaning                                                       |
|------------|-------|---------------------------------------------------------------|
| replicates | (R,)  | the fits of a bootstrap and what else its intervals need      |
| flops      | (k,)  | training FLOP                                                 |

Methods that a study's tables hold too are computed as there on resamples as large as the data, so that a
bootstrap and a study of the same runs agree in every digit.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from chinchilla_jax._util.labels import INTERVAL_COLUMNS
from chinchilla_jax.intervals.methods import METHODS
from chinchilla_jax.intervals.parameters import IntervalRequest, interval_columns
from chinchilla_jax.intervals.quantities import prescription_quantities
from chinchilla_jax.intervals.replicates import Replicates, without_estimate
from chinchilla_jax.intervals.table import Intervals
from chinchilla_jax.intervals.tokens_per_param import band_columns
from chinchilla_jax.laws.optimum import known_ratio
from chinchilla_jax.laws.scaling_law import ScalingLaw

_OF_BANDS = ("flops", *INTERVAL_COLUMNS, "median")
_OF_DERIVED = ("flops", "params", "tokens", "simultaneous")


def parameter_columns(replicates: Replicates, level: float, method: str) -> dict[str, list[Any]]:
    """Interval of each parameter.

    Returns:
        Columns parameter, estimate, standard_error, low, high, level, method, n_converged, n_failed; a row
        per parameter.

    Raises:
        UsageError: `level` is not a probability, or `method` is unknown or lacks what it needs.
    """
    replicates.require(method)
    if _as_in_a_study(replicates, method):
        request = IntervalRequest(replicates.centre(method), level, method)
        columns = interval_columns(replicates.laws, replicates.counted, [request])
        return columns if replicates.estimated else without_estimate(columns)
    columns = Intervals(replicates).columns(level, method)
    named = {"parameter": columns.pop("quantity")} | columns
    return {name: named[name] for name in named if name not in _OF_DERIVED}


def tokens_per_param_columns(
    replicates: Replicates, flops: ArrayLike, level: float, method: str, *, seed: int = 0
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Compute-optimal tokens per parameter at each budget.

    Returns:
        Columns flops, estimate (of the point fit), low, high, median (of the resamples, or of the laws
        drawn), level, method, a row per budget, NaN where a law without an optimum would give 0 or +inf; and
        the counts of lanes that `tokens_per_param_band` puts
        into `attrs`.

    Raises:
        UsageError: as `parameter_columns`, or a budget is not positive and finite.
    """
    replicates.require(method)
    draws_laws = METHODS[method].normal and isinstance(replicates.laws, ScalingLaw)
    band, counts = band_columns(
        replicates.laws,
        flops,
        level,
        method if draws_laws else "percentile",
        replicates.centre(method),
        seed=seed,
        counted=replicates.counted,
        caller="tokens_per_param",
    )
    columns: dict[str, list[Any]] = {name: band[name].tolist() for name in _OF_BANDS}
    if not (_as_in_a_study(replicates, method) and (draws_laws or method == "percentile")):
        asked = prescription_quantities(columns["flops"], ["tokens_per_param"])
        limits = Intervals(replicates, asked, seed=seed).columns(level, method)
        columns |= {name: limits[name] for name in ("low", "high")}
    # 0 and +inf stand for the edge of a law without an optimum, and prescribe nothing.
    columns |= {
        name: [known_ratio(value) for value in columns[name]] for name in (*INTERVAL_COLUMNS, "median")
    }
    if not replicates.estimated:
        columns = without_estimate(columns)
    count = len(columns["flops"])
    return columns | {"level": [float(level)] * count, "method": [method] * count}, counts


def _as_in_a_study(replicates: Replicates, method: str) -> bool:
    return METHODS[method].in_studies and replicates.factor == 1
