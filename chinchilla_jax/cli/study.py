"""`chinchilla-jax study`: a whole robustness study into a directory, and what is asked about one."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from typer.core import TyperGroup

from chinchilla_jax._util.errors import ChinchillaError, UsageError, closest, unknown_name
from chinchilla_jax._util.progress_bar import Progress, resolve
from chinchilla_jax.cli import options as table_options
from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax import Study, StudySpec
    from chinchilla_jax.study import StudyStatus

_MOST_NOTES = 5
_MOST_FAILURES = 10
_RUN = "run"
_EXECUTORS = ("threads", "dask", "jax")

SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="paper (the published study), or the path of a TOML file.")
]
DirectoryArgument = Annotated[
    str, typer.Argument(metavar="DIR", help="Directory of a study, or its URL.", show_default=False)
]
ResamplesOption = Annotated[
    int | None,
    typer.Option(metavar="R", help="Resamples per condition.  [default: the spec's]", show_default=False),
]
SeedOption = Annotated[
    int | None,
    typer.Option(metavar="S", help="Seed of all randomness.  [default: the spec's]", show_default=False),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(metavar="W", help="Chunks in work at the same time.", show_default=False),
]
FiguresOption = Annotated[bool, typer.Option(help="Draw the figures.")]


class _StudyGroup(TyperGroup):
    """`study SPEC ...` is `study run SPEC ...`: what is no subcommand is a spec, or an option of run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            # A misspelt subcommand is left to the parser, which knows the nearest.
            misspelt = not args[0].endswith(".toml") and closest(args[0], self.commands)
            args = args if misspelt else [_RUN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_StudyGroup,
    rich_markup_mode=None,
    add_completion=False,
    help="Run a robustness study into a directory: study SPEC --out DIR.\n\n"
    "SPEC is paper (the published study) or a TOML file; its options: study run --help. A directory that "
    "holds part of this very study is gone on with; a finished one is opened, and nothing is computed again.",
)


@app.command(_RUN)
def run_command(
    spec: SpecArgument,
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Directory for the results, made if need be; a path, or a URL such as s3://bucket/study.",
            show_default=False,
        ),
    ],
    resamples: ResamplesOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    figures: FiguresOption = True,
    executor: Annotated[
        str, typer.Option(metavar="NAME", help="threads, dask, or jax (its multi-host runtime).")
    ] = "threads",
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Dask scheduler, such as tcp://10.0.0.1:8786.", show_default=False
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do only part I of N, such as 3/40.", show_default=False),
    ] = None,
) -> None:
    """Run a study, or go on with one.

    Every condition is bootstrapped; tables and figures are written. Broken off anywhere, the same command
    goes on. More --resamples later add what is missing.
    """
    from chinchilla_jax.report import run_shard, run_study
    from chinchilla_jax.study import Shard

    if executor not in _EXECUTORS:
        raise unknown_name("executor", executor, _EXECUTORS)
    part = None if shard is None else Shard.parse(shard)
    asked = _read_spec(spec, resamples, seed)
    options: dict[str, Any] = {"figures": figures, "workers": workers, "scheduler": scheduler}
    options["progress"] = _Announced(_plan_line(spec, asked))
    try:
        if executor == "jax":
            from chinchilla_jax.study.execution.multihost import join

            part = join(part)
            executor = "threads"
        if part is None:
            _say(run_study(asked, out, executor=executor, **options))
        else:
            _say_status(run_shard(asked, out, part, executor=executor, **options), f"shard {part} done")
    except KeyboardInterrupt:
        _interrupted(out)


@app.command("init")
def init_command(
    path: Annotated[str, typer.Argument(metavar="FILE", help="The file to write.")] = "study.toml",
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help="The table to study: chinchilla, llama3, or the path of one."),
    ] = "chinchilla",
    column: table_options.ColumnOption = None,
    experiment: table_options.ExperimentOption = None,
) -> None:
    """Write a commented example of a spec, for a table of your own if you like."""
    from chinchilla_jax.study.spec.example import example_for, example_toml

    if data == "chinchilla":
        text = example_toml()
    else:
        columns = table_options.read_columns(column)
        runs = table_options.read_runs(data, "as_plotted", None, column, experiment)
        text = example_for(runs, data, columns, experiment)
    if path.isprintable():  # it goes into a comment
        text = text.replace("study.toml", shlex.quote(path), 2)
    try:
        with open(Path(path).expanduser(), "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{path}: exists; give another name, or remove it") from None
    output.say(f"{path}: written; change it, then: chinchilla-jax study check {path}")


