"""Run a study: the engine computes its tables; its figures and its page are made from them here."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import Executor
from pathlib import Path

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import Progress, resolve
from chinchilla_jax.report.page import add_report
from chinchilla_jax.study import (
    Shard,
    Study,
    StudySpec,
    StudyStatus,
    compute_shard,
    compute_study,
    study_status,
)
from chinchilla_jax.study.claim import write_record
from chinchilla_jax.study.files import Directory, LocalDirectory, open_directory


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
    """Run `spec` and write the result to the directory `out`, or go on with what is there.

    The numbers depend on the spec, the data and the versions of the libraries, and on nothing else: not on
    who does the work, nor on how often it was broken off. Several processes may run one study into one
    directory.

    Args:
        spec: what to run.
        out: a directory that is new, empty, or holds this study: unfinished, which is gone on with; with
            fewer resamples, which are kept; or finished, which is opened (`Study.reused`). A path, or a URL
            that fsspec knows, such as "s3://bucket/study".
        progress: None is silent, "auto" shows a bar where stderr is a terminal.
        figures: whether to draw the figures.
        workers: pieces in work at the same time; None for one per core.
        executor: who does the work: "threads" of this process (None), "dask", or any
            `concurrent.futures.Executor`, which is left open.
        scheduler: address of a Dask scheduler; None starts one on this machine.

    Raises:
        UsageError: `out` holds something else, or an argument has no meaning.
        DataError: the data cannot be read or used.
        ChinchillaError: the directory cannot be written; what has been written stays.
    """
    reporter = resolve(progress)
    with reporter:
        study, session = compute_study(
            spec, out, reporter, workers=workers, executor=executor, scheduler=scheduler
        )
        if figures and "figures" not in study.info["timing"]:
            reporter.note(f"{session.directory}: tables complete, drawing figures")
            with session.explaining():
                _draw_figures(study, session.directory)
        if isinstance(session.directory, LocalDirectory):
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
    """Do one part of a study; the shard that ends last also summarises it.

    Shards need not know of each other, nor run at the same time; they share the directory alone. The
    arguments are those of `run_study`.

    Returns:
        How far the whole study has come.
    """
    reporter = resolve(progress)
    with reporter:
        compute_shard(spec, out, shard, reporter, workers=workers, executor=executor, scheduler=scheduler)
    status = study_status(out)
    if status.pieces_done == status.pieces and status.state != "complete":
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
    """Summarise a study of which all pieces are there, as after the last of its shards.

    Raises:
        UsageError: no study is there, or pieces are missing.
        DataError: a piece is damaged, or the data have changed.
    """
    directory = open_directory(out)
    status = study_status(out)
    if status.pieces_done < status.pieces:
        raise UsageError(
            f"{directory}: {status.pieces - status.pieces_done:,} of {status.pieces:,} pieces are missing; "
            "run the study into this directory, all of it or the missing shards"
        )
    return run_study(status.spec, out, progress=progress, figures=figures, workers=workers)


def _draw_figures(study: Study, directory: Directory) -> None:
    from chinchilla_jax.plots import save_study_figures

    begun = time.perf_counter()
    if isinstance(directory, LocalDirectory):
        save_study_figures(study, directory.path / "figures")
    else:
        with tempfile.TemporaryDirectory() as folder:
            for file in save_study_figures(study, Path(folder)):
                directory.write(f"figures/{file.name}", file.read_bytes())
    study.info["timing"]["figures"] = time.perf_counter() - begun
    study.info["wall_time"] += study.info["timing"]["figures"]
    write_record(directory, study.info)
