"""`chinchilla-jax study`: run a robustness study into a directory, and ask about one."""

from __future__ import annotations

import dataclasses
import functools
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import ChinchillaError, UsageError, closest
from chinchilla_jax._util.limits import RESAMPLES, WORKERS
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.atlas import NAME as ATLAS
from chinchilla_jax.cli.atlas import (
    atlas_line,
    holds_atlas,
    print_atlas,
    print_atlas_status,
    print_check,
    read_atlas,
)
from chinchilla_jax.cli.ending import say_if_interrupted
from chinchilla_jax.cli.fit_options import engine_option, law_option, read_laws
from chinchilla_jax.cli.groups import OrderedGroup
from chinchilla_jax.cli.options import bundle, quiet_option, shown_place
from chinchilla_jax.cli.own_code import names_code
from chinchilla_jax.cli.study_plan import Announced, default_data_remark, plan_line
from chinchilla_jax.cli.study_text import print_status, print_study
from chinchilla_jax.cli.table_options import ROW_OPTIONS, Table, column_option

if TYPE_CHECKING:
    from chinchilla_jax import StudySpec
    from chinchilla_jax.study import Shard
    from chinchilla_jax.study.atlas import AtlasSpec

_RUN = "run"
_COUNT_SECONDS = 0.4  # for a server to say how many chunks are kept, to a user who waits after Ctrl-C
_RESUME = "rerun the same command to resume"

_spec_argument = click.argument(
    "spec",
    help="paper (the published study), atlas (the same on every embedded table), or the path or URL of a "
    "TOML file.",
)
_directory_argument = click.argument("directory", metavar="DIR", help="Directory of a study, or its URL.")
_resamples_option = click.option(
    "--resamples",
    type=choices.WholeNumber(1, RESAMPLES),
    metavar="R",
    show_default="as in the spec",
    help="Bootstrap resamples per condition.",
)
_seed_option = click.option(
    "--seed",
    type=choices.WholeNumber(),
    metavar="S",
    show_default="as in the spec",
    help="Seed of all randomness.",
)
_law_option = law_option("Law to fit instead", show_default="as in the spec")
_table_option = click.option(
    "--table", metavar="NAME", multiple=True, help="Table of the atlas; repeatable.  [default: all]"
)
_workers_option = click.option(
    "--workers",
    type=choices.WholeNumber(1, WORKERS),
    metavar="W",
    show_default="to suit the executor",
    help="Chunks computed at the same time.",
)
_figures_option = click.option("--figures/--no-figures", default=True, help="Draw the figures.")


class _StudyGroup(OrderedGroup):
    """`study SPEC ...` is short for `study run SPEC ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `run` before a spec, or before an option of `run`."""
        if args and args[0] not in (*self.commands, "--help"):
            # A misspelt subcommand is left for `resolve_command` to report.
            misspelt = not args[0].endswith(".toml") and closest(args[0], self.commands)
            args = args if misspelt else [_RUN, *args]
        return super().parse_args(ctx, args)


@click.group("study", cls=_StudyGroup)
def study_command() -> None:
    """Run a robustness study into a directory: study SPEC --out DIR.

    SPEC is paper (the published study), atlas (the same on every embedded table, side by side) or a TOML
    file; for its options see study run --help. If DIR already
    holds part of this study, the run resumes; a finished study is opened without recomputing anything.
    """


