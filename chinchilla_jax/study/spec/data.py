"""The data of a study: the runs that its spec names, and their weights."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.bootstrapping.asked_groups import asked_scheme, require_groups
from chinchilla_jax.bootstrapping.auto_scheme import AUTO, choose_scheme
from chinchilla_jax.bootstrapping.schemes import Cluster, Pairs, Scheme, read_scheme
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.datasets.groupings import BUILT_IN
from chinchilla_jax.datasets.weights import load_weights
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.fitting.unlike_rows import with_unlike_rows
from chinchilla_jax.laws import read_law
from chinchilla_jax.perturbations import geometric_mean
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.study.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.dependence import Dependence
    from chinchilla_jax.fitting.result import FitResult

_PAIRS = Pairs()
_STARTS, _STEPS = 32, 60  # of the fit whose residuals decide how runs are resampled


@dataclasses.dataclass(frozen=True, eq=False)
class StudyData:
    """The unperturbed runs of a study, their parameters counted in one way.

    Attributes:
        runs: n runs.
        weights: how much each counts, (n,); None for all the same.
        scheme: how the runs are resampled.
        labels: columns of groups that the resamples may depend on, by name.
        resampling: what was measured to choose the scheme, in a sentence; empty for a scheme that was given.
    """

    runs: Runs
    weights: NDArray[np.float64] | None = None
    scheme: Scheme = _PAIRS
    labels: Mapping[str, NDArray[np.str_]] = dataclasses.field(default_factory=dict)
    resampling: str = ""

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the runs and, if there are any, of the weights and labels."""
        if self.weights is None and not self.labels:
            return self.runs.data_hash
        content = self.runs.data_hash.encode()
        if self.weights is not None:
            content += self.weights.astype("<f8").tobytes()
        if self.labels:
            content += json.dumps({name: each.tolist() for name, each in self.labels.items()}).encode()
        return hashlib.sha256(content).hexdigest()


def study_reading(spec: StudySpec, interpretation: str, groups: Sequence[str] = ()) -> dict[str, Any]:
    """How the table is read as one of the spec's interpretations, with these columns of groups too."""
    return spec.reading | {
        "groups": tuple(dict.fromkeys((*spec.groups, *groups))),
        "params": "as_plotted" if interpretation == "as_given" else interpretation,
    }


def load_study_runs(spec: StudySpec, reading: Mapping[str, Any]) -> Runs:
    """The runs of a study.

    Where the spec leaves runs out, a systematic bias turns around the geometric mean of the whole table, as
    in Schaeffer et al. 2025 (arXiv:2509.23963): it is an error of the counts, and these do not know which
    runs will be left out.

    Args:
        spec: the study.
        reading: from `study_reading`.
    """
    load = functools.partial(load_runs, spec.data, rounded=spec.rounded, **reading)
    runs, whole = load(drop_highest_loss=spec.drop_highest_loss), load(drop_highest_loss=0)
    return dataclasses.replace(runs, centre=geometric_mean(whole.params)) if len(runs) < len(whole) else runs


def load_study_data(spec: StudySpec, interpretation: str, expected_hash: str | None = None) -> StudyData:
    """The data that `spec` names.

    All interpretations are resampled as the first is, so that resample i has the same runs in each.

    Args:
        spec: the study.
        interpretation: one of the spec's interpretations, as which the parameters are counted.
        expected_hash: the hash that the data must have; None for any.

    Raises:
        DataError: the table cannot be read or used, or the data have another hash.
        UsageError: the table has no such column of weights or groups.
    """
    own_groups = () if spec.cluster is None or spec.cluster in BUILT_IN else (spec.cluster,)
    reading = study_reading(spec, interpretation, own_groups)
    runs = load_study_runs(spec, reading)
    weights = None
    if spec.weights is not None:
        weights = load_weights(spec.data, spec.weights, drop_highest_loss=spec.drop_highest_loss, **reading)
    scheme, resampling = _shared_scheme(spec, interpretation, runs, weights)
    named = runs.groups if spec.scheme == AUTO else {name: runs.groups[name] for name in own_groups}
    data = StudyData(runs, weights, scheme, named, resampling)
    if expected_hash is not None and data.hash != expected_hash:
        raise DataError(
            f"{spec.data}: these are not the runs that the study fitted (their hash is {data.hash[:12]}, "
            f"study.json has {expected_hash[:12]}); restore the table, or run the study into another "
            "directory"
        )
    return data


def resampling_sentence(spec: StudySpec, data: StudyData) -> str:
    """How the runs are resampled and why; for "pairs", what "auto" would have chosen."""
    if spec.scheme == AUTO:
        return data.resampling
    if spec.scheme != "pairs":
        return f"runs are resampled by {spec.scheme}, as asked"
    found = _measured(spec, data.runs, data.weights)
    if is_embedded(data.runs) or isinstance(found.scheme, Pairs):
        return found.sentence
    return f"runs are resampled one by one, as asked; by scheme 'auto' {found.sentence}"


def goodness_sentence(spec: StudySpec, data: StudyData) -> str:
    """How well the law describes the unperturbed runs; "" without a certified fit."""
    found = _point(spec, data.runs, data.weights).goodness
    return "" if found is None else str(found)


def unlike_rows_sentence(spec: StudySpec, data: StudyData) -> str:
    """Which column of the table tells runs apart that do not follow one law; "" if none does."""
    if not data.runs.labels and not data.runs.groups:
        return ""
    point = _point(spec, data.runs, data.weights)
    found = with_unlike_rows(dataclasses.replace(point, warnings=()), data.runs).warnings
    return " ".join(found)


def _shared_scheme(
    spec: StudySpec, interpretation: str, runs: Runs, weights: NDArray[np.float64] | None
) -> tuple[Scheme, str]:
    """The scheme of the first interpretation, whose groups may be of sizes that another counts otherwise."""
    first = spec.interpretations[0]
    if interpretation == first or spec.scheme not in (AUTO, Cluster.name):
        return _scheme(spec, runs, weights)
    plain = load_study_data(spec, first)
    if not np.array_equal(plain.runs.tokens, runs.tokens):  # another loss may leave other rows out
        return _scheme(spec, runs, weights)
    scheme = plain.scheme.fixed(plain.runs) if isinstance(plain.scheme, Cluster) else plain.scheme
    return scheme, plain.resampling


def _scheme(spec: StudySpec, runs: Runs, weights: NDArray[np.float64] | None) -> tuple[Scheme, str]:
    if spec.scheme == AUTO:
        found = _measured(spec, runs, weights)
        return found.scheme, found.sentence
    given = read_scheme(spec.scheme) if spec.cluster is None else Cluster(by=spec.cluster)
    if isinstance(given, Cluster) and not is_embedded(runs):
        require_groups(given, runs, weights)
        return asked_scheme(given, runs, _point(spec, runs, weights)), ""
    return given.completed(len(runs), read_law(spec.law).size, weights), ""


def _measured(spec: StudySpec, runs: Runs, weights: NDArray[np.float64] | None) -> Dependence:
    return choose_scheme(runs, _point(spec, runs, weights))


def _point(spec: StudySpec, runs: Runs, weights: NDArray[np.float64] | None) -> FitResult:
    options = SolverOptions(
        precision=spec.precision, engine=spec.fitting_engine, workers=1, wide_start=True, max_steps=_STEPS
    )
    return fit(
        runs, spec.law, objective=spec.estimator, weights=weights, solver=spec.solver, starts=_STARTS,
        options=options,
    )  # fmt: skip
