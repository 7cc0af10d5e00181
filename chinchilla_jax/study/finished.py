"""A job to its end: what is left for the process that writes a study is to write.

Where workers are processes, encoding a chunk and summarising its condition is theirs, side by side, and not
that of the one process which has all of them to serve.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from chinchilla_jax.study.chunks import Chunk, ResampleRange
from chinchilla_jax.study.execution.jobs import ChunkResult, Job, run_job
from chinchilla_jax.study.execution.stage_clocks import StageClocks
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.chunk_files import encode
from chinchilla_jax.study.summarise import ConditionSummary, summarise_result


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FinishedChunk:
    """What is left of a chunk once it is encoded.

    Attributes:
        content: of its file.
        summary: of its condition, if the chunk is all of it and that was asked for.
        remarks: as in `ChunkResult`.
        device: the same.
        seconds: wall time by stage, encoding as "write".
        cpu_seconds: CPU time of the computing thread, by stage.
    """

    content: bytes
    summary: ConditionSummary | None
    remarks: tuple[str, ...]
    device: Mapping[str, Any]
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]


def finish_job(job: Job, attempt: int = 0, *, summarised: bool = True) -> tuple[FinishedChunk, ...]:
    """Fit some chunks, encode each, and summarise the conditions that have no others.

    Args:
        job: what to fit.
        attempt: how often it was submitted before, see `run_job`.
        summarised: whether to summarise.
    """
    whole = ResampleRange(0, job.spec.resamples)
    return tuple(
        _finished(job.spec, chunk, result, summarised and chunk.resamples == whole)
        for chunk, result in zip(job.chunks, run_job(job, attempt), strict=True)
    )


def _finished(spec: StudySpec, chunk: Chunk, result: ChunkResult, summarised: bool) -> FinishedChunk:
    clocks = StageClocks()
    content = encode(chunk, result, spec.model.parameters)
    clocks.end("write")
    return FinishedChunk(
        content=content,
        summary=summarise_result(spec, chunk, result) if summarised else None,
        remarks=result.remarks,
        device=result.device,
        seconds={**result.seconds, **clocks.seconds},
        cpu_seconds={**result.cpu_seconds, **clocks.cpu_seconds},
    )
