"""Figures about what to train: for each, a function that makes a small table and one that draws it."""

from chinchilla_jax.plots.planning.backtest import plot_backtest
from chinchilla_jax.plots.planning.design_costs import plot_design_costs
from chinchilla_jax.plots.planning.flop_ratio import context_cost_table, plot_flop_ratio
from chinchilla_jax.plots.planning.information_map import plot_information_map
from chinchilla_jax.plots.planning.isoflop_minima import (
    isoflop_bands_table,
    parabola_bias_table,
    plot_isoflop,
    plot_parabola_bias,
)
from chinchilla_jax.plots.planning.loss_contours import LossContours, loss_contours_table, plot_loss_contours
from chinchilla_jax.plots.planning.model_ratios import plot_model_ratios
from chinchilla_jax.plots.planning.optimum_by_compute import optimum_by_compute_table, plot_optimum_by_compute
from chinchilla_jax.plots.planning.prediction import plot_prediction
from chinchilla_jax.plots.planning.ratio_maps import plot_ratio_maps
from chinchilla_jax.plots.planning.recipes import plot_recipes
from chinchilla_jax.plots.planning.simulation_errors import plot_simulation_errors

__all__ = [
    "LossContours",
    "context_cost_table",
    "isoflop_bands_table",
    "loss_contours_table",
    "optimum_by_compute_table",
    "parabola_bias_table",
    "plot_backtest",
    "plot_design_costs",
    "plot_flop_ratio",
    "plot_information_map",
    "plot_isoflop",
    "plot_loss_contours",
    "plot_model_ratios",
    "plot_optimum_by_compute",
    "plot_parabola_bias",
    "plot_prediction",
    "plot_ratio_maps",
    "plot_recipes",
    "plot_simulation_errors",
]
