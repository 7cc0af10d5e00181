"""Statistics on arrays of fitted laws: intervals, tokens per parameter, trends, identities. No JAX here.

What simulates and fits (`coverage`, `breakdown`, `diagnosis`) stands on `bootstrapping` and is imported from
its own module. What a bootstrap has no need of is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from chinchilla_jax.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOME, __all__)
