"""The unit of work of a study: one condition, from runs and weights to fits and their summary. Pure.

| code      | symbol | shape  | unit                                            |
|-----------|--------|--------|-------------------------------------------------|
| runs      | N, D, L | (n,)  | counts, counts, nats per token                  |
| weights   | w      | (R, n) | how often a run is in a resample, shared by all |
| laws      |        | (R,)   | natural units                                   |
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.law import PARAMETERS
from chinchilla_jax.objective import Huber, HuberScale
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.study.plan import Condition
from chinchilla_jax.study.spec import StudySpec

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting import FitResult


# Starts of each point fit, spread over the published grid. On 27 conditions of the paper's study, among them
# the noisiest, 16 found every certified optimum that 128 found; 32 leave a margin at little cost.
_POINT_STARTS = 32
_POINT_STEPS = 60


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConditionResult:
    """Everything that a study keeps of one condition.

    Attributes:
        condition: which.
        n_runs: runs that were fitted.
        points: rows of the point table, one per objective.
        fits: columns of the table of fits (but `condition`), each of shape (R,).
        params: rows of the params table, without `condition`.
        tokens_per_param: rows of the tokens-per-parameter table, without `condition`.
        notes: sentences about what went wrong, for study.json.
        seconds: time spent by stage: "point", "bootstrap", "summary".
    """

    condition: Condition
    n_runs: int
    points: tuple[Mapping[str, Any], ...]
    fits: Mapping[str, NDArray[Any]]
    params: pd.DataFrame
    tokens_per_param: pd.DataFrame
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


def run_condition(
    spec: StudySpec,
    condition: Condition,
    runs: Runs,
    weights: NDArray[np.integer],
    *,
    threads: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ConditionResult:
    """Fit one condition and summarise it.

    Args:
        spec: the study.
        condition: one of its conditions.
        runs: the unperturbed runs, counted as `condition.params` says.
        weights: (R, n), one row per resample, the same for every condition.
        threads: for the solver, which spreads its blocks over them; None for one per core.
        on_progress: called with the number of lanes that have just been finished.

    Returns:
        The result, which depends on nothing but the first four arguments. A condition whose perturbed counts
        are not all positive has only INVALID fits, and a note that says so.
    """
    from chinchilla_jax.bootstrapping import bootstrap_condition
    from chinchilla_jax.fitting import fit

    clock = time.perf_counter
    fitted = condition.apply(runs, seed=spec.seed)
    begun = clock()
    huber, huber_scale = Huber(spec.delta), HuberScale(spec.delta)
    wide = SolverOptions(wide_start=True, max_steps=_POINT_STEPS, workers=threads)
    point = fit(fitted, objective=huber, solver=spec.solver, starts=_POINT_STARTS, options=wide)
    near = SolverOptions(max_steps=_POINT_STEPS, workers=threads)
    points = {
        huber.name: point,
        # At this delta the two estimators differ little: the vertex lies next to an optimum just found.
        huber_scale.name: fit(fitted, objective=huber_scale, starts=point, options=near),
    }
    pointed = clock()
    boot = bootstrap_condition(
        fitted,
        weights=weights,
        point=points[huber.name],
        objective=huber,
        solver=spec.solver,
        options=SolverOptions(workers=threads),
        on_progress=on_progress,
    )
    booted = clock()
    params, tokens_per_param = summarise(spec, boot, points)
    return ConditionResult(
        condition=condition,
        n_runs=len(fitted),
        points=tuple(_point_row(point) for point in points.values()),
        fits=_fit_columns(boot),
        params=params,
        tokens_per_param=tokens_per_param,
        notes=tuple(_notes(fitted, points)),
        seconds={"point": pointed - begun, "bootstrap": booted - pointed, "summary": clock() - booted},
    )


def summarise(
    spec: StudySpec, boot: BootstrapResult, points: Mapping[str, FitResult]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two summary tables of one condition, for every method and level.

    "percentile" and "gaussian" stand on the `Huber` point fit, which is of the bootstrap's own estimator;
    "besiroglu2024" on the `HuberScale` point fit, as published.

    Args:
        spec: gives levels, budgets and the seed of the normal draws.
        boot: the bootstrap, R laws.
        points: the point fits by the name of their objective.

    Returns:
        Rows of params and of tokens_per_param, without the column condition.
    """
    import pandas as pd

    from chinchilla_jax.analysis.intervals import METHODS, parameter_table
    from chinchilla_jax.analysis.tokens_per_param import tokens_per_param_band

    parameters, bands = [], []
    for method in METHODS:
        law = points["huber_scale" if method == "besiroglu2024" else "huber"].law
        for level in spec.levels:
            parameters.append(parameter_table(boot.laws, boot.converged, law, level, method))
            band = tokens_per_param_band(
                boot.laws, spec.flops, level, method, law, seed=spec.seed, converged=boot.converged
            )
            band.attrs = {}  # pandas compares them on concatenation, and they differ
            bands.append(band)
    return pd.concat(parameters, ignore_index=True), pd.concat(bands, ignore_index=True)


def _point_row(point: FitResult) -> dict[str, Any]:
    return {
        "objective": point.objective.name,
        **{name: float(getattr(point.law, name)) for name in PARAMETERS},
        "objective_value": float(point.objective_value),
        "status": point.status.name,
        "steps": int(point.steps),
    }


def _fit_columns(boot: BootstrapResult) -> dict[str, NDArray[Any]]:
    return {
        "resample": boot.resample_ids,
        **{name: np.asarray(getattr(boot.laws, name)) for name in PARAMETERS},
        "objective_value": boot.objective_value,
        "decrement": boot.decrement,
        "status": boot.status,
        "steps": boot.steps,
    }


def _notes(runs: Runs, points: Mapping[str, FitResult]) -> list[str]:
    """What a reader of the tables has to know about a condition that cannot be fitted, or not quite."""
    bad = np.flatnonzero(~((runs.params > 0) & np.isfinite(runs.params)))
    if bad.size:
        return [
            f"{bad.size} of {len(runs)} parameter counts are not positive and finite (the first: "
            f"{float(runs.params[bad[0]])!r}), so every fit is INVALID; use a smaller perturbation"
        ]
    return [
        f"the {name} point fit ended as {point.status.name}: {point.status.sentence}"
        for name, point in points.items()
        if point.status.name != "CONVERGED"
    ]