@app.command("check")
def check_command(
    spec: SpecArgument,
    resamples: ResamplesOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time a chunk on this machine (some 20 s) for the estimate.")
    ] = False,
) -> None:
    """Say what a study would do: conditions, fits, time, size."""
    from chinchilla_jax.study.estimate import estimate

    asked = _read_spec(spec, resamples, seed)
    for name, text in estimate(asked, workers=workers, measure=measure).lines():
        output.say(f"{name:<12}{text}{_unnamed(spec) if name == 'data' else ''}")


@app.command("status")
def status_command(directory: DirectoryArgument) -> None:
    """Say how far a study has come."""
    from chinchilla_jax.study import study_status

    _say_status(study_status(directory), None)


@app.command("finish")
def finish_command(
    directory: DirectoryArgument, workers: WorkersOption = None, figures: FiguresOption = True
) -> None:
    """Summarise a study whose shards are all done."""
    from chinchilla_jax.report import finish_study

    _say(finish_study(directory, figures=figures, workers=workers))


def _read_spec(name: str, resamples: int | None, seed: int | None) -> StudySpec:
    from chinchilla_jax import StudySpec, paper_study

    given: dict[str, Any] = {
        field: value for field, value in (("resamples", resamples), ("seed", seed)) if value is not None
    }
    if name == "paper":
        return paper_study(**given)
    if not name.endswith(".toml"):
        hint = "; did you mean 'paper'?" if closest(name, ["paper"]) else ";"
        raise UsageError(f"study {name!r} is unknown{hint} give paper, or the path of a .toml file")
    return dataclasses.replace(StudySpec.from_toml(name), **given)


def _unnamed(name: str) -> str:
    """A remark where a file names no data, and nobody may have thought of the default."""
    if name == "paper":
        return ""
    import tomllib

    with open(Path(name).expanduser(), "rb") as stream:
        return "" if "data" in tomllib.load(stream) else f"; {name} names no data, and this is the default"


def _plan_line(name: str, spec: StudySpec) -> str:
    from chinchilla_jax._util.text import count_text
    from chinchilla_jax.study import plan_conditions

    number = len(plan_conditions(spec))
    return (
        f"{name}: {count_text(number, 'condition')} of {spec.data}, {number * spec.resamples:,} fits"
        f"{_unnamed(name)}"
    )


class _Announced(Progress):
    """The usual progress, with a line on stdout when work begins: after all that can be refused has been."""

    def __init__(self, line: str) -> None:
        self._line, self._shown = line, Progress()

    def __enter__(self) -> Self:
        self._shown = resolve("auto")
        return self

    def begin(self, label: str, total: int, unit: str = "fits") -> None:
        if self._line:
            output.say(self._line)
            sys.stdout.flush()  # the log of a batch job is read while it runs
            self._line = ""
        self._shown.begin(label, total, unit)

    def advance(self, done: int) -> None:
        self._shown.advance(done)

    def note(self, text: str) -> None:
        self._shown.note(text)

    def close(self) -> None:
        self._shown.close()


