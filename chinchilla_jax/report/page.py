"""report.html: one self-contained file, made from a finished study directory alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.directories import Directory, LocalDirectory, open_file
from chinchilla_jax._util.part_files import checksum
from chinchilla_jax._util.text import duration_text, size_text, visible
from chinchilla_jax.plots.sweeps import SWEEPS
from chinchilla_jax.report import curves, tables
from chinchilla_jax.report.answer import answer, key_figures, plain_text
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.figures import page_figures, section_of
from chinchilla_jax.study import Study, StudySpec
from chinchilla_jax.study.derived import PAGE, Derived, Page, look, write_derived
from chinchilla_jax.study.environment import drawn_by
from chinchilla_jax.study.spec.reproduce import spec_toml, study_command


def write_report(study: Study, path: str | os.PathLike[str] | None = None) -> Path | str:
    """Write the page of a finished study.

    The page needs no network: pictures, style and scripts are embedded. It shows the figures and tables of
    the study directory, and any further table in its summary folder. The same directory gives the same page.

    Args:
        study: as from `open_study` or `run_study`.
        path: the file to write or replace, or its URL; None for report.html in the study directory. Links to
            tables and vector figures are relative to this path where both are on this machine.

    Returns:
        The file: a path, or a URL.

    Raises:
        ImportError: jinja2 is not installed.
        DataError: a table of the study is torn.
        OSError: the file cannot be written.
    """
    folder, name = (study.directory, PAGE) if path is None else open_file(path)
    base = _way(study.directory, folder)
    if not base and name == PAGE:
        return write_page(study, look(study.directory, study.info))
    return write_text(folder, name, render(study, base))


def write_page(study: Study, now: Derived) -> Path | str:
    """Write the page of a study into its directory, and record what it was made from.

    Args:
        study: as in `write_report`.
        now: what is known of its figures and its page.

    Returns:
        The file: a path, or a URL.
    """
    directory = study.directory
    content = _encoded(_rendered(Facts(study, now), ""))
    directory.write(PAGE, content, checked_later=True)
    write_derived(directory, now.figures, Page(now.page_inputs, drawn_by(), checksum(content)))
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
    return _rendered(Facts(study), base)


def _rendered(facts: Facts, base: str) -> str:
    return fill("page.html", _context(facts), base)


def fill(template: str, context: Mapping[str, Any], base: str = "") -> str:
    """A page of this room's look, from one of its templates.

    Args:
        template: a file of the assets.
        context: what it shows.
        base: as in `render`.

    Raises:
        ImportError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise ImportError("the report needs jinja2: pip install jinja2") from error
    own = {"css": _asset("page.css"), "js": _asset("page.js"), "base": base}
    return str(_environment().get_template(template).render(context, **own))


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


def _context(facts: Facts) -> dict[str, Any]:
    study = facts.study
    figures = page_figures(facts)
    placed: dict[str, list[Any]] = {}
    for figure in figures.values():
        placed.setdefault(section_of(figure, facts), []).append(figure)
    sentences = answer(facts)
    trends = tables.trends(facts) if facts.families else None
    return {
        "title": f"Scaling law of {study.spec.data}",
        "description": plain_text(sentences[0]),
        "answer": sentences,
        "key_figures": key_figures(facts),
        "facts": facts,
        "info": study.info,
        "spec": study.spec,
        "objective": _objective(study.spec),
        "wall_time": duration_text(float(study.info["wall_time"] or 0.0)),
        "peak_memory": size_text(study.info["peak_memory"]) if study.info.get("peak_memory") else "",
        "n_runs": int(facts.conditions["n_runs"].max()),
        "statuses": tables.statuses(facts),
        "failures": tables.failures(facts),
        "at_budget": tables.at_budget(facts),
        "unperturbed": {
            "figures": _in_order(placed.get("unperturbed", [])),
            "explorer": curves.unperturbed_explorer(facts),
            "tables": [
                tables.unperturbed_params(facts),
                tables.unperturbed_ratios(facts),
                # A slope needs two budgets.
                *([tables.slopes(facts)] if len(set(study.spec.flops)) > 1 else []),
            ],
        }
        if len(facts.countings)
        else None,
        "perturbations": placed.get("perturbations", []),
        "families": [_family(facts, family, placed.get(family, [])) for family in facts.families],
        "trends": trends if trends is not None and trends.rows else None,
        "other_figures": placed.get("others", []),
        "other_tables": tables.other_tables(facts),
        "command": study_command(study.spec),
        "spec_toml": spec_toml(study.spec),
    }


def _family(facts: Facts, family: str, figures: list[Any]) -> dict[str, Any]:
    return {
        "id": family,
        "title": SWEEPS[family].title if family in SWEEPS else family,
        "figures": _in_order(figures),
        "explorer": curves.family_explorer(facts, family),
        "tables": [tables.family_ratios(facts, family), tables.family_params(facts, family)],
    }


def _objective(spec: StudySpec) -> str:
    """The objective with its numbers, and the other objectives of the point fits."""
    numbers = [
        f"{name} {value:g}" for name in ("delta", "penalty") if (value := getattr(spec, name)) is not None
    ]
    others = [each.name for each in spec.point_estimators if each.name != spec.objective]
    return ", ".join([spec.objective, *numbers, *(f"point fits also by {name}" for name in others)])


def _in_order(figures: list[Any]) -> list[Any]:
    """The prescriptions first, which readers look for."""
    return sorted(figures, key=lambda figure: not figure.name.startswith("tokens_per_param"))
