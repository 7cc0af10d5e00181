"""The scheme "auto": resolved by a fit of the runs, before anything is resampled."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from chinchilla_jax.bootstrapping.asked_groups import asked_scheme, require_groups
from chinchilla_jax.bootstrapping.dependence import Dependence, measure_dependence
from chinchilla_jax.bootstrapping.few_groups import scheme_for_few, worth_of_few, worth_of_some
from chinchilla_jax.bootstrapping.schemes import Cluster, Pairs, Scheme, read_scheme
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.fitting.problem import read_weights
from chinchilla_jax.laws import read_law

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.solvers import SolverOptions

AUTO = "auto"


def is_auto(scheme: object) -> bool:
    """Whether the scheme is left to `choose_scheme`."""
    return isinstance(scheme, str) and scheme == AUTO


def choose_scheme(runs: Runs, point: FitResult, *, counts: bool = False) -> Dependence:
    """What "auto" resolves to: `measure_dependence`, with weights in place of counts for few runs or groups.

    It is "pairs" for the runs of an embedded table, whose published intervals are of pairs; the sentence then
    says what would have been chosen.

    Args:
        runs: n runs.
        point: their fit, of any law.
        counts: keep counts for few runs and groups too, as resamples of resamples need them.
    """
    design = point.model.design(runs)
    slopes = point.model.jacobian(point.theta, design) if design.valid else None
    found = measure_dependence(runs, point.residuals, derivatives=slopes, weights=point.weights)
    if not is_embedded(runs):
        return found if counts or slopes is None else _for_few(found, runs, slopes, point)
    if isinstance(found.scheme, Pairs):
        return found
    return dataclasses.replace(
        found,
        groupings=tuple(dataclasses.replace(each, chosen=False) for each in found.groupings),
        scheme=Pairs(),
        sentence=f"runs are resampled one by one, as published for {runs.name}; in a table of your own "
        f"{found.sentence.replace(' are resampled,', ' would be,', 1)}",
        warnings=(),
    )


def _for_few(found: Dependence, runs: Runs, slopes: NDArray[np.float64], point: FitResult) -> Dependence:
    scheme = scheme_for_few(found.scheme, runs, slopes, point.weights)
    if scheme is found.scheme:
        return found
    few = "groups" if isinstance(scheme, Cluster) else "runs"
    sentence = f"{found.sentence}; by real weights in place of counts, since the {few} are few"
    worth = None
    if few == "runs":
        some, worth = worth_of_some(len(runs)), worth_of_few(len(runs))
        sentence = f"{sentence} ({some})" if some else sentence
    warnings = found.warnings if worth is None else (*found.warnings, worth)
    return dataclasses.replace(found, scheme=scheme, sentence=sentence, warnings=warnings)


def resolve_scheme(
    scheme: Scheme | str,
    runs: Runs,
    *,
    law: Law | str = "chinchilla",
    objective: Objective | str = "huber",
    weights: ArrayLike | None = None,
    options: SolverOptions | None = None,
) -> tuple[Scheme, Dependence | None]:
    """A scheme for several bootstraps of one table, and what was measured where "auto" chose it.

    Args:
        scheme: a scheme, or a name.
        runs: n runs.
        law: whose fit gives the residuals.
        objective: of that fit.
        weights: of the runs, (n,).
        options: of that fit.

    Raises:
        UsageError: there is no such scheme, or its clusters are too few.
    """
    if not is_auto(scheme):
        own = read_weights(weights, len(runs))
        given = read_scheme(scheme).completed(len(runs), read_law(law).size, own)
        require_groups(given, runs, own)
        if not isinstance(given, Cluster) or is_embedded(runs):
            return given, None
        point = fit(runs, law, objective=objective, weights=weights, options=options)
        return asked_scheme(given, runs, point), None
    point = fit(runs, law, objective=objective, weights=weights, options=options)
    found = choose_scheme(runs, point)
    return found.scheme, found
