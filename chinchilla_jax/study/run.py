"""Computing the tables of a study: what is missing is fitted, and once nothing is, it is summarised.

A study is never in one process's memory: pieces go to the directory as they come, and everything else is a
function of what is there. So a run can end anywhere, and another, or many at a time, can resume it.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.study.checks import whole
from chinchilla_jax.study.executors import check_executor
from chinchilla_jax.study.plan import Shard
from chinchilla_jax.study.session import Session
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.store import Study, open_study


def compute_study(
    spec: StudySpec,
    out: str | os.PathLike[str],
    reporter: Progress,
    *,
    workers: int | None = None,
    executor: Executor | str | None = None,
    scheduler: str | None = None,
) -> tuple[Study, Session]:
    """Compute and summarise what is missing of `spec` in `out`; the arguments are those of `run_study`.

    Returns:
        The study, and the session that holds its directory.
    """
    check_executor(executor, scheduler)
    workers = _workers(workers)
    session = Session(spec, out, reporter)
    missing = session.missing()
    if missing or not session.is_complete():
        session.run(missing, executor=executor, scheduler=scheduler, workers=workers, finish=True)
        return open_study(out), session
    reporter.note(f"{session.directory}: this study is complete; nothing to compute")
    study = open_study(out)
    study.reused = True
    return study, session


def compute_shard(
    spec: StudySpec,
    out: str | os.PathLike[str],
    shard: Shard,
    reporter: Progress,
    *,
    workers: int | None = None,
    executor: Executor | str | None = None,
    scheduler: str | None = None,
) -> None:
    """Fit what is missing of one part of a study, without summarising it."""
    check_executor(executor, scheduler)
    workers = _workers(workers)
    session = Session(spec, out, reporter)
    mine = set(shard.of(session.store.pieces))
    missing = [piece for piece in session.missing() if piece in mine]
    session.run(missing, executor=executor, scheduler=scheduler, workers=workers, finish=False)


def _workers(given: int | None) -> int:
    return available_cores() if given is None else whole("workers", given, low=1)
