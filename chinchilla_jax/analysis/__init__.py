"""Statistics on arrays of fitted laws: intervals, tokens per parameter, trends, identities. No JAX here."""

from chinchilla_jax.analysis.draws import draw_laws
from chinchilla_jax.analysis.identities import identity_errors, power_map
from chinchilla_jax.analysis.intervals import METHODS, law_covariance, parameter_table
from chinchilla_jax.analysis.tokens_per_param import (
    COMPUTE_GRID,
    SlopeError,
    slope_monte_carlo_error,
    slope_per_decade,
    slope_table,
    tokens_per_param_band,
)
from chinchilla_jax.analysis.trends import trend_table

__all__ = [
    "COMPUTE_GRID",
    "METHODS",
    "SlopeError",
    "draw_laws",
    "identity_errors",
    "law_covariance",
    "parameter_table",
    "power_map",
    "slope_monte_carlo_error",
    "slope_per_decade",
    "slope_table",
    "tokens_per_param_band",
    "trend_table",
]
