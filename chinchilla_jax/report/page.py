"""Pages as self-contained files, and report.html, made from a finished study directory alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.directories import Directory, LocalDirectory, open_file
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.part_files import checksum
from chinchilla_jax._util.text import visible
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.multiverse_page import multiverse_page
from chinchilla_jax.report.study_page import study_page
from chinchilla_jax.report.subject import subject_of
from chinchilla_jax.report.table_page import table_page
from chinchilla_jax.study import Study
from chinchilla_jax.study.derived import PAGE, Derived, look, write_derived
from chinchilla_jax.study.derived import Page as PageRecord
from chinchilla_jax.study.environment import drawn_by
from chinchilla_jax.study.multiverse.result import MultiverseResult

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.report.content import Page, Section

_SCRIPTS = (  # one scope, in this order
    "page.js", "numbers.js", "axes.js", "chart.js", "controls.js", "explorer.js", "runs.js", "start.js",
)  # fmt: skip


def write_report(
    source: Study | BootstrapResult | MultiverseResult | TableLike,
    path: str | os.PathLike[str] | None = None,
    *,
    flops: ArrayLike = (),
    level: float = 0.8,
) -> Path | str:
    """Write the page of a study, a multiverse, a bootstrap, or a table of runs, which is bootstrapped first.

    The page needs no network: pictures, style and scripts are embedded. That of a study shows the figures and
    tables of its directory, and any further table in its summary folder; the same directory gives the same
    page.

    Args:
        source: a study, as from `open_study` or `run_study`; what `multiverse` or `bootstrap` returned; or
            anything that `load_runs` takes.
        path: the file to write or replace, or its URL; None for report.html in the study's directory. Links
            to tables and vector figures of a study are relative to this path where both are on this machine.
        flops: budgets (FLOP) to prescribe for, the first in the answer; none for the compute of the largest
            run. Not for a study or a multiverse, which have their own.
        level: share of the resamples inside an interval. Not for a study or a multiverse, which have their
            own.

    Returns:
        The file: a path, or a URL.

    Raises:
        ImportError: jinja2 is not installed.
        DataError: the table cannot be read, or a table of the study is torn.
        UsageError: no path is given for a page that is not a study's, or the bootstrap carries no runs.
        OSError: the file cannot be written.

    Example:
        >>> path = cj.write_report(cj.open_study("study"))
        >>> path.name
        'report.html'
    """
    if not isinstance(source, Study):
        return _write_page_of(source, path, flops, level)
    folder, name = (source.directory, PAGE) if path is None else open_file(path)
    base = _way(source.directory, folder)
    if not base and name == PAGE:
        return write_page(source, look(source.directory, source.info))
    return write_text(folder, name, render(source, base))


def _write_page_of(
    source: BootstrapResult | MultiverseResult | TableLike,
    path: str | os.PathLike[str] | None,
    flops: ArrayLike,
    level: float,
) -> Path | str:
    if path is None:
        raise UsageError("write_report: no path; give the file to write, such as report.html")
    folder, name = open_file(path)
    if isinstance(source, MultiverseResult):
        return write_text(folder, name, render_multiverse(source))
    boot = source if isinstance(source, BootstrapResult) else bootstrap(source)
    return write_text(folder, name, html(table_page(subject_of(boot, flops=flops, level=level))))


def render_multiverse(found: MultiverseResult) -> str:
    """The page of a multiverse as text.

    Raises:
        ImportError: jinja2 is not installed.
    """
    return html(multiverse_page(found))


def write_page(study: Study, now: Derived, own: Sequence[Section] | None = None) -> Path | str:
    """Write the page of a study into its directory, and record what it was made from.

    Args:
        study: as in `write_report`.
        now: what is known of its figures and its page.
        own: its own sections where they have been made already, see `study_page`.

    Returns:
        The file: a path, or a URL.
    """
    directory = study.directory
    content = _encoded(html(study_page(Facts(study, now), own)))
    directory.write(PAGE, content, checked_later=True)
    write_derived(directory, now.figures, PageRecord(now.page_inputs, drawn_by(), checksum(content)))
    return directory.path / PAGE if isinstance(directory, LocalDirectory) else directory.at(PAGE)


def write_text(folder: Directory, name: str, page: str) -> Path | str:
    """Write a page, or replace it; the file, as a path or a URL."""
    content = _encoded(page)
    if not isinstance(folder, LocalDirectory):
        folder.write(name, content)
        return folder.at(name)
    target = folder.path / name
    with atomic_write(target) as stream:
        stream.write(content)
    return target


def _encoded(page: str) -> bytes:
    # The file name of a table need not be UTF-8.
    return page.encode("utf-8", errors="backslashreplace")


def render(study: Study, base: str = "") -> str:
    """The page as text.

    Args:
        study: as in `write_report`.
        base: the relative path from the page to the study directory, "" or with a trailing slash.

    Raises:
        ImportError: jinja2 is not installed.
        DataError: a table of the study is torn.
    """
    return html(study_page(Facts(study)), base)


def html(page: Page, base: str = "") -> str:
    """A page as the text of one self-contained file.

    Args:
        page: what it shows.
        base: as in `render`.

    Raises:
        ImportError: jinja2 is not installed.
    """
    template = page_template()
    js = "\n".join(map(_asset, _SCRIPTS))
    own = {"css": _asset("page.css"), "js": js, "base": base}
    return str(template.render(page=page, **own))


def page_template() -> Any:
    """The template of a page, compiled, and what it imports; the environment keeps both.

    Raises:
        ImportError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise ImportError("the report needs jinja2: pip install jinja2") from error
    _environment().get_template("macros.html")
    return _environment().get_template("page.html")


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        # Whatever a user's file contains is text on the page, never markup.
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    """Characters that do not print, such as marks that turn a line around, as escapes."""
    return visible(value, "\n\t") if isinstance(value, str) and not hasattr(value, "__html__") else value


def _asset(name: str) -> str:
    return (resources.files("chinchilla_jax.report") / "assets" / name).read_text(encoding="utf-8")


def _way(directory: Directory, start: Directory) -> str:
    """What leads from a page in `start` to the files of `directory`: "", or with a trailing slash."""
    if directory.location == start.location:
        return ""
    if not (isinstance(directory, LocalDirectory) and isinstance(start, LocalDirectory)):
        return directory.at("") if not isinstance(directory, LocalDirectory) else f"{_uri(directory)}/"
    try:
        way = os.path.relpath(directory.path.resolve(), start.path.resolve())
    except ValueError:  # two drives of Windows
        return f"{_uri(directory)}/"
    return "" if way == os.curdir else f"{Path(way).as_posix()}/"


def _uri(directory: LocalDirectory) -> str:
    return directory.path.resolve().as_uri()
