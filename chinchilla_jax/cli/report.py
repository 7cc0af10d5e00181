"""`chinchilla-jax report`: the page of a finished study, or of a table of runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.progress_bar import resolve
from chinchilla_jax._util.text import size_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.bootstrap import priced
from chinchilla_jax.cli.costs import cost_option, read_cost
from chinchilla_jax.cli.fit import require_certified
from chinchilla_jax.cli.fit_options import (
    Solver,
    law_options,
    objective_options,
    solver_options,
    weights_option,
)
from chinchilla_jax.cli.options import (
    boundary_option,
    flops_option,
    level_option,
    quiet_option,
    refuse_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import Resampling, resampling_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax._util.directories import Directory
    from chinchilla_jax._util.side_process import SideProcess
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.report.content import Sentence

_OF_STUDIES = ("data", "out", "quiet")  # what the page of a study takes


@click.command("report")
@table_options(together=True, also="Or the directory of a finished study, or its URL.")
@click.option(
    "--out",
    metavar="FILE",
    show_default="report.html in the study's directory, or NAME.report.html for a table",
    help="Page to write: a path or URL.",
)
@flops_option("Training compute (FLOP) to prescribe for; the answer is at the first")
@resamples_option()
@seed_option()
@level_option
@resampling_options()
@boundary_option
@cost_option
@law_options
@objective_options
@weights_option
@solver_options
@quiet_option
def report_command(table: Table, out: str | None, **asked: Any) -> None:
    """Write one page: of a table of runs, or of a study.

    One self-contained file with the answer, figures and tables. A table is fitted and bootstrapped first. A
    study is not fitted again; figures in its directory that are missing, damaged or of earlier tables are
    drawn first.
    """
    if _is_study(table.data):
        refuse_options(
            lambda name: name not in _OF_STUDIES,
            f"{table.data} is the directory of a study, which is not fitted again; leave the option out",
        )
        _report_study(table.data, out)
        return
    with _side_process(asked["law"]) as side:
        for name, each in table.interpretations.items():
            _report_table(each, page_of(each.data, out, name), side, **asked)


@contextlib.contextmanager
def _side_process(law: Law) -> Iterator[SideProcess | None]:
    """One that fits other laws meanwhile, where it has a core; its imports take as long as these."""
    from chinchilla_jax._util.side_process import SideProcess, is_worth_it

    if not (is_worth_it() and law.name == "chinchilla"):
        yield None
        return
    with SideProcess() as side:
        side.prepare("chinchilla_jax.report.sections.sure", "chinchilla_jax.solvers.jax_newton.compiled")
        yield side


def _is_study(data: str) -> bool:
    """Whether what is given is the directory of a study, by its study.json.

    Raises:
        UsageError: an embedded table has this name too, or the directory is that of a multiverse.
    """
    from chinchilla_jax._util.directories import LocalDirectory, open_directory
    from chinchilla_jax.study.multiverse.store import KIND
    from chinchilla_jax.study.storage.record import RECORD

    if data == "-":
        return False
    directory = open_directory(data)
    if not isinstance(directory, LocalDirectory) and "." in data.rpartition("/")[2]:
        return False  # a file on a server
    found = directory.exists(RECORD)
    if not found and data not in choices.DATASETS and directory.exists(f"{KIND}.json"):
        raise UsageError(
            f"{data} holds the answers of a multiverse; give chinchilla-jax multiverse the table and options "
            "that it was made with, --out and --page FILE: it writes the page and fits nothing again"
        )
    if found and data in choices.DATASETS:
        raise UsageError(
            f"{data} is an embedded table and a directory with a study; give ./{data} for the study, or move "
            "one directory up for the table"
        )
    return found


def _report_study(location: str, out: str | None) -> None:
    from chinchilla_jax import open_study
    from chinchilla_jax._util.directories import open_file
    from chinchilla_jax.report import remake, write_report
    from chinchilla_jax.report.answer import answer
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.study.derived import PAGE

    opened = open_study(location)
    folder, name = open_file(out) if out else (opened.directory, PAGE)
    _require_folder(folder, out)
    with resolve("auto") as reporter:
        opened = remake(opened, reporter, page=False)
        path = write_report(opened, out)
        if out is None:
            opened = remake(opened, reporter)  # in case another process has extended the study meanwhile
    _print(answer(Facts(opened)), path, folder, name)


def page_of(data: str, out: str | None, counting: str) -> str:
    """The page of a table: --out, or one beside the caller; of several countings, each has its own."""
    if out is None:
        stem = "table" if data == "-" else Path(data.rstrip("/").rpartition("/")[2]).stem
        out = f"{stem}.report.html"
    stem, suffix = os.path.splitext(out)
    return f"{stem}.{counting}{suffix}" if counting else out


def _report_table(
    table: Table,
    out: str,
    side: SideProcess | None,
    *,
    flops: tuple[float, ...],
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    boundary: str,
    cost: str | None,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    solver: Solver,
) -> None:
    from chinchilla_jax._util.directories import open_file
    from chinchilla_jax.report.page import html, write_text
    from chinchilla_jax.report.subject import subject_of
    from chinchilla_jax.report.table_page import answer, table_page

    folder, name = open_file(out)
    _require_folder(folder, out)
    asked, options = read_cost(cost), solver.options(law, objective)
    try:
        runs = resampling.read_runs(table.for_laws(law))
    except DataError as error:
        if os.path.isdir(table.data):
            raise DataError(f"{error} (nor is it the directory of a study: it has no study.json)") from None
        raise
    own = table.read_weights(weights, runs)
    boot = resampling.bootstrap(
        runs, law, resamples=resamples, seed=seed, objective=objective, weights=own, solver=solver.name,
        boundary=boundary, options=options,
    )  # fmt: skip
    subject = subject_of(priced(boot, asked, runs), flops=flops, level=level)
    path = write_text(folder, name, html(table_page(subject, side)))
    top = answer(subject)
    output.print_runs(runs)
    _print([*top.paragraphs, *top.notes], path, folder, name)
    require_certified(boot.point, said=True)


def _require_folder(folder: Directory, out: str | None) -> None:
    from chinchilla_jax._util.directories import LocalDirectory

    if isinstance(folder, LocalDirectory) and not folder.path.is_dir():
        raise UsageError(f"--out {out}: no directory {str(folder)!r}; create it, or give another path")


def _print(sentences: Sequence[Sentence], path: Path | str, folder: Directory, name: str) -> None:
    from chinchilla_jax.report.content import plain_text

    for sentence in sentences:
        output.print_paragraph(plain_text(sentence))
    output.echo()
    output.echo(f"{path}: {size_text(folder.list_files('')[name].size)}")
