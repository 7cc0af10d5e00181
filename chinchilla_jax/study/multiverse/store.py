"""Where the answers of finished jobs are: in memory, or in a directory that a later run resumes from.

The directory is a `WorkDirectory`, as those of the comparisons of forms and of objectives are: its parts hold
any table, several processes may write them, and a damaged part is computed again. The store of a study was
the other candidate. It holds fits of one law by one objective, in chunks of resamples of a condition, and a
multiverse has neither in common. A part is a job, under a name that depends on all that its numbers do: laws
and rows can be added later, and what is there stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.work_directory import WorkDirectory
from chinchilla_jax.analysis.work_records import digest, file_stem, objective_record
from chinchilla_jax.bootstrapping.scheme import scheme_record
from chinchilla_jax.laws import Law, OwnLaw
from chinchilla_jax.study.multiverse.fits import ANSWERS, JobResult, Work
from chinchilla_jax.study.multiverse.specifications import Job
from chinchilla_jax.study.numerics import MULTIVERSES

KIND = "multiverse"
_STEMS = r"\w+-\w+-[0-9a-f]{12}"


class Store:
    """The answers of the jobs that are done, by job.

    Args:
        work: what all jobs share.
        out: a path or URL, new, empty, or of the same table and resamples; None to keep them in memory.

    Raises:
        UsageError: the directory holds something else.
        DataError: its record is damaged.
        ChinchillaError: it cannot be written.
    """

    def __init__(self, work: Work, out: str | os.PathLike[str] | None) -> None:
        """Claim the directory."""
        self._work = work
        self._kept: dict[int, JobResult] = {}
        self._directory: WorkDirectory | None = None
        if out is not None:
            accepted = {"numerics": range(MULTIVERSES.every_law, MULTIVERSES.newest + 1)}
            self._directory = WorkDirectory(out, KIND, _record(work), stems=_STEMS, accepted=accepted)

    def has(self, job: Job) -> bool:
        """Whether a job is done, as far as names tell."""
        directory = self._directory
        return job.number in self._kept or (
            directory is not None and self._stem(job, directory) in directory.stems()
        )

    def read(self, job: Job) -> JobResult | None:
        """The answers of a job; None if they are not there.

        Warns:
            DataWarning: its file is damaged.
        """
        if self._directory is None:
            return self._kept.get(job.number)
        there = self._directory.read(self._stem(job, self._directory))
        if there is None:
            return None
        table, facts = there
        shape = (job.specifications.size, len(self._work.flops), 1 + self._work.resamples)
        answers = {name: np.asarray(table[name].to_numpy()).reshape(shape) for name in ANSWERS}
        return JobResult(answers=answers, facts=facts)

    def write(self, job: Job, result: JobResult) -> None:
        """Keep the answers of a job."""
        if self._directory is None:
            self._kept[job.number] = result
            return
        columns = {name: values.ravel() for name, values in result.answers.items()}
        self._directory.write(self._stem(job, self._directory), columns, result.facts)

    def _stem(self, job: Job, directory: WorkDirectory) -> str:
        choices, work = job.choices, self._work
        law, rows = choices.laws[job.law], choices.rows[job.rows]
        mask: NDArray[np.bool_] = work.masks[rows]
        known: list[Any] = [
            _law_record(law),
            [objective_record(each.objective) for each in choices.objectives],
            list(choices.countings),
            list(choices.costs),
            np.packbits(mask).tobytes().hex(),
            [scheme_record(work.schemes[rows, name]) for name in choices.schemes],
        ]
        numerics = MULTIVERSES.since(law)
        if numerics > directory.record["numerics"]:  # its digits have changed since the directory began
            known.append(numerics)
        return file_stem(law.name, rows, digest(known))


def _law_record(law: Law) -> str:
    return law.fingerprint if isinstance(law, OwnLaw) else f"{law.name} {law!r}"


def _record(work: Work) -> Mapping[str, Any]:
    """What every part depends on."""
    return {
        "kind": KIND,
        "numerics": MULTIVERSES.newest,
        "tables": {name: runs.data_hash for name, runs in work.by_counting.items()},
        "flops": work.flops.tolist(),
        "resamples": work.resamples,
        "seed": work.seed,
        "decrement": work.options.tolerance,
        "max_steps": work.options.max_steps,
        "precision": work.options.precision,
        "engine": work.options.engine,
    }
