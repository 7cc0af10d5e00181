"""Intervals from arrays of fitted laws: arithmetic alone, whatever fitted them. No JAX here."""

from chinchilla_jax.intervals.draws import draw_laws
from chinchilla_jax.intervals.parameters import METHODS, law_covariance, parameter_table
from chinchilla_jax.intervals.quantities import (
    Quantity,
    exponent_quantities,
    loss_quantities,
    parameter_quantities,
    prescription_quantities,
)
from chinchilla_jax.intervals.table import INTERVAL_METHODS, Replicates, interval_table
from chinchilla_jax.intervals.tokens_per_param import (
    COMPUTE_GRID,
    SlopeError,
    slope_monte_carlo_error,
    slope_per_decade,
    slope_table,
    tokens_per_param_band,
)

__all__ = [
    "COMPUTE_GRID",
    "INTERVAL_METHODS",
    "METHODS",
    "Quantity",
    "Replicates",
    "SlopeError",
    "draw_laws",
    "exponent_quantities",
    "interval_table",
    "law_covariance",
    "loss_quantities",
    "parameter_quantities",
    "parameter_table",
    "prescription_quantities",
    "slope_monte_carlo_error",
    "slope_per_decade",
    "slope_table",
    "tokens_per_param_band",
]
