from chinchilla_jax.plots.atlas_figure import atlas_breakdown as atlas_breakdown
from chinchilla_jax.plots.atlas_figure import atlas_claims as atlas_claims
from chinchilla_jax.plots.atlas_figure import atlas_ratios as atlas_ratios
from chinchilla_jax.plots.atlas_figure import atlas_slopes as atlas_slopes
from chinchilla_jax.plots.atlas_figure import atlas_table as atlas_table
from chinchilla_jax.plots.backtest_figure import backtest as backtest
from chinchilla_jax.plots.bootstrap_figure import OptimumCurve as OptimumCurve
from chinchilla_jax.plots.bootstrap_figure import bootstrap as bootstrap
from chinchilla_jax.plots.bootstrap_figure import bootstrap_table as bootstrap_table
from chinchilla_jax.plots.breakdown_figure import breakdown as breakdown
from chinchilla_jax.plots.breakdown_figure import breakdown_table as breakdown_table
from chinchilla_jax.plots.comparison_figure import comparison as comparison
from chinchilla_jax.plots.coverage_figure import coverage as coverage
from chinchilla_jax.plots.coverage_figure import coverage_table as coverage_table
from chinchilla_jax.plots.design_costs_figure import design_costs as design_costs
from chinchilla_jax.plots.fit_figure import FitCurves as FitCurves
from chinchilla_jax.plots.fit_figure import fit as fit
from chinchilla_jax.plots.fit_figure import fit_table as fit_table
from chinchilla_jax.plots.flop_ratio_figure import context_cost_table as context_cost_table
from chinchilla_jax.plots.flop_ratio_figure import flop_ratio as flop_ratio
from chinchilla_jax.plots.influence_figure import influence as influence
from chinchilla_jax.plots.information_map_figure import information_map as information_map
from chinchilla_jax.plots.isoflop_figure import isoflop as isoflop
from chinchilla_jax.plots.isoflop_figure import isoflop_table as isoflop_table
from chinchilla_jax.plots.isoflop_figure import parabola_bias as parabola_bias
from chinchilla_jax.plots.isoflop_figure import parabola_bias_table as parabola_bias_table
from chinchilla_jax.plots.joint_map_figure import joint_map as joint_map
from chinchilla_jax.plots.loss_surface_figure import LossSurface as LossSurface
from chinchilla_jax.plots.loss_surface_figure import loss_surface as loss_surface
from chinchilla_jax.plots.loss_surface_figure import loss_surface_table as loss_surface_table
from chinchilla_jax.plots.model_ratios_figure import model_ratios as model_ratios
from chinchilla_jax.plots.next_runs_figure import next_runs as next_runs
from chinchilla_jax.plots.objectives_figure import objectives as objectives
from chinchilla_jax.plots.objectives_figure import objectives_table as objectives_table
from chinchilla_jax.plots.parameters_by_counting_figure import (
    parameters_by_counting as parameters_by_counting,
)
from chinchilla_jax.plots.parameters_by_counting_figure import (
    parameters_by_counting_table as parameters_by_counting_table,
)
from chinchilla_jax.plots.parameters_by_counting_figure import published_parameters as published_parameters
from chinchilla_jax.plots.parameters_by_family_figure import FamilyParameters as FamilyParameters
from chinchilla_jax.plots.parameters_by_family_figure import parameters_by_family as parameters_by_family
from chinchilla_jax.plots.parameters_by_family_figure import (
    parameters_by_family_table as parameters_by_family_table,
)
from chinchilla_jax.plots.perturbation_schematics import perturbation_table as perturbation_table
from chinchilla_jax.plots.perturbation_schematics import perturbations as perturbations
from chinchilla_jax.plots.plan_figure import plan as plan
from chinchilla_jax.plots.plan_figure import plan_table as plan_table
from chinchilla_jax.plots.prediction_figure import prediction as prediction
from chinchilla_jax.plots.ratio_maps_figure import ratio_maps as ratio_maps
from chinchilla_jax.plots.relative_error_figure import relative_error as relative_error
from chinchilla_jax.plots.relative_error_figure import relative_error_table as relative_error_table
from chinchilla_jax.plots.residual_figure import residuals as residuals
from chinchilla_jax.plots.residual_figure import residuals_table as residuals_table
from chinchilla_jax.plots.save import save_figures as save_figures
from chinchilla_jax.plots.simulation_errors_figure import simulation_errors as simulation_errors
from chinchilla_jax.plots.specification_curve_figure import specification_curve as specification_curve
from chinchilla_jax.plots.specification_curve_tables import SpecificationCurve as SpecificationCurve
from chinchilla_jax.plots.specification_curve_tables import (
    specification_curve_table as specification_curve_table,
)
from chinchilla_jax.plots.study import save_study_figures as save_study_figures
from chinchilla_jax.plots.study import study_figures as study_figures
from chinchilla_jax.plots.styles import style as style
from chinchilla_jax.plots.tables import StudyTables as StudyTables
from chinchilla_jax.plots.tokens_per_param_by_counting_figure import (
    tokens_per_param_by_counting as tokens_per_param_by_counting,
)
from chinchilla_jax.plots.tokens_per_param_by_counting_figure import (
    tokens_per_param_by_counting_table as tokens_per_param_by_counting_table,
)
from chinchilla_jax.plots.tokens_per_param_by_family_figure import FamilyBands as FamilyBands
from chinchilla_jax.plots.tokens_per_param_by_family_figure import (
    tokens_per_param_by_family as tokens_per_param_by_family,
)
from chinchilla_jax.plots.tokens_per_param_by_family_figure import (
    tokens_per_param_by_family_table as tokens_per_param_by_family_table,
)
from chinchilla_jax.plots.wald_figure import wald as wald
from chinchilla_jax.plots.wald_figure import wald_table as wald_table
