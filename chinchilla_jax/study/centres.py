"""The point fits that a study's intervals are about, and the estimates of studies stored without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import HEADLINE
from chinchilla_jax.intervals.methods import METHODS, STUDY_METHODS
from chinchilla_jax.laws.chinchilla import Chinchilla
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.study.spec.study_spec import StudySpec

if TYPE_CHECKING:
    import pandas as pd


def centre_objectives(spec: StudySpec) -> dict[str, str]:
    """The methods of the study's tables, and the objective of the point fit that each is about.

    "besiroglu2024" is published for the five-parameter law.
    """
    centres = {}
    for method in STUDY_METHODS:
        if METHODS[method].needs != "huber_scale_point":
            centres[method] = spec.objective
        elif spec.objective == "huber" and isinstance(spec.model, Chinchilla):
            centres[method] = "huber_scale"
    return centres


def with_estimates(table: pd.DataFrame, point: pd.DataFrame, spec: StudySpec) -> pd.DataFrame:
    """A table of tokens per parameter as version 0.1.0 wrote it, with the estimates of the point fits."""
    certified = point[point["status"].isin([status.name for status in Status if status.certified])]
    laws = certified.set_index(["condition", "objective"])[list(PARAMETERS)]
    centres = centre_objectives(spec)
    estimate = np.full(len(table), np.nan)
    for (condition, method), rows in table.groupby(["condition", "method"], sort=False).indices.items():
        key = (condition, centres[str(method)])
        if key in laws.index:
            law = ScalingLaw(**{name: float(value) for name, value in laws.loc[key].items()})
            estimate[rows] = law.tokens_per_param(table["flops"].to_numpy()[rows])
    return table.assign(**{HEADLINE: estimate})
