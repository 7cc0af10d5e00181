"""The data of a study: the runs that its spec names, and their weights."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.datasets.weights import load_weights
from chinchilla_jax.perturbations import geometric_mean
from chinchilla_jax.study.spec.study_spec import StudySpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class StudyData:
    """The unperturbed runs of a study, their parameters counted in one way.

    Attributes:
        runs: n runs.
        weights: how much each counts, (n,); None for all the same.
    """

    runs: Runs
    weights: NDArray[np.float64] | None = None

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the runs and, if there are any, of the weights."""
        if self.weights is None:
            return self.runs.data_hash
        content = self.runs.data_hash.encode() + self.weights.astype("<f8").tobytes()
        return hashlib.sha256(content).hexdigest()


def load_study_data(spec: StudySpec, interpretation: str, expected_hash: str | None = None) -> StudyData:
    """The data that `spec` names.

    Where the spec leaves runs out, a systematic bias turns around the geometric mean of the whole table, as
    in Schaeffer et al. 2025 (arXiv:2509.23963): it is an error of the counts, and these do not know which
    runs will be left out.

    Args:
        spec: the study.
        interpretation: one of the spec's interpretations, as which the parameters are counted.
        expected_hash: the hash that the data must have; None for any.

    Raises:
        DataError: the table cannot be read or used, or the data have another hash.
        UsageError: the table has no such column of weights.
    """
    columns = dict(spec.columns) or None
    load = functools.partial(
        load_runs,
        spec.data,
        params="as_plotted" if interpretation == "as_given" else interpretation,
        rounded=spec.rounded,
        columns=columns,
        experiment=spec.experiment,
    )
    runs, whole = load(drop_highest_loss=spec.drop_highest_loss), load(drop_highest_loss=0)
    if len(runs) < len(whole):
        runs = dataclasses.replace(runs, centre=geometric_mean(whole.params))
    weights = None
    if spec.weights is not None:
        weights = load_weights(
            spec.data,
            spec.weights,
            drop_highest_loss=spec.drop_highest_loss,
            columns=columns,
            experiment=spec.experiment,
        )
    data = StudyData(runs, weights)
    if expected_hash is not None and data.hash != expected_hash:
        raise DataError(
            f"{spec.data}: these are not the runs that the study fitted (their hash is {data.hash[:12]}, "
            f"study.json has {expected_hash[:12]}); restore the table, or run the study into another "
            "directory"
        )
    return data
