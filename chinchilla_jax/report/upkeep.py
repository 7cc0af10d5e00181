"""Bring the figures and the page of a study up to date: make what is missing, damaged or of other tables."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from chinchilla_jax._util.directories import one_line_disk_errors
from chinchilla_jax._util.errors import ChinchillaError, DataError
from chinchilla_jax._util.part_files import checksum
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax._util.side_process import SideProcess, taken
from chinchilla_jax.plots.save import figure_files
from chinchilla_jax.plots.study import figure_makers
from chinchilla_jax.report.drawn_beside import DPI, FORMATS, Beside
from chinchilla_jax.report.page import write_page
from chinchilla_jax.study import Study, open_study
from chinchilla_jax.study.derived import FIGURES, PAGE, Derived, Figures, look, write_derived
from chinchilla_jax.study.environment import drawn_by
from chinchilla_jax.study.storage.heartbeat import heartbeat
from chinchilla_jax.study.storage.record import read_existing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROUNDS = 10  # of drawing and writing; two are enough where no other process changes the directory


def remake(
    study: Study,
    reporter: Progress,
    *,
    figures: bool = True,
    page: bool = True,
    side: SideProcess | None = None,
) -> Study:
    """Make the figures and the page of a study that are not what they should be, and nothing else.

    Several processes may do this at the same time: each looks again after it has written, so that what the
    last of them leaves shows the tables that are there.

    Args:
        study: finished.
        reporter: shows notes.
        figures: whether to draw figures; without, those of earlier tables are removed.
        page: whether to write the page. Without jinja2 it is left out, with a note.
        side: makes a part of both; None starts a process if that is worth it.

    Returns:
        The study as it is at the end: another process may have extended it meanwhile.

    Raises:
        DataError: a table of the study is torn, or the data that a figure shows are gone.
        ChinchillaError: something cannot be written, or the page cannot be made; what is there is kept.
    """
    directory = study.directory
    with one_line_disk_errors(directory), contextlib.ExitStack() as working:
        beside = Beside(side, working, page=page)
        for number in range(_ROUNDS):
            record = read_existing(directory)
            if record != study.info:
                if record["state"] != "complete":
                    reporter.note(f"{directory}: another process extends this study, and draws it afterwards")
                    return study
                study, reused = open_study(directory.location, law=study.law), study.reused
                study.reused = reused
            now = look(directory, study.info)
            step = _next_step(now, figures=figures, page=page)
            if step is None:
                return study
            if number == 0:
                working.enter_context(heartbeat(directory))
                directory.clean_up((FIGURES,))
            try:
                if not step(study, now, reporter, beside):
                    return study
            except DataError:
                if read_existing(directory) == record:
                    raise
                # Another process replaced the tables while they were read.
    raise ChinchillaError(
        f"{directory}: figures and page keep changing while they are written; wait for the other processes "
        f"that draw them, then: chinchilla-jax report {directory}"
    )


_Step = Callable[[Study, Derived, Progress, Beside], bool]


def _next_step(now: Derived, *, figures: bool, page: bool) -> _Step | None:
    """What to do first; None where nothing is left to do. A step returns whether there may be another."""
    current = now.current
    if figures and not (current and current.whole and current.made_by == drawn_by()):
        return _draw_all
    if now.lost or not current:
        return _draw_lost if figures else _remove_stale
    if page and not (now.page_holds and now.page and now.page.made_by == drawn_by()):
        return _write_page
    return None


def _draw_all(study: Study, now: Derived, reporter: Progress, beside: Beside) -> bool:
    reporter.note(f"{study.directory}: tables complete, drawing figures")
    return _draw(study, now, {}, beside)


def _draw_lost(study: Study, now: Derived, reporter: Progress, beside: Beside) -> bool:
    for name in now.lost:
        reporter.note(f"{study.directory.at(f'{FIGURES}/{name}')}: missing or damaged, will be drawn again")
    return _draw(study, now, now.drawn, beside)


def _draw(study: Study, now: Derived, kept: Mapping[str, str], beside: Beside) -> bool:
    """Draw every figure of which a file is not in `kept`, and record them all."""
    begun = time.perf_counter()
    directory, files = study.directory, dict(kept)
    makers = {
        name: draw
        for name, draw in figure_makers(study).items()
        if any(f"{name}.{extension}" not in kept for extension in FORMATS)
    }
    written: list[Future[None]] = []

    def write(name: str, content: bytes) -> None:
        if name not in kept:
            files[name] = checksum(content)
            place = f"{FIGURES}/{name}"
            written.append(pool.submit(directory.write, place, content, checked_later=True))

    def drawn() -> Iterator[tuple[str, Figure]]:
        # First what is drawn here alone.
        for name in sorted(makers, key=others.__contains__):
            found = taken(others.get(name))
            if found is not None:
                for each in found.items():
                    write(*each)
            elif (figure := makers[name]()) is not None:
                yield name, figure

    # A disk or a server takes its time to have a file, in which the next figure can be drawn.
    pool = ThreadPoolExecutor(1, thread_name_prefix="figures")
    try:
        others = beside.figures(study, list(makers))
        for name, content in figure_files(drawn(), dpi=DPI, formats=FORMATS):
            write(name, content)
        for each in written:
            each.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for name in set(now.figures.files if now.figures else ()) - set(files):
        directory.remove(f"{FIGURES}/{name}")
    seconds = time.perf_counter() - begun
    write_derived(directory, Figures(now.figure_inputs, drawn_by(), True, files, seconds), now.page)
    return True


def _remove_stale(study: Study, now: Derived, reporter: Progress, beside: Beside) -> bool:
    """Remove the figures of other tables, and forget the lost ones: the study is to do without."""
    for name in set(now.figures.files if now.figures else ()) - set(now.drawn):
        study.directory.remove(f"{FIGURES}/{name}")
    by = now.figures.made_by if now.figures and now.drawn else drawn_by()
    write_derived(study.directory, Figures(now.figure_inputs, by, False, now.drawn), now.page)
    return True


def _write_page(study: Study, now: Derived, reporter: Progress, beside: Beside) -> bool:
    """Write the page; returns False where jinja2 is not installed."""
    where = study.directory.at(PAGE)
    try:
        write_page(study, now, beside.sections(study, now))
    except ImportError as error:
        reporter.note(f"{where}: not written ({error})")
        return False
    except (ChinchillaError, OSError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ChinchillaError(f"{where}: not written ({reason}); tables and figures are complete") from error
    return True
