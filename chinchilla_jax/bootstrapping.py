"""Many resamples of one data set, each really fitted and each with a status.

Notation
    R            number of resamples
    laws         fitted laws, fields (R,)
    converged    (R,) lanes with a certificate; only these enter a standard error or an interval
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.errors import UsageError, short
from chinchilla_jax.fitting import FitResult, fit
from chinchilla_jax.law import ScalingLaw
from chinchilla_jax.objective import Huber, HuberScale, Objective
from chinchilla_jax.resampling import check_seed, resample_weights
from chinchilla_jax.solvers import STATUS_NAMES, Solution, SolverOptions, Status, get_solver
from chinchilla_jax.solvers.batch import solve_best_of
from chinchilla_jax.solvers.design import Design
from chinchilla_jax.starts import grid_starts, scout

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.datasets import Runs


_POINT_STARTS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class BootstrapResult:
    """Fits of R resamples and the point fit of the same estimator.

    Attributes:
        laws: fitted laws, fields (R,); NaN where INVALID. E is 0 where the best law has no floor.
        objective_value: (R,).
        decrement: (R,) certificate of each lane.
        status: (R,) status names; see `Status` for the sentences.
        steps: (R,) solver steps.
        resample_ids: (R,).
        point: point fit on all runs.
    """

    laws: ScalingLaw
    objective_value: NDArray[np.float64]
    decrement: NDArray[np.float64]
    status: NDArray[np.str_]
    steps: NDArray[np.int32]
    resample_ids: NDArray[np.int64]
    point: FitResult

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Lanes with a certificate, (R,)."""
        return self.status == Status.CONVERGED.name

    def counts(self) -> dict[str, int]:
        """Number of lanes per status name."""
        return {name: int(np.sum(self.status == name)) for name in STATUS_NAMES}

    def to_frame(self) -> pd.DataFrame:
        """One row per resample: resample, E, A, B, alpha, beta, objective_value, decrement, status, steps."""
        import pandas as pd

        return pd.DataFrame(
            {
                "resample": self.resample_ids,
                **{name: np.asarray(getattr(self.laws, name)) for name in ("E", "A", "B", "alpha", "beta")},
                "objective_value": self.objective_value,
                "decrement": self.decrement,
                "status": self.status,
                "steps": self.steps,
            }
        )

    def standard_errors(self) -> pd.DataFrame:
        """Rows: the five parameters. Columns: parameter, estimate, standard_error, n_converged, n_failed."""
        table = self.interval(level=0.8, method="percentile", _all_columns=True)
        return table[["parameter", "estimate", "standard_error", "n_converged", "n_failed"]]

    def interval(
        self, level: float = 0.8, method: str = "percentile", *, _all_columns: bool = False
    ) -> pd.DataFrame:
        """Interval of each parameter.

        Args:
            level: probability inside, in (0, 1).
            method: "percentile" or "gaussian", see `analysis.intervals`.

        Returns:
            Rows: the five parameters. Columns: parameter, estimate, low, high, level, method, n_converged,
            n_failed.
        """
        from chinchilla_jax.analysis.intervals import parameter_table

        self._check_method(method)
        table = parameter_table(self.laws, self.converged, self.point.law, level, method)
        return table if _all_columns else table.drop(columns="standard_error")

    def tokens_per_param(
        self, flops: ArrayLike, level: float = 0.8, method: str = "percentile", *, seed: int = 0
    ) -> pd.DataFrame:
        """Compute-optimal tokens per parameter, by budget: flops, low, median, high, level, method."""
        from chinchilla_jax.analysis.tokens_per_param import tokens_per_param_band

        self._check_method(method)
        return tokens_per_param_band(
            self.laws, flops, level, method, self.point.law, seed=seed, converged=self.converged
        )

    def _check_method(self, method: str) -> None:
        if method == "besiroglu2024":
            raise UsageError(
                "method 'besiroglu2024' mixes two estimators (a HuberScale point with a Huber bootstrap); a "
                "bootstrap has one: use 'percentile' or 'gaussian', or run_study, which fits both"
            )


def bootstrap(
    runs: Runs,
    *,
    resamples: int = 4000,
    seed: int = 0,
    objective: Objective = Huber(),  # noqa: B008 - frozen, shared on purpose
    solver: str = "newton",
    point: FitResult | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> BootstrapResult:
    """Fit `resamples` bootstrap resamples of `runs` (pairs, Efron 1979), warm-started from known optima.

    Args:
        runs: the runs.
        resamples: number of resamples R, at least 2.
        seed: whole number; the same seed gives the same resamples, whatever R.
        objective: `Huber` or `HuberScale`; the point fit is of the same one.
        solver: "newton", "optax-lbfgs", "jaxopt-lbfgs" or "jaxopt-bfgs".
        point: a point fit to reuse; if absent, fitted from 64 starts spread over the published grid.
        options: how hard the solver tries.
        progress: called with the number of fits just finished.

    Returns:
        The fits. Lanes that failed are in it, named by `status`, and left out of every summary.

    Raises:
        UsageError: a bad number of resamples, seed, or solver, or a point fit of another estimator.
    """
    if isinstance(resamples, bool) or not isinstance(resamples, (int, np.integer)) or resamples < 2:
        raise UsageError(f"resamples is {short(resamples)}, expected a whole number, at least 2")
    if point is not None and point.objective != objective:
        raise UsageError(
            f"the point fit minimises {point.objective}, the bootstrap {objective}; use one estimator"
        )
    ids = np.arange(int(resamples))
    return bootstrap_condition(
        runs,
        weights=resample_weights(len(runs), ids, check_seed(seed)),
        point=point or fit(runs, objective=objective, solver=solver, starts=_POINT_STARTS),
        objective=objective,
        solver=solver,
        options=options,
        on_progress=progress,
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
    get_solver(solver, objective)  # a wrong name fails before any work
    options = options or SolverOptions()
    design = Design.from_runs(runs)
    if design.valid:
        # A point fit that was not certified has no optima to offer; the grid then stands in for them.
        known = point.starts.minima if len(point.starts.minima) else design.theta_from_logs(grid_starts(16))
        # The recipe only proposes starts: the batched solver finds it whatever solver fits the resamples.
        recipe = scout(design, known, objective=_seeking(objective), options=options)
        starts = recipe.candidates(design, weights, objective)
        if solver == "newton" and isinstance(objective, Huber):
            solution = solve_best_of(
                design, weights, starts, objective=objective, options=options, on_progress=on_progress
            )
        else:
            solve = get_solver(solver, objective)
            solution = solve(
                design, weights, starts[0], objective=objective, options=options, on_progress=on_progress
            )
    else:
        solution = Solution.invalid(len(weights))
        if on_progress is not None:
            on_progress(len(weights))
    return BootstrapResult(
        laws=design.law(solution.theta),
        objective_value=solution.objective_value,
        decrement=solution.decrement,
        status=np.array(STATUS_NAMES)[solution.status],
        steps=solution.steps,
        resample_ids=np.arange(len(weights)) if resample_ids is None else resample_ids,
        point=point,
    )


def _seeking(objective: Objective) -> Huber:
    """The smooth objective whose optima propose the starts."""
    return Huber() if isinstance(objective, HuberScale) else objective
