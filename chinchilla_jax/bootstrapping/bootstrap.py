"""Many resamples of one data set, each really fitted and each with a status.

Notation
    R            number of resamples
    laws         fitted laws, fields (R,)
    converged    (R,) lanes with a certificate; only these enter a standard error or an interval
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.bootstrapping.residual import residual_bootstrap
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.bootstrapping.schemes import (
    Bayesian,
    Cluster,
    Pairs,
    Residual,
    Scheme,
    Wild,
    leave_one_out,
    read_scheme,
)
from chinchilla_jax.bootstrapping.scouting import Recipe, scout
from chinchilla_jax.bootstrapping.weights import check_seed, inner_weights
from chinchilla_jax.fitting.point_fit import FitResult, fit, require_kinds
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import Huber, HuberScale, Objective
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.solvers import Solution, SolverOptions, get_solver
from chinchilla_jax.solvers.batch import solve_best_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs

__all__ = ["BootstrapResult", "bootstrap", "bootstrap_condition"]

# Starts of a point fit that is not given. Nearly all reach the same optimum, see experiments/besiroglu2024.
_POINT_STARTS = 64
_BLOCK_BYTES = 2**26  # of float64 weights, in memory at a time
_LEAST_BLOCK, _MOST_BLOCK = 64, 16384  # resamples


def bootstrap(
    runs: Runs,
    *,
    resamples: int = 4000,
    seed: int = 0,
    objective: Objective = Huber(),  # noqa: B008 - frozen, shared on purpose
    solver: str = "newton",
    scheme: Scheme | str = "pairs",
    jackknife: bool = False,
    inner: int = 0,
    point: FitResult | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> BootstrapResult:
    """Fit `resamples` bootstrap resamples of `runs`, warm-started from known optima.

    Args:
        runs: the runs.
        resamples: number of resamples R, at least 2; a jackknife has as many as there are runs.
        seed: whole number; the same seed gives the same resamples, whatever R.
        objective: `Huber` or `HuberScale`; the point fit is of the same one.
        solver: "newton", "optax-lbfgs", "jaxopt-lbfgs" or "jaxopt-bfgs".
        scheme: how to resample, see `schemes.py`: a scheme or its name, "pairs" (Efron 1979), "cluster",
            "residual", "wild", "bayesian", "m_out_of_n", "jackknife" or "delete_d".
        jackknife: also fit the runs without each one (or without each cluster), for BCa intervals.
        inner: also fit this many resamples of each resample, for studentised intervals; 50 are usual.
        point: a point fit to reuse; if absent, fitted from 64 starts spread over the published grid.
        options: how hard the solver tries.
        progress: called with the number of fits just finished.

    Returns:
        The fits. Lanes that failed are in it, named by `status`, and left out of every summary.

    Raises:
        UsageError: a bad number of resamples, seed, or solver, or a point fit of another estimator.
    """
    require_kinds("bootstrap", runs, objective)
    if isinstance(resamples, bool) or not isinstance(resamples, (int, np.integer)) or resamples < 2:
        raise UsageError(f"resamples is {short(resamples)}, expected a whole number, at least 2")
    if point is not None and point.objective != objective:
        raise UsageError(
            f"the point fit minimises {point.objective}, the bootstrap {objective}; use one estimator"
        )
    seed = check_seed(seed)
    chosen = read_scheme(scheme)
    left_out = _left_out(runs, chosen) if jackknife else np.empty((0, len(runs)), np.uint8)
    if isinstance(inner, bool) or not isinstance(inner, (int, np.integer)) or inner < 0 or inner == 1:
        raise UsageError(f"inner is {short(inner)}, expected 0, or 2 or more resamples of each resample")
    if inner and not isinstance(chosen, Pairs):
        raise UsageError(
            f"scheme {chosen.name!r} has no resamples of resamples; use scheme='pairs', or inner=0"
        )
    ids = np.arange(chosen.count(runs, int(resamples)))
    settings: dict[str, Any] = {
        "objective": objective,
        "solver": solver,
        "options": options,
        "on_progress": progress,
        "point": point or fit(runs, objective=objective, solver=solver, starts=_POINT_STARTS),
    }
    if isinstance(chosen, Residual):
        return residual_bootstrap(runs, chosen, ids, seed, **settings)
    fitted = chosen.doubled(runs, settings["point"].residuals) if isinstance(chosen, Wild) else runs
    count, wanted = len(ids), len(ids) + len(left_out)

    def weights_of(lanes: slice) -> NDArray[Any]:
        """Of the resamples, then the runs without each one, then the resamples of each resample."""
        first, last = lanes.start, lanes.stop
        parts = [chosen.weights(runs, ids[first : min(last, count)], seed)] if first < count else []
        parts.append(left_out[max(first - count, 0) : max(last - count, 0)])
        if last > wanted:
            low, high = max(first - wanted, 0), last - wanted
            rows = ids[low // inner : -(-high // inner)]
            nested = inner_weights(chosen.weights(runs, rows, seed).astype(np.uint8), rows, inner, seed)
            parts.append(nested.reshape(-1, len(runs))[low - rows[0] * inner : high - rows[0] * inner])
        kept = [part for part in parts if len(part)]
        return kept[0] if len(kept) == 1 else np.concatenate(kept)

    every = _bootstrap(fitted, weights_of, np.arange(wanted + count * inner), **settings)
    return _split(every, ids, len(left_out), inner, chosen)


def _left_out(runs: Runs, scheme: Scheme) -> NDArray[np.uint8]:
    """Weights (m, n) without each run, or each cluster, in turn."""
    if isinstance(scheme, Cluster):
        return scheme.leave_one_out(runs)
    if isinstance(scheme, Pairs | Bayesian):
        return leave_one_out(len(runs))
    raise UsageError(
        f"scheme {scheme.name!r} has no jackknife beside it; use 'pairs', 'bayesian' or 'cluster'"
    )


def _split(
    every: BootstrapResult, ids: NDArray[np.int64], n_left_out: int, inner: int, scheme: Scheme
) -> BootstrapResult:
    """The resamples' fits as the result, the other fits beside them."""
    count = len(ids)
    if count == len(every.steps):
        return dataclasses.replace(every, scheme=scheme)
    fields = {
        name: getattr(every, name)[:count]
        for name in ("objective_value", "decrement", "status_codes", "steps")
    }
    sound = {name: np.where(every.converged, getattr(every.laws, name), np.nan) for name in PARAMETERS}

    def laws(first: int, shape: tuple[int, ...]) -> ScalingLaw:
        last = first + int(np.prod(shape))
        return ScalingLaw(**{name: values[first:last].reshape(shape) for name, values in sound.items()})

    return BootstrapResult(
        laws=every.laws[:count],
        resample_ids=ids,
        point=every.point,
        scheme=scheme,
        jackknife=laws(count, (n_left_out,)) if n_left_out else None,
        inner=laws(count + n_left_out, (count, inner)) if inner else None,
        **fields,
    )