@study_command.command(_RUN)
@_spec_argument
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    help="Directory for the results, created if needed: a path, or a URL such as s3://bucket/study.",
)
@_law_option
@_resamples_option
@_seed_option
@_table_option
@engine_option
@_workers_option
@_figures_option
@click.option(
    "--executor",
    type=choices.Name(choices.EXECUTORS),
    metavar="NAME",
    default=None,
    show_default="to suit the study",
    help="Where chunks run: threads, processes, dask, or jax (its multi-host runtime).",
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Address of the Dask scheduler, such as tcp://10.0.0.1:8786."
)
@click.option(
    "--reproducible",
    is_flag=True,
    help="The same bits on every x86-64 Linux machine with the same versions, for a third more time.",
)
@click.option("--shard", metavar="I/N", help="Do only part I of N, such as 3/40.")
@quiet_option
def run_command(
    spec: str,
    out: str,
    law: str | None,
    resamples: int | None,
    seed: int | None,
    table: tuple[str, ...],
    engine: str,
    workers: int | None,
    figures: bool,
    executor: str | None,
    scheduler: str | None,
    reproducible: bool,
    shard: str | None,
) -> None:
    """Run or resume a study.

    Bootstraps every condition and writes tables, figures and a page. If interrupted, rerun the same command
    to resume; rerun with a larger --resamples to extend.
    """
    from chinchilla_jax.study import Shard, StudySpec

    part = None if shard is None else Shard.parse(shard)
    asked = _read_any(
        spec, table, law=law, resamples=resamples, seed=seed, engine=engine, reproducible=reproducible
    )
    options: dict[str, Any] = {"figures": figures, "workers": workers, "scheduler": scheduler}
    if isinstance(asked, StudySpec):  # the atlas loads far more than a study needs before its first fit
        _restart_if_reproducible(asked)
        options["progress"] = Announced(functools.partial(plan_line, spec, asked, workers))
    else:
        output.echo(atlas_line(asked))
        sys.stdout.flush()
    say_if_interrupted(f"{shown_place(out)}: interrupted; the chunks that were written are kept; {_RESUME}")
    try:
        if executor == "jax":
            from chinchilla_jax.study.execution.multihost import join

            part = join(part)
            executor = None
        if executor == "dask":
            from chinchilla_jax.study.execution.dask_logs import quiet_until_the_end

            quiet_until_the_end()
        _run(asked, out, part, executor=executor, **options)
    except KeyboardInterrupt:
        raise _interrupted(out) from None


def _run(asked: StudySpec | AtlasSpec, out: str, part: Shard | None, **options: Any) -> None:
    """Run a study or an atlas, or one shard of it, and print what there is."""
    from chinchilla_jax import report
    from chinchilla_jax.study import StudySpec

    done = f"shard {part} done"
    if isinstance(asked, StudySpec):
        if part is None:
            print_study(report.run_study(asked, out, **options))
        else:
            print_status(report.run_shard(asked, out, part, **options), done)
    elif part is None:
        print_atlas(report.run_atlas(asked, out, **options))
    else:
        print_atlas_status(report.run_atlas_shard(asked, out, part, **options), done)


@study_command.command("init")
@click.argument("path", metavar="[FILE]", default="study.toml", help="The file to write.")
@click.option(
    "--data",
    metavar="DATA",
    default="chinchilla",
    help="Table to study: chinchilla, llama3, or the path or URL of a table.",
)
@law_option("Law to fit", default="chinchilla")
@column_option
@bundle("rows", dict, ROW_OPTIONS)
@quiet_option
def init_command(path: str, data: str, law: str, column: tuple[str, ...], rows: dict[str, Any]) -> None:
    """Write a commented example of a spec.

    The spec is for the published table, or with --data for a table of your own.
    """
    from chinchilla_jax._util.directories import LocalDirectory
    from chinchilla_jax.datasets.readers.places import STANDARD_INPUT
    from chinchilla_jax.study.spec.example import example_for, example_toml
    from chinchilla_jax.study.spec.law import read_study_law

    if data == STANDARD_INPUT:
        raise UsageError("--data -: a study reads its table again when it resumes; give a file")
    if (data, law) == ("chinchilla", "chinchilla"):
        text = example_toml()
    else:
        model = read_study_law(law, data)
        table = Table(data=data, column=column, **rows).for_laws(model)
        text = example_for(table.read(), data, table.reading, model)
    if path.isprintable():  # it goes into a comment
        text = text.replace("study.toml", shlex.quote(path), 2)
    folder, name = Path(path).expanduser().parent, Path(path).name
    folder.stat()  # a missing folder is a mistake
    directory = LocalDirectory(folder)
    directory.clean_up()
    if not directory.create(name, text.encode("utf-8")):
        raise UsageError(f"{path} already exists; give another name or remove it")
    output.echo(f"{path}: written; edit it, then: chinchilla-jax study check {path}")


