"""Which chunks are a job, and which conditions are prepared together. No number depends on either.

Large jobs make few calls of a solver, each with many lanes; small ones keep all workers busy and lose little
when a run is interrupted. The last conditions come first: sweeps rise, and the larger a perturbation, the
longer its fits. The last jobs are small, so that workers end together.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from chinchilla_jax.laws import read_law
from chinchilla_jax.solvers.dispatch import on_device
from chinchilla_jax.study.chunks import Chunk
from chinchilla_jax.study.execution.jobs import Job, conditions_of
from chinchilla_jax.study.spec.conditions import Condition
from chinchilla_jax.study.spec.data import StudyData
from chinchilla_jax.study.spec.study_spec import StudySpec

_MOST_CHUNKS, _MOST_CHUNKS_DEVICE = 16, 256  # of a job
_MOST_WEIGHTS = 2**26  # of a job, in bytes where they are counts: chunks of the same resamples share theirs
_JOBS_PER_WORKER = 4  # at least, so that workers end together
_MOST_CONDITIONS, _LEAST_CONDITIONS = 256, 16  # of a group, where there are enough
_MOST_GROUPS = 16  # whose jobs take turns: half of those that `jobs` keeps in memory
_MOST_PLACES = 2**18  # conditions of a group times runs: what is in memory for each lane of a point fit


@dataclasses.dataclass(frozen=True)
class Workplace:
    """What planning has to know about the workers.

    Attributes:
        workers: jobs that are computed at a time.
        shared: whether jobs of a group share what is done for it: in the memory of this process, or of one
            of several that keeps to its groups.
    """

    workers: int
    shared: bool


def plan_jobs(
    spec: StudySpec, chunks: Sequence[Chunk], data: Mapping[str, StudyData], place: Workplace
) -> list[Job]:
    """Jobs that compute these chunks, those of different groups taking turns.

    Args:
        spec: the study.
        chunks: what to compute, in the order of the study.
        data: the unperturbed runs by interpretation.
        place: the workers.
    """
    count = len(chunks)
    size = min(max(count // (_JOBS_PER_WORKER * place.workers), 1), _MOST_CHUNKS)
    device = place.shared and on_device(read_law(spec.law), spec.estimator, spec.solver, spec.fitting_engine)
    if device:
        size = _MOST_CHUNKS_DEVICE  # it takes the lanes of many at once
    by_condition: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        by_condition.setdefault(chunk.index, []).append(chunk)
    n_runs = max(len(each.runs) for each in data.values())
    groups = _groups(list(by_condition)[::-1], size, n_runs, place, device)
    ending = 0 if device or not place.shared else 2 * place.workers // min(len(groups), _MOST_GROUPS)
    queues: list[list[Job]] = []
    for indices in groups:
        mine = [chunk for index in indices for chunk in by_condition[index]]
        group = conditions_of(mine)
        used = {condition.params: data[condition.params] for condition in group}
        parts = _parts(mine, size, n_runs, ending)
        queues.append([_job(spec, part, group, used, place.shared) for part in parts])
    planned = []
    for first in range(0, len(queues), _MOST_GROUPS):
        for turn in itertools.zip_longest(*queues[first : first + _MOST_GROUPS]):
            planned += [job for job in turn if job is not None]
    return planned


def _groups(
    indices: Sequence[int], size: int, n_runs: int, place: Workplace, device: bool
) -> list[Sequence[int]]:
    """Conditions that are prepared together, by their indices: as many of the long ones in every group."""
    count, group = len(indices), size
    if place.shared:
        even = count if device else max(-(-count // place.workers), _LEAST_CONDITIONS)
        group = min(even, _MOST_CONDITIONS, max(_MOST_PLACES // n_runs, 1))
    number = -(-count // group)
    return [indices[first::number] for first in range(number)]


def _parts(chunks: Sequence[Chunk], size: int, n_runs: int, ending: int) -> list[tuple[Chunk, ...]]:
    """These chunks, up to `size` at a time, those of the same resamples together.

    In the end no more at a time than one of `ending` shares of what is left, if that is not 0.
    """
    parts: list[list[Chunk]] = [[]]
    weights = 0  # of the part that is being filled
    room = size  # for chunks in that part
    ordered = sorted(chunks, key=lambda chunk: chunk.resamples)  # in order of the conditions otherwise
    for done, chunk in enumerate(ordered):
        new = not parts[-1] or parts[-1][-1].resamples != chunk.resamples
        added = len(chunk.resamples) * n_runs if new else 0
        if parts[-1] and (len(parts[-1]) == room or weights + added > _MOST_WEIGHTS):
            parts.append([])
            weights, added = 0, len(chunk.resamples) * n_runs
        if not parts[-1] and ending:
            room = min(size, max((len(ordered) - done) // ending, 1))
        parts[-1].append(chunk)
        weights += added
    return [tuple(part) for part in parts if part]


def _job(
    spec: StudySpec,
    chunks: tuple[Chunk, ...],
    group: tuple[Condition, ...],
    data: Mapping[str, StudyData],
    shared: bool,
) -> Job:
    job = Job(spec, chunks, group, data)
    return job if shared else job.by_itself()
