"""Intervals from arrays of fitted laws: arithmetic alone, whatever fitted them. No JAX here."""

from chinchilla_jax.intervals.methods import BOOTSTRAP_METHODS, METHODS, STUDY_METHODS
from chinchilla_jax.intervals.normal import draw_laws, law_covariance
from chinchilla_jax.intervals.parameters import IntervalRequest, interval_rows, parameter_table
from chinchilla_jax.intervals.quantities import (
    Quantity,
    exponent_quantities,
    loss_quantities,
    parameter_quantities,
    prescription_quantities,
)
from chinchilla_jax.intervals.replicates import Replicates
from chinchilla_jax.intervals.slopes import (
    SlopeError,
    slope_monte_carlo_error,
    slope_per_decade,
    slope_table,
)
from chinchilla_jax.intervals.table import interval_table
from chinchilla_jax.intervals.tokens_per_param import COMPUTE_GRID, interval_bands, tokens_per_param_band

__all__ = [
    "BOOTSTRAP_METHODS",
    "COMPUTE_GRID",
    "METHODS",
    "STUDY_METHODS",
    "IntervalRequest",
    "Quantity",
    "Replicates",
    "SlopeError",
    "draw_laws",
    "exponent_quantities",
    "interval_bands",
    "interval_rows",
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
