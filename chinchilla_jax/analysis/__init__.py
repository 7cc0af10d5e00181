"""Statistics on arrays of fitted laws: intervals, tokens per parameter, trends, identities. No JAX here.

What simulates and fits (`coverage`, `breakdown`, `diagnosis`) stands on `bootstrapping` and is imported from
its own module. What a bootstrap has no need of is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chinchilla_jax.analysis.draws import draw_laws
from chinchilla_jax.analysis.interval_table import INTERVAL_METHODS, Replicates, interval_table
from chinchilla_jax.analysis.intervals import METHODS, law_covariance, parameter_table
from chinchilla_jax.analysis.quantities import (
    Quantity,
    exponent_quantities,
    loss_quantities,
    parameter_quantities,
    prescription_quantities,
)
from chinchilla_jax.analysis.tokens_per_param import (
    COMPUTE_GRID,
    SlopeError,
    slope_monte_carlo_error,
    slope_per_decade,
    slope_table,
    tokens_per_param_band,
)

if TYPE_CHECKING:
    from chinchilla_jax.analysis.identities import identity_errors, power_map
    from chinchilla_jax.analysis.joint_maps import joint_map
    from chinchilla_jax.analysis.trends import trend_table

_HOME = {
    "identity_errors": "identities",
    "joint_map": "joint_maps",
    "power_map": "identities",
    "trend_table": "trends",
}

__all__ = [
    "COMPUTE_GRID",
    "INTERVAL_METHODS",
    "METHODS",
    "Quantity",
    "Replicates",
    "SlopeError",
    "draw_laws",
    "exponent_quantities",
    "identity_errors",
    "interval_table",
    "joint_map",
    "law_covariance",
    "loss_quantities",
    "parameter_quantities",
    "parameter_table",
    "power_map",
    "prescription_quantities",
    "slope_monte_carlo_error",
    "slope_per_decade",
    "slope_table",
    "tokens_per_param_band",
    "trend_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
