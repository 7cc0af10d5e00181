"""The fits of a study's own runs, unperturbed, as the bootstrap that they are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping.auto_scheme import is_auto
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.bootstrapping.schemes import Cluster, Pairs, Scheme, read_scheme
from chinchilla_jax.fitting.automatic_delta import robust_scale
from chinchilla_jax.fitting.goodness import goodness_of
from chinchilla_jax.fitting.problem import read_weights
from chinchilla_jax.fitting.result import Certificate, FitResult, StartsReport
from chinchilla_jax.laws.objectives import own_residuals
from chinchilla_jax.solvers.base import Solution
from chinchilla_jax.solvers.status import STATUS_NAMES, Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.study.result import Study


def own_bootstrap(study: Study) -> BootstrapResult:
    """The bootstrap of the unperturbed runs, counted as the study counts them first; nothing is fitted.

    The study keeps neither the starts of its point fit nor its certificate: `point.starts` is empty, and
    `point.certificate.value` is NaN.

    Args:
        study: whose directory has its runs, or whose table is there and has not changed.

    Raises:
        DataError: the runs have gone or changed, or a table of the study is torn.
        UsageError: its law is a function that is not known here.
    """
    spec = study.spec
    condition = study.plan()[0]
    if not getattr(spec.model, "predicts", True):
        raise UsageError(
            f"{study.directory}: its law is a function of its user; give it, as in open_study(..., law=...)"
        )
    runs, weights = study.weighted_runs()
    own = read_weights(weights, len(runs))
    fits, design = study.fits(condition.id), spec.model.design(runs)
    with np.errstate(all="ignore"):  # of lanes that failed
        natural = {name: fits[name].to_numpy(np.float64) for name in spec.model.parameters}
        theta = spec.model.internal(natural, design)
    solution = Solution(
        theta=theta,
        objective_value=fits["objective_value"].to_numpy(np.float64),
        decrement=fits["decrement"].to_numpy(np.float64),
        status=np.array([STATUS_NAMES.index(name) for name in fits["status"]], np.int8),
        steps=fits["steps"].to_numpy(np.int32),
    )
    return BootstrapResult(
        solution=solution,
        design=design,
        resample_ids=fits["resample"].to_numpy(np.int32),
        point=_point(study, condition.id, runs, own),
        scheme=_scheme(study, runs, own),
        boundary=spec.boundary,
    )


def _point(study: Study, condition: str, runs: Runs, weights: NDArray[np.float64] | None) -> FitResult:
    """The point fit by the objective of the bootstrap."""
    spec, point = study.spec, study.point
    row = point[(point["condition"] == condition) & (point["objective"] == spec.objective)].iloc[0]
    model, status = spec.model, Status[row["status"]]
    design = model.design(runs)
    with np.errstate(all="ignore"):  # of a fit that failed
        theta = model.internal({name: float(row[name]) for name in model.parameters}, design)
        residuals = model.residuals(theta, design) if design.valid else np.full(len(runs), np.nan)
    measured = own_residuals(spec.estimator, residuals, design.log_loss)
    found = FitResult(
        law=model.fitted(theta, design),
        model=model,
        objective_value=float(row["objective_value"]),
        status=status,
        reason=status.sentence,
        certificate=Certificate(
            kind="newton_decrement", value=np.nan, tolerance=np.nan, holds=status.certified
        ),
        steps=int(row["steps"]),
        starts=StartsReport(n=0, status={}, n_at_best=0, minima=np.empty((0, model.size))),
        objective=spec.estimator,
        theta=theta,
        residuals=residuals,
        residual_scale=robust_scale(measured, weights, model.size),
        weights=weights,
        n_runs=len(runs),
        warnings=tuple(each["note"] for each in study.info["notes"] if each["condition"] == condition),
        read=runs.read_lines,
        cost=runs.cost,
        runs=runs,
    )
    return dataclasses.replace(found, goodness=goodness_of(found, runs))


def _scheme(study: Study, runs: Runs, weights: NDArray[np.float64] | None) -> Scheme:
    """How the runs were resampled, as far as intervals depend on it: "auto" chooses none with a factor."""
    spec = study.spec
    if is_auto(spec.scheme):
        return Pairs()
    given = read_scheme(spec.scheme) if spec.cluster is None else Cluster(by=spec.cluster)
    return given.completed(len(runs), spec.model.size, weights)
