"""How large a study is, counted from its spec before anything is expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.limits import CONDITIONS, FITS, RESAMPLES, ROWS
from chinchilla_jax.intervals.methods import STUDY_METHODS
from chinchilla_jax.study.spec.fields import field

if TYPE_CHECKING:
    from chinchilla_jax.study.spec.study_spec import StudySpec


def require_size(spec: StudySpec) -> None:
    """Refuse a spec whose conditions, fits or table of prescriptions are more than `_util.limits` allows.

    Raises:
        FieldError: they are; its place is the field that makes most of them.
    """
    largest = max(range(len(spec.sweeps)), key=lambda i: spec.sweeps[i].size, default=None)
    with field("sweeps", *([] if largest is None else [largest])):
        CONDITIONS.require("sweeps", spec.n_conditions)
    with field("resamples"):
        RESAMPLES.require("resamples", spec.resamples)
        FITS.require(
            f"{spec.n_conditions:,} conditions with {spec.resamples:,} resamples each",
            spec.n_conditions * spec.resamples,
        )
    with field("flops"):
        per_condition = len(spec.flops) * len(spec.levels) * len(STUDY_METHODS)
        ROWS.require(
            f"tokens_per_param of {spec.n_conditions:,} conditions, {len(spec.flops):,} flops, "
            f"{len(spec.levels):,} levels and {len(STUDY_METHODS)} methods",
            spec.n_conditions * per_condition,
        )
