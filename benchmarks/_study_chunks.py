"""The chunks of a study with the data that they are fitted to, in memory: no directory, no session."""

from __future__ import annotations

import chinchilla_jax as cj
from chinchilla_jax.study.chunks import Chunk, plan_chunks, plan_ranges
from chinchilla_jax.study.spec.data import StudyData, load_study_data


def study_chunks(spec: cj.StudySpec) -> tuple[tuple[Chunk, ...], dict[str, StudyData]]:
    """Every chunk of a new study, and its data by interpretation."""
    data = {name: load_study_data(spec, name) for name in spec.interpretations}
    ranges = plan_ranges(spec.resamples, len(data[spec.interpretations[0]].runs))
    return plan_chunks(spec, {name: found.hash for name, found in data.items()}, ranges), data
