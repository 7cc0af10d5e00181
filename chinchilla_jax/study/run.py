"""Compute the tables of a study: fit the chunks that are missing, then summarise.

A study is never in the memory of one process: chunks are written to the directory as they are done, and
everything else is a function of its files. So a run can stop anywhere, and another run, or
several at once, can resume it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.laws import OwnLaw
from chinchilla_jax.study.chunks import Shard
from chinchilla_jax.study.execution.executors import ExecutorChoice
from chinchilla_jax.study.result import Study, hold_tables, open_study
from chinchilla_jax.study.session import Session
from chinchilla_jax.study.spec.study_spec import StudySpec


def compute_study(
    spec: StudySpec,
    out: str | os.PathLike[str],
    choice: ExecutorChoice,
    reporter: Progress,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> Study:
    """Compute and summarise what is missing of `spec` in `out`; raises what `run_study` does.

    `meanwhile` is called in a thread of its own once chunks come in, when processors have little to do for
    Python: what the caller will need afterwards. Its errors are lost.
    """
    session = Session(spec, out, reporter)
    missing = session.missing()
    if missing or not session.is_complete():
        session.run(missing, choice, finish=True, meanwhile=meanwhile)
        study = open_study(out, law=_own(spec))
        hold_tables(study, session.written)
        return study
    reporter.note(f"{session.directory}: this study is complete; nothing to compute")
    study = open_study(out, law=_own(spec))
    study.reused = True
    return study


def _own(spec: StudySpec) -> OwnLaw | None:
    return spec.law if isinstance(spec.law, OwnLaw) else None


def compute_shard(
    spec: StudySpec, out: str | os.PathLike[str], shard: Shard, choice: ExecutorChoice, reporter: Progress
) -> None:
    """Fit what is missing of one shard of a study, without summarising it."""
    session = Session(spec, out, reporter)
    mine = set(shard.of(session.store.chunks))
    missing = [chunk for chunk in session.missing() if chunk in mine]
    session.run(missing, choice, finish=False)