def bootstrap_condition(
    runs: Runs,
    *,
    weights: NDArray[Any],
    point: FitResult,
    objective: Objective,
    solver: str = "newton",
    resample_ids: NDArray[np.int64] | None = None,
    options: SolverOptions | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> BootstrapResult:
    """Fit given resamples of one data set.

    Args:
        runs: the runs, n of them.
        weights: (R, n) resample weights.
        point: point fit on all runs, whose optima seed the pool of starts.
        objective: what is minimised.
        solver: solver name.
        resample_ids: (R,) for the result; 0..R-1 by default.
        options: how hard the solver tries.
        on_progress: called with the number of fits just finished.
    """
    return _bootstrap(
        runs,
        lambda lanes: weights[lanes],
        np.arange(len(weights)) if resample_ids is None else resample_ids,
        point=point,
        objective=objective,
        solver=solver,
        options=options,
        on_progress=on_progress,
    )


def _bootstrap(
    runs: Runs,
    weights_of: Callable[[slice], NDArray[Any]],
    ids: NDArray[np.int64],
    *,
    point: FitResult,
    objective: Objective,
    solver: str,
    options: SolverOptions | None,
    on_progress: Callable[[int], None] | None,
) -> BootstrapResult:
    """Fit resamples block by block: memory for what is kept of each, and for the weights of one block."""
    get_solver(solver, objective)  # a wrong name fails before any work
    options = options or SolverOptions()
    design = Design.from_runs(runs)
    blocks = _BlockSolver.scouted(design, point, objective, solver, options)
    count = len(ids)
    parameters = {name: np.empty(count) for name in PARAMETERS}
    value, decrement = np.empty(count), np.empty(count)
    codes, steps = np.empty(count, np.int8), np.empty(count, np.int32)
    block = min(max(_BLOCK_BYTES // (8 * len(runs)), _LEAST_BLOCK), _MOST_BLOCK)
    parts = [slice(first, min(first + block, count)) for first in range(0, max(count, 1), block)]

    def prepared(lanes: slice) -> tuple[NDArray[Any], list[NDArray[np.float64]]]:
        weights = weights_of(lanes)
        return weights, blocks.starts(weights)

    # The next block is drawn while one is fitted, which would else wait for a single thread.
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(prepared, parts[0])
        for lanes, following in itertools.zip_longest(parts, parts[1:]):
            weights, starts = upcoming.result()
            if following is not None:
                upcoming = ahead.submit(prepared, following)
            solution = blocks.fit(weights, starts, on_progress)
            found = design.law(solution.theta)
            for name in PARAMETERS:
                parameters[name][lanes] = getattr(found, name)
            value[lanes], decrement[lanes] = solution.objective_value, solution.decrement
            codes[lanes], steps[lanes] = solution.status, solution.steps
    for values in parameters.values():
        values.setflags(write=False)  # so that the laws need not copy them
    return BootstrapResult(
        laws=ScalingLaw(**parameters),
        objective_value=value,
        decrement=decrement,
        status_codes=codes,
        steps=steps,
        resample_ids=ids,
        point=point,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _BlockSolver:
    """What all blocks of resamples of one data set share. Its methods may be called from any thread.

    Attributes:
        design: the runs.
        objective: what is minimised.
        solver: its name.
        options: how hard it tries.
        recipe: how to start, from the scouting; None where there is nothing to fit.
    """

    design: Design
    objective: Objective
    solver: str
    options: SolverOptions
    recipe: Recipe | None

    @classmethod
    def scouted(
        cls, design: Design, point: FitResult, objective: Objective, solver: str, options: SolverOptions
    ) -> _BlockSolver:
        """Scout for starts, from the optima of the point fit."""
        recipe = None
        if design.valid:
            # A point fit that was not certified has no optima to offer; the grid then stands in for them.
            minima = point.starts.minima
            known = minima if len(minima) else design.theta_from_logs(grid_starts(16))
            # The recipe only proposes starts: the batched solver finds it whatever solver fits the resamples.
            recipe = scout(design, known, objective=_seeking(objective), options=options)
        return cls(design=design, objective=objective, solver=solver, options=options, recipe=recipe)

    def starts(self, weights: NDArray[Any]) -> list[NDArray[np.float64]]:
        """Starts of a block of weights (R, n), best guess first; each (R, 5)."""
        return [] if self.recipe is None else self.recipe.candidates(self.design, weights, self.objective)

    def fit(
        self,
        weights: NDArray[Any],
        starts: list[NDArray[np.float64]],
        on_progress: Callable[[int], None] | None = None,
    ) -> Solution:
        """Fit a block of weights (R, n) from these starts."""
        if self.recipe is None:
            if on_progress is not None:
                on_progress(len(weights))
            return Solution.invalid(len(weights))
        objective, options = self.objective, self.options
        if self.solver == "newton" and isinstance(objective, Huber):
            return solve_best_of(
                self.design, weights, starts, objective=objective, options=options, on_progress=on_progress
            )
        solve = get_solver(self.solver, objective)
        return solve(
            self.design, weights, starts[0], objective=objective, options=options, on_progress=on_progress
        )


def _seeking(objective: Objective) -> Huber:
    """The smooth objective whose optima propose the starts."""
    return Huber() if isinstance(objective, HuberScale) else objective


def resample_fitter(
    runs: Runs, *, point: FitResult, objective: Objective, solver: str, options: SolverOptions
) -> Callable[[NDArray[Any], NDArray[np.int64]], BootstrapResult]:
    """A function of weights (R, n) and resample ids (R,) that fits these resamples of one data set.

    What all resamples share, the scouting for starts, is done once, here; the function may be called from
    several threads. The arguments are those of `bootstrap_condition`.
    """
    get_solver(solver, objective)
    design = Design.from_runs(runs)
    blocks = _BlockSolver.scouted(design, point, objective, solver, options)

    def fitted(weights: NDArray[Any], ids: NDArray[np.int64]) -> BootstrapResult:
        solution = blocks.fit(weights, blocks.starts(weights))
        return BootstrapResult(
            laws=design.law(solution.theta),
            objective_value=solution.objective_value,
            decrement=solution.decrement,
            status_codes=solution.status,
            steps=solution.steps,
            resample_ids=ids,
            point=point,
        )

    return fitted
