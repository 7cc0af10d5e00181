"""Run a study with its figures and its page: the engine makes the tables, this adds the rest."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from concurrent.futures import Executor

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import Progress, resolve
from chinchilla_jax.report.drawn_beside import processes_for
from chinchilla_jax.study import (
    Shard,
    Study,
    StudySpec,
    StudyStatus,
    compute_shard,
    compute_study,
    study_status,
)
from chinchilla_jax.study.execution.executors import ExecutorChoice, settled


def run_study(
    spec: StudySpec,
    out: str | os.PathLike[str],
    *,
    progress: Progress | str | None = "auto",
    figures: bool = True,
    workers: int | None = None,
    executor: Executor | str | None = None,
    scheduler: str | None = None,
) -> Study:
    """Run `spec` and write the result to the directory `out`, or resume what is there.

    The numbers depend on the spec, the data and the versions of the libraries alone: not on the executor, nor
    on how often the run was interrupted. Several processes may run one study into one directory.

    Args:
        spec: what to run.
        out: a directory that is new, empty, or holds this study. If that is unfinished, the run resumes; if
            it has fewer resamples, the missing ones are added; if it is finished, it is opened
            (`Study.reused`). Figures and page are made where they are missing, damaged or of other tables.
            A path, or a URL that fsspec knows, such as "s3://bucket/study".
        progress: None is silent, "auto" shows a bar if stderr is a terminal.
        figures: whether to draw the figures; without, those of earlier tables are removed.
        workers: chunks computed at the same time; None for one per core.
        executor: where chunks are computed: "threads" of this process, "processes" beside it, "dask", or any
            `concurrent.futures.Executor`, which is not shut down. None for processes where a study of the
            five-parameter law is large and runs on CPUs, and threads otherwise.
        scheduler: address of a Dask scheduler; None starts one on this machine.

    Raises:
        UsageError: `out` holds something else, or an argument has no meaning.
        DataError: the data cannot be read or used.
        ChinchillaError: the directory cannot be written, or the page not be made; everything written so far
            is kept.

    Example:
        >>> spec = cj.StudySpec(resamples=20, flops=(1e20, 1e22))
        >>> cj.run_study(spec, "study", figures=False)  # finished already: it is opened
        <Study 'study': 1 conditions, 20 fits>
    """
    choice = settled(ExecutorChoice(executor, scheduler, workers), spec)
    with resolve(progress) as reporter, processes_for(spec, out, choice, figures=figures) as beside:
        study = compute_study(
            spec, out, dataclasses.replace(choice, beside=beside), reporter, meanwhile=_load
        )
        from chinchilla_jax.report.upkeep import remake

        return remake(study, reporter, figures=figures, side=beside[0] if beside else None)


def _load() -> None:
    """Load what makes the page, which takes a third of a second that the first fits need not wait for."""
    from chinchilla_jax.report import upkeep  # noqa: F401
    from chinchilla_jax.report.page import page_template
    from chinchilla_jax.study.environment import drawn_by

    drawn_by()
    with contextlib.suppress(ImportError):  # without jinja2 there is no page
        page_template()


def run_shard(
    spec: StudySpec,
    out: str | os.PathLike[str],
    shard: Shard,
    *,
    progress: Progress | str | None = "auto",
    figures: bool = True,
    workers: int | None = None,
    executor: Executor | str | None = None,
    scheduler: str | None = None,
) -> StudyStatus:
    """Run one shard of a study; the shard that ends last also summarises and draws the study.

    Shards need not know of each other, nor run at the same time; all they share is the directory. The
    arguments are those of `run_study`.

    Returns:
        How far the whole study has come.
    """
    choice = settled(ExecutorChoice(executor, scheduler, workers), spec)
    with resolve(progress) as reporter:
        compute_shard(spec, out, shard, choice, reporter)
    status = study_status(out)
    if status.chunks_done == status.chunks and status.state != "complete":
        run_study(spec, out, progress=progress, figures=figures, workers=workers)
        status = study_status(out)
    return status


def finish_study(
    out: str | os.PathLike[str],
    *,
    progress: Progress | str | None = "auto",
    figures: bool = True,
    workers: int | None = None,
) -> Study:
    """Summarise a study whose chunks are all there, as after the last of its shards.

    Raises:
        UsageError: there is no study, or chunks are missing.
        DataError: a chunk is damaged, or the data have changed.
    """
    status = study_status(out)
    if status.chunks_done < status.chunks:
        raise UsageError(
            f"{status.location}: {status.chunks - status.chunks_done:,} of {status.chunks:,} chunks are "
            "missing; run the study into this directory, all of it or the missing shards"
        )
    return run_study(status.spec, out, progress=progress, figures=figures, workers=workers)
