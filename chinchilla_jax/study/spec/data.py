"""The runs that a spec names."""

from __future__ import annotations

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.study.spec.study_spec import StudySpec


def load_spec_runs(spec: StudySpec, interpretation: str, data_hash: str | None = None) -> Runs:
    """The runs that `spec` names, with their parameters counted as `interpretation` says.

    Args:
        spec: the study.
        interpretation: one of the spec's interpretations.
        data_hash: the hash that the runs must have; None for any.

    Raises:
        DataError: the table cannot be read or used, or has another hash.
    """
    runs = load_runs(
        spec.data,
        params="as_plotted" if interpretation == "as_given" else interpretation,
        drop_highest_loss=spec.drop_highest_loss,
        rounded=spec.rounded,
        columns=dict(spec.columns) or None,
        experiment=spec.experiment,
    )
    if data_hash is not None and runs.data_hash != data_hash:
        raise DataError(
            f"{spec.data}: these are not the runs that the study fitted (their hash is "
            f"{runs.data_hash[:12]}, study.json has {data_hash[:12]}); restore the table, or run the "
            "study into another directory"
        )
    return runs
