"""Run a study with its figures and its page: the engine makes the tables, this adds the rest."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from concurrent.futures import Executor
from pathlib import Path

from chinchilla_jax._util.directories import LocalDirectory, one_line_disk_errors
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import Progress, resolve
from chinchilla_jax.plots import save_study_figures
from chinchilla_jax.report.page import PAGE, write_report
from chinchilla_jax.study import (
    Shard,
    Study,
    StudySpec,
    StudyStatus,
    compute_shard,
    compute_study,
    study_status,
)
from chinchilla_jax.study.execution.executors import ExecutorChoice
from chinchilla_jax.study.result import FIGURES
from chinchilla_jax.study.storage.record import write_record


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
            (`Study.reused`). A path, or a URL that fsspec knows, such as "s3://bucket/study".
        progress: None is silent, "auto" shows a bar if stderr is a terminal.
        figures: whether to draw the figures.
        workers: chunks computed at the same time; None for one per core.
        executor: where chunks are computed: "threads" of this process (None), "dask", or any
            `concurrent.futures.Executor`, which is not shut down.
        scheduler: address of a Dask scheduler; None starts one on this machine.

    Raises:
        UsageError: `out` holds something else, or an argument has no meaning.
        DataError: the data cannot be read or used.
        ChinchillaError: the directory cannot be written; everything written so far is kept.
    """
    choice = ExecutorChoice(executor, scheduler, workers)
    with resolve(progress) as reporter:
        study = compute_study(spec, out, choice, reporter)
        if figures and "figures" not in study.info["timing"]:
            reporter.note(f"{study.directory}: tables complete, drawing figures")
            with one_line_disk_errors(study.directory):
                _draw_and_record(study)
        add_report(study, reporter)
    return study


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
    """Run one shard of a study; the shard that ends last also summarises the study.

    Shards need not know of each other, nor run at the same time; all they share is the directory. The
    arguments are those of `run_study`.

    Returns:
        How far the whole study has come.
    """
    choice = ExecutorChoice(executor, scheduler, workers)
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


def add_report(study: Study, reporter: Progress) -> None:
    """`write_report`, unless the page is there and as new as the figures.

    A study is complete without its page, so nothing here makes a study fail: a missing jinja2 is a note,
    anything else a RuntimeWarning.
    """
    page = study.directory.at(PAGE)
    try:
        figures = study.directory.list_files(FIGURES).values()
        newest = max((info.modified or 0.0 for info in figures), default=0.0)
        found = study.directory.list_files("").get(PAGE)
        if found is None or (found.modified or 0.0) < newest:
            write_report(study)
    except ImportError as error:
        reporter.note(f"{page}: not written ({error})")
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else None
        reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())}"
        warnings.warn(f"{page}: not written ({reason}); the study is complete", RuntimeWarning, stacklevel=3)


def draw_figures(study: Study) -> None:
    """Draw every figure of a study into its directory."""
    if isinstance(study.directory, LocalDirectory):
        save_study_figures(study, study.path / FIGURES)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for file in save_study_figures(study, Path(folder)):
                study.directory.write(f"{FIGURES}/{file.name}", file.read_bytes())


def _draw_and_record(study: Study) -> None:
    begun = time.perf_counter()
    draw_figures(study)
    study.info["timing"]["figures"] = time.perf_counter() - begun
    study.info["wall_time"] += study.info["timing"]["figures"]
    write_record(study.directory, study.info)
