"""Figures of a study: for each, a function that makes a small table and one that draws it.

Drawing functions take `ax` (one Axes, or one per panel), return the Figure, compute no statistics and change
no matplotlib settings. `save_study_figures` writes all of them.
"""

from chinchilla_jax.plots.fit_figure import FitCurves, fit, fit_table
from chinchilla_jax.plots.influence import plot_influence
from chinchilla_jax.plots.joint_map import plot_joint_map
from chinchilla_jax.plots.parameters_by_counting import (
    parameters_by_counting_table,
    plot_parameters_by_counting,
    published_parameters,
)
from chinchilla_jax.plots.parameters_by_family import (
    FamilyParameters,
    parameters_by_family_table,
    plot_parameters_by_family,
)
from chinchilla_jax.plots.perturbation_schematics import perturbation_table, plot_perturbations
from chinchilla_jax.plots.relative_error import plot_relative_error, relative_error_table
from chinchilla_jax.plots.residual_figure import residuals, residuals_table
from chinchilla_jax.plots.save import save_figures
from chinchilla_jax.plots.study import save_study_figures, study_figures
from chinchilla_jax.plots.styles import style
from chinchilla_jax.plots.tables import StudyTables
from chinchilla_jax.plots.tokens_per_param_by_counting import (
    plot_tokens_per_param_by_counting,
    tokens_per_param_by_counting_table,
)
from chinchilla_jax.plots.tokens_per_param_by_family import (
    FamilyBands,
    plot_tokens_per_param_by_family,
    tokens_per_param_by_family_table,
)

__all__ = [
    "FamilyBands",
    "FamilyParameters",
    "FitCurves",
    "StudyTables",
    "fit",
    "fit_table",
    "parameters_by_counting_table",
    "parameters_by_family_table",
    "perturbation_table",
    "plot_influence",
    "plot_joint_map",
    "plot_parameters_by_counting",
    "plot_parameters_by_family",
    "plot_perturbations",
    "plot_relative_error",
    "plot_tokens_per_param_by_counting",
    "plot_tokens_per_param_by_family",
    "published_parameters",
    "relative_error_table",
    "residuals",
    "residuals_table",
    "save_figures",
    "save_study_figures",
    "study_figures",
    "style",
    "tokens_per_param_by_counting_table",
    "tokens_per_param_by_family_table",
]
