"""The residual bootstrap (Efron 1979): resamples whose losses, and not weights, are drawn.

The batched solver takes one table of losses for all its lanes, so each resample is a call of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.bootstrapping.scouting import known_optima
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.schemes import Residual
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult


def residual_bootstrap(
    problem: Problem,
    runs: Runs,
    scheme: Residual,
    ids: NDArray[np.int64],
    seed: int,
    *,
    own: NDArray[np.float64] | None,
    point: FitResult,
    solver: str,
    options: SolverOptions | None,
    boundary: str,
    on_progress: Callable[[int], None] | None,
) -> BootstrapResult:
    """Each resample has losses of its own: a design and a call of the solver each."""
    options = options or SolverOptions()
    design, objective = problem.design, problem.objective
    starts = known_optima(problem, point.starts.minima)
    rows = np.ones((1, len(runs)), np.uint8) if own is None else own[None]
    if isinstance(objective, HuberScale):  # whose zone is in units of the fitted scale
        delta = objective.delta * float(objective.scale(point.residuals, rows[0]))
    else:
        delta = objective.down / problem.loss_unit  # relative to the loss, as the residuals are
    losses = scheme.losses(runs, point.residuals, ids, seed, delta=delta)
    found: list[Solution] = []
    for loss in losses:
        drawn = dataclasses.replace(problem, design=dataclasses.replace(design, log_loss=np.log(loss)))
        lanes = solve(drawn, rows, starts, solver=solver, options=options)
        found.append(lanes[[lanes.best_lane()]])
        if on_progress is not None:
            on_progress(1)
    return BootstrapResult(
        solution=Solution.concatenated(found),
        design=design,
        resample_ids=ids,
        point=point,
        scheme=scheme,
        boundary=boundary,
    )
