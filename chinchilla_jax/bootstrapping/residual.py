"""The residual bootstrap (Efron 1979): resamples whose losses, and not weights, are drawn.

The batched solver takes one table of losses for all its lanes, so each resample is a call of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.solvers import Solution, SolverOptions, get_solver

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.schemes import Residual
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.point_fit import FitResult
    from chinchilla_jax.laws.objectives import Objective


def residual_bootstrap(
    runs: Runs,
    scheme: Residual,
    ids: NDArray[np.int64],
    seed: int,
    *,
    point: FitResult,
    objective: Objective,
    solver: str,
    options: SolverOptions | None,
    on_progress: Callable[[int], None] | None,
) -> BootstrapResult:
    """Each resample has losses of its own: a design and a call of the solver each."""
    solve = get_solver(solver, objective)
    options = options or SolverOptions()
    design = Design.from_runs(runs)
    minima = point.starts.minima
    starts = minima if len(minima) else design.theta_from_logs(grid_starts(16))
    losses = scheme.losses(runs, point.residuals, ids, seed, delta=objective.delta)
    everyone = np.ones((1, len(runs)), np.uint8)
    found: list[Solution] = []
    for loss in losses:
        own = dataclasses.replace(design, log_loss=np.log(loss))
        lanes = solve(own, everyone, starts, objective=objective, options=options)
        value = np.where(np.isfinite(lanes.objective_value), lanes.objective_value, np.inf)
        found.append(lanes[np.array([np.argmin(value)])])
        if on_progress is not None:
            on_progress(1)
    fields = {
        field.name: np.concatenate([getattr(one, field.name) for one in found])
        for field in dataclasses.fields(Solution)
    }
    return BootstrapResult(
        laws=design.law(fields["theta"]),
        objective_value=fields["objective_value"],
        decrement=fields["decrement"],
        status_codes=fields["status"],
        steps=fields["steps"],
        resample_ids=ids,
        point=point,
        scheme=scheme,
    )
