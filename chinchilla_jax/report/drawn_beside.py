"""Processes beside a study: they draw a part of its figures and its page while this one draws the others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.directories import LocalDirectory, open_directory
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.side_process import SideProcess, is_worth_it, taken
from chinchilla_jax.study import Study, StudySpec, open_study
from chinchilla_jax.study.execution.executors import ExecutorChoice
from chinchilla_jax.study.execution.processes import side_processes
from chinchilla_jax.study.storage.record import read_record

if TYPE_CHECKING:
    from chinchilla_jax.report.content import Section
    from chinchilla_jax.study.derived import Derived

FORMATS = ("png", "pdf")
DPI = 200.0
_LEAST_FIGURES = 6  # for which it is worth to import everything twice
_LEAST_SWEEPS = 2  # whose study has as many
_MODULES = (  # that are imported when they are used
    "chinchilla_jax.plots.study", "pandas", "pyarrow.parquet", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf", "fontTools.subset", "PIL.PngImagePlugin",
)  # fmt: skip
_SHARES = "joint_"  # figures that share a table that takes longer than to draw them

Files = dict[str, bytes]


@contextlib.contextmanager
def processes_for(
    spec: StudySpec, out: str | os.PathLike[str], choice: ExecutorChoice, *, figures: bool
) -> Iterator[tuple[SideProcess, ...]]:
    """Processes that compute a study that is to be run, or one for its figures; none where not worth it.

    The imports of one for figures take a second, in which threads leave a core without work: before their
    first fits. Of processes that compute, the first draws afterwards.
    """
    computing = choice.executor == "processes" and choice.n_workers > 1
    # What is wrong with the arguments is for the study itself to say.
    large = isinstance(spec, StudySpec) and len(spec.sweeps) >= _LEAST_SWEEPS
    drawing = figures and large and is_worth_it()
    if not ((computing or drawing) and _is_to_run(out)):
        yield ()
    elif computing:
        with side_processes(choice.n_workers - 1) as processes:
            yield processes
    else:
        with SideProcess() as side:
            side.prepare(*_MODULES)
            yield (side,)


def _is_to_run(out: str | os.PathLike[str]) -> bool:
    try:
        directory = open_directory(out)
        return isinstance(directory, LocalDirectory) and bool(read_record(directory)["state"] != "complete")
    except FileNotFoundError:
        return True
    except (ChinchillaError, OSError, TypeError):
        return False


class Beside:
    """What a side process makes for the figures and the page of a study, while this one makes the rest.

    Args:
        side: the process; None for a new one, if that is worth it.
        working: ends the new one.
        page: whether the page will be written.
    """

    def __init__(self, side: SideProcess | None, working: contextlib.ExitStack, *, page: bool) -> None:
        """Nothing is asked for yet."""
        self._side, self._working, self._page = side, working, page
        self._sections: tuple[dict[str, Any], Future[list[Section]]] | None = None

    def figures(self, study: Study, names: Sequence[str]) -> Mapping[str, Future[Files]]:
        """The figures that it can draw, of these names, the last one first.

        It makes the page's own sections before them: they have figures too, which only the page has.
        """
        shared = [name for name in names if not name.startswith(_SHARES)]
        # A law of the user's own is a function that only this process knows; others can change a server's
        # files.
        if not isinstance(study.directory, LocalDirectory) or study.law is not None or not is_worth_it():
            return {}
        if self._side is None:
            if len(shared) < _LEAST_FIGURES:
                return {}
            self._side = self._working.enter_context(SideProcess())
        asked = study.directory.location, study.info
        if self._page:
            self._sections = study.info, self._side.submit(_sections_of, *asked)
        return {name: self._side.submit(_files_of, *asked, name) for name in reversed(shared)}

    def sections(self, study: Study, now: Derived) -> list[Section] | None:
        """The page's own sections, see `own_sections`; None if they are to be made here."""
        if self._sections is None or not now.illustrated or self._sections[0] != study.info:
            return None
        return taken(self._sections[1])


@functools.lru_cache(1)
def _opened(location: str) -> Study:
    return open_study(location)


def _study_of(location: str, record: dict[str, Any]) -> Study:
    study = _opened(location)
    if study.info != record:
        raise ValueError("another process has extended the study")
    return study


def _files_of(location: str, record: dict[str, Any], name: str) -> Files:
    """The files of a figure by name; none where there is nothing to show."""
    # Not loaded before a study's first fit.
    from chinchilla_jax.plots.save import figure_files
    from chinchilla_jax.plots.study import figure_makers

    figure = figure_makers(_study_of(location, record))[name]()
    return {} if figure is None else dict(figure_files([(name, figure)], dpi=DPI, formats=FORMATS))


def _sections_of(location: str, record: dict[str, Any]) -> list[Section]:
    """The page's own sections, with pictures; none where a page says why there are none."""
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.report.study_page import own_sections

    subject = Facts(_study_of(location, record)).subject
    return (
        []
        if isinstance(subject, ChinchillaError)
        else own_sections(dataclasses.replace(subject, pictures=True))
    )