def _interrupted(out: str) -> None:
    """Say how to go on and end at once: chunks in work are dropped, and nobody waits for them."""
    from chinchilla_jax.study import study_status

    text = f"{out}: interrupted"
    try:
        status = study_status(out)
        text += f"; {status.chunks_done:,} of {status.chunks:,} chunks are kept"
    except (ChinchillaError, OSError):
        pass
    error = ChinchillaError(f"{text}; run the same command again to go on")
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        # Threads inside the solver or the compiler cannot be stopped, and a normal end would join them.
        print(f"chinchilla-jax: error: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    raise error


def _say_status(status: StudyStatus, opening: str | None) -> None:
    import time

    from chinchilla_jax._util.text import speed_text, time_left_text
    from chinchilla_jax.study.spec.reproduce import study_command

    why = {"stopped": "no process is at work on it", "failed": status.error}.get(status.state)
    if opening:
        output.say(f"{status.location}: {opening}")
    output.say(f"{status.location}: {status.state}{f' ({why})' if why else ''}")
    share = 100.0 * status.fits_done / max(status.fits, 1)
    output.say(
        f"{status.chunks_done:,} of {status.chunks:,} chunks, {status.fits_done:,} of {status.fits:,} fits "
        f"({share:.0f}%): {output.status_line(status.status_counts)}"
    )
    if status.state == "running":
        if status.chunks_done == status.chunks:
            output.say("every fit is there; tables, figures and page are being made")
        elif status.rate is not None and status.last is not None:
            left = time_left_text(status.fits - status.fits_done, status.rate)
            ago = max(0.0, time.time() - status.last)
            output.say(f"{speed_text(status.rate, 'fits')}, {left}; last chunk {ago:,.0f} s ago")
    elif status.state != "complete":
        if status.chunks_done == status.chunks:
            output.say("every chunk is there, the tables are not; to write them:")
            output.say(f"  chinchilla-jax study finish {shlex.quote(status.location)}")
        else:
            output.say("to go on (or by the other shards):" if opening else "to go on:")
            command = study_command(status.spec, out=status.location, file="SPEC.toml")
            output.say(f"  {command}")
    for name in status.damaged:
        output.say(f"damaged: {name}; run the study again and it is computed anew")
    worst = sorted(status.failures.items(), key=lambda item: -item[1])
    if worst:
        output.say()
        output.say_table(("condition", "not converged"), worst[:_MOST_FAILURES])
        if len(worst) > _MOST_FAILURES:
            output.say(f"and {len(worst) - _MOST_FAILURES} more conditions")


def _say(study: Study) -> None:
    from chinchilla_jax._util.text import count_text

    info = study.info
    seconds = max(float(info["wall_time"]), 1e-9)
    found = "found complete, nothing computed" if study.reused else "complete"
    output.say(f"{study.location}: {found}")
    output.say(
        f"{count_text(info['n_conditions'], 'condition')}, {info['n_fits']:,} fits in {seconds:,.1f} s: "
        f"{output.status_line(info['status_counts'])}"
    )
    _say_failures(study)
    output.say()
    output.say("unperturbed, by count of the parameters (standard errors in brackets)")
    output.say_table(("condition", *output.PARAMETERS, "tokens/param per decade"), _interpretations(study))
    page = study.path / "report.html"
    if page.exists():
        output.say()
        output.say(f"page: {page}")
    for note in info["notes"][:_MOST_NOTES]:
        output.say(f"note: {note['condition']}: {note['note']}")
    if len(info["notes"]) > _MOST_NOTES:
        output.say(f"note: and {len(info['notes']) - _MOST_NOTES} more, in study.json")


def _say_failures(study: Study) -> None:
    """One line on where fits failed, if any did."""
    table = study.params.drop_duplicates("condition").set_index("condition")["n_failed"]
    families = study.conditions.set_index("condition")["family"]
    failed = table.groupby(families.reindex(table.index)).sum()
    worst = failed[failed > 0].sort_values(ascending=False, kind="stable")
    if len(worst):
        places = ", ".join(f"{int(count):,} under {family}" for family, count in worst.items())
        share = 100.0 * worst.sum() / table.size / study.spec.resamples
        output.say(
            f"note: {int(worst.sum()):,} fits ({share:.2g}%) have no certificate and count nowhere: {places}"
        )


def _interpretations(study: Study) -> list[tuple[Any, ...]]:
    """One row per unperturbed condition: estimates, and the slope of the median tokens per parameter."""
    from chinchilla_jax.intervals import slope_table

    conditions = study.conditions
    names = list(conditions.loc[conditions["family"] == "identity", "condition"])
    level, method = study.spec.levels[0], "percentile"
    params, bands = (
        frame[
            frame["condition"].isin(names) & (frame["method"] == method) & (frame["level"] == level)
        ].set_index("condition")
        for frame in (study.params, study.tokens_per_param)
    )
    slopes = (
        slope_table(bands.reset_index()).set_index("condition")["slope_per_decade"]
        if len(study.spec.flops) > 1
        else dict.fromkeys(names, math.nan)
    )
    rows = []
    for name in names:
        fitted = params.loc[name].set_index("parameter")
        cells = [
            f"{fitted.loc[p, 'estimate']:.4g} ({float(format(fitted.loc[p, 'standard_error'], '.2g')):g})"
            for p in output.PARAMETERS
        ]
        rows.append((name, *cells, float(slopes[name])))
    return rows