@study_command.command("check")
@_spec_argument
@_law_option
@_resamples_option
@_seed_option
@_table_option
@_workers_option
@click.option("--measure", is_flag=True, help="Time a chunk on this machine (about 20 s) for the estimate.")
@quiet_option
def check_command(
    spec: str,
    law: str | None,
    resamples: int | None,
    seed: int | None,
    table: tuple[str, ...],
    workers: int | None,
    measure: bool,
) -> None:
    """Show what a study would do: conditions, fits, time, size."""
    from chinchilla_jax.study.atlas import AtlasSpec
    from chinchilla_jax.study.estimate import estimate

    asked = _read_any(spec, table, law=law, resamples=resamples, seed=seed)
    if isinstance(asked, AtlasSpec):
        print_check(asked, workers)
        return
    for name, text in estimate(asked, workers=workers, measure=measure).lines():
        output.echo(f"{name:<12}{text}{default_data_remark(spec) if name == 'data' else ''}")


@study_command.command("status")
@_directory_argument
@quiet_option
def status_command(directory: str) -> None:
    """Show the progress of a study."""
    from chinchilla_jax.study import study_status
    from chinchilla_jax.study.atlas import atlas_status

    if holds_atlas(directory):
        print_atlas_status(atlas_status(directory))
    else:
        print_status(study_status(directory), None)


@study_command.command("finish")
@_directory_argument
@_workers_option
@_figures_option
@quiet_option
def finish_command(directory: str, workers: int | None, figures: bool) -> None:
    """Summarise a study once all its shards are done, and draw what it lacks."""
    from chinchilla_jax.report import finish_atlas, finish_study
    from chinchilla_jax.study import study_status

    if holds_atlas(directory):
        print_atlas(finish_atlas(directory, figures=figures, workers=workers))
        return
    _restart_if_reproducible(study_status(directory).spec)
    print_study(finish_study(directory, figures=figures, workers=workers))


def _read_any(
    name: str, tables: tuple[str, ...], *, resamples: int | None, seed: int | None, **options: Any
) -> StudySpec | AtlasSpec:
    """The study or the atlas that is asked for."""
    if name == ATLAS:
        engine = options.pop("engine", "auto")
        return read_atlas(resamples, seed, tables, engine=None if engine == "auto" else engine, **options)
    if tables:
        raise UsageError(f"--table is for the atlas; leave it out, as {name} names its own data")
    return _read_spec(name, resamples=resamples, seed=seed, **options)


def _read_spec(
    name: str,
    *,
    law: str | None = None,
    resamples: int | None = None,
    seed: int | None = None,
    engine: str = "auto",
    reproducible: bool = False,
) -> StudySpec:
    from chinchilla_jax import StudySpec, paper_study

    given: dict[str, Any] = {
        field: value for field, value in (("resamples", resamples), ("seed", seed)) if value is not None
    }
    changed = given | ({} if engine == "auto" else {"engine": engine})
    if reproducible:
        changed["reproducible"] = True
    asked = read_laws([law], None)[0] if law is not None and names_code(law) else law
    if name == "paper":
        if asked is not None:
            changed["law"] = asked
        return dataclasses.replace(paper_study(**given), **changed)
    if not name.endswith(".toml"):
        near = closest(name, ["paper", ATLAS])
        hint = f"; did you mean {near!r}?" if near else ";"
        own = f" (for a table: chinchilla-jax study init --data {name})" if os.path.exists(name) else ""
        known = "paper, atlas, or the path of a .toml file"
        raise UsageError(f"study {name!r} is unknown{hint} give {known}{own}")
    return dataclasses.replace(StudySpec.from_toml(name, law=asked), **changed)


def _restart_if_reproducible(spec: StudySpec) -> None:
    """Start this command again where its study needs a process in the reproducible mode."""
    from chinchilla_jax._util import reproducible

    if spec.reproducible:
        reproducible.restart()


def _interrupted(out: str) -> ChinchillaError:
    """The line on how to resume; chunks in progress are dropped."""
    from chinchilla_jax._util.remote import hurried
    from chinchilla_jax.study.status import chunks_written

    text = f"{shown_place(out)}: interrupted"
    try:
        with hurried(_COUNT_SECONDS):
            written, chunks = chunks_written(out)
        text += f"; {written:,} of {chunks:,} chunks are kept"
    except (ChinchillaError, OSError):
        pass
    return ChinchillaError(f"{text}; {_RESUME}")
