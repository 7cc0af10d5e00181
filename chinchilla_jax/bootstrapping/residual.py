"""Resamples whose losses, and not weights, are drawn: the residual and the wild bootstrap.

Notation
    n, R       runs, resamples
    m          resamples of a block

The batched solver takes one table of losses for all its lanes. A block of resamples is therefore one table of
m n runs, in which each lane has weight on the n runs of its own resample and on no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.left_out import left_out_residuals
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.fitting.optima_pool import best_for_losses
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.solvers import Solution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws.design import Design

_BLOCK_RUNS, _MOST_LANES = 1536, 32  # runs in the table of a block, and resamples


def residual_bootstrap(
    fitter: ResampleFitter,
    scheme: DrawnErrors,
    ids: NDArray[np.integer],
    seed: int,
    *,
    point: FitResult,
    boundary: str,
    on_progress: Callable[[int], None] | None,
) -> BootstrapResult:
    """Each resample has losses of its own; lanes are solved block by block."""
    problem = fitter.problem
    design, objective = problem.design, problem.objective
    n_runs = len(design)
    if isinstance(objective, HuberScale):  # whose zone is in units of the fitted scale
        rows = np.ones(n_runs) if fitter.own is None else fitter.own
        delta = objective.delta * float(objective.scale(point.residuals, rows))
    else:
        delta = objective.down / problem.loss_unit  # relative to the loss, as the residuals are
    left_out = left_out_residuals(fitter, point)
    predicted = design.log_loss + point.residuals
    length = min(max(_BLOCK_RUNS // n_runs, 1), _MOST_LANES)
    found: list[Solution] = []
    for first in range(0, len(ids), length):
        # Blocks are full, the last one too: what a lane shares a table with does not depend on how many
        # resamples are asked for.
        block = np.arange(length) + ids[first]
        errors = scheme.log_errors(
            point.residuals, left_out, block, seed, delta=delta, size=problem.law.size, weights=fitter.own
        )
        wanted = min(length, len(ids) - first)
        found.append(_fit_block(fitter, predicted + errors)[:wanted])
        if on_progress is not None:
            on_progress(wanted)
    return BootstrapResult(
        solution=Solution.concatenated(found),
        design=design,
        resample_ids=ids,
        point=point,
        scheme=scheme,
        boundary=boundary,
    )


def _fit_block(fitter: ResampleFitter, log_losses: NDArray[np.float64]) -> Solution:
    """Fits of m resamples with these log losses (m, n)."""
    problem, (lanes, count) = fitter.problem, log_losses.shape
    own = np.ones(count) if fitter.own is None else fitter.own
    starts: list[NDArray[np.float64]] = []
    if fitter.recipe is not None:
        recipe = fitter.recipe
        ranks = max(recipe.ranks, recipe.most)
        starts = list(best_for_losses(problem, own, log_losses, recipe.pool, ranks))
    table = dataclasses.replace(problem, design=_tall(problem.design, log_losses))
    block = dataclasses.replace(
        fitter, problem=table, own=None if fitter.own is None else np.tile(own, lanes)
    )
    return block.fit(block.weighted(np.repeat(np.eye(lanes, dtype=np.uint8), count, axis=1)), starts)


def _tall(design: Design, log_losses: NDArray[np.float64]) -> Design:
    """The runs once for each row of log losses (m, n), in the same standardised units; m n runs."""
    lanes = len(log_losses)
    return dataclasses.replace(
        design,
        log_params=np.tile(design.log_params, lanes),
        log_tokens=np.tile(design.log_tokens, lanes),
        further=tuple(np.tile(values, lanes) for values in design.further),
        log_loss=log_losses.ravel(),
    )
