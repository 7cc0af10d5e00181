"""`chinchilla-jax progress`: progressive scaling, one run at a time, in a database."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.cli import options, output
from chinchilla_jax.cli.simulate import simulate_command

if TYPE_CHECKING:
    from chinchilla_jax.planning.ladder import Run

DatabaseArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="DB", help="SQLite file of the study.", show_default=False)
]


def init_command(
    database: DatabaseArgument,
    flops_range: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Compute of the seed runs (FLOP).", show_default=False),
    ],
    ratio_range: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Tokens per parameter of the seed runs.")
    ] = (5.0, 100.0),
    seeds: Annotated[int, typer.Option(metavar="K", help="How many seed runs.")] = 50,
    factor: Annotated[float, typer.Option(metavar="X", help="Next budget over the largest so far.")] = 2.0,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the sampling.")] = 0,
    resamples: Annotated[int, typer.Option(metavar="R", help="Resamples behind a proposal.")] = 1000,
    level: Annotated[float, typer.Option(metavar="P", help="Probability inside an interval.")] = 0.8,
    grid: Annotated[
        str | None,
        options.optional(
            "PATH", 'JSON with the models to choose from: {"d_model": [...], "n_heads": [...], ...}.'
        ),
    ] = None,
) -> None:
    """Begin a study: a new database."""
    from chinchilla_jax.planning.ladder import Ladder, LadderSettings

    settings = LadderSettings(
        flops_range=flops_range,
        ratio_range=ratio_range,
        seeds=seeds,
        factor=factor,
        seed=seed,
        resamples=resamples,
        level=level,
        grid=None if grid is None else _read_grid(grid),
    )
    made = Ladder.create(database, settings)
    output.say(f"{made.store.path}: made; `chinchilla-jax progress next` gives the first run")


def next_command(
    database: DatabaseArgument,
    another: Annotated[
        bool, typer.Option("--another", help="A further run although one is open, to train in parallel.")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show the run to train next.

    An open run is shown again until its loss is appended, so nothing is lost when the training crashes.
    """
    from chinchilla_jax.planning.ladder import Ladder

    run = Ladder.open(database).next(another=another)
    if as_json:
        output.say_json(dataclasses.asdict(run))
        return
    _say_run(run)
    if run.proposal:
        columns = ("point", "low", "median", "high")
        output.say()
        output.say(f"the optimum at its budget, interval {run.proposal['level']:g} percentile")
        shown = ("flops", "params", "tokens", "tokens_per_param", "loss")
        rows = [(quantity_label(name), *(run.proposal[name][each] for each in columns)) for name in shown]
        output.say_table(("compute-optimal", *columns), rows)


def append_command(
    database: DatabaseArgument,
    loss: Annotated[
        float, typer.Option(metavar="L", help="Final loss (nats per token).", show_default=False)
    ],
    run: Annotated[
        int | None, typer.Option(metavar="ID", help="Which run, where several are open.", show_default=False)
    ] = None,
    params: Annotated[
        float | None, typer.Option(metavar="N", help="True size, if another.", show_default=False)
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(metavar="D", help="True tokens, if others.", show_default=False)
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Append the loss of an open run."""
    from chinchilla_jax.planning.ladder import Ladder

    closed = Ladder.open(database).append(loss, run=run, params=params, tokens=tokens)
    if as_json:
        output.say_json(dataclasses.asdict(closed))
    else:
        _say_run(closed)


def show_command(database: DatabaseArgument, as_json: options.JsonOption = False) -> None:
    """List the runs of a study."""
    from chinchilla_jax.planning.ladder import Ladder

    study = Ladder.open(database)
    runs = study.store.runs()
    if as_json:
        settings = dataclasses.asdict(study.settings)
        output.say_json({"settings": settings, "runs": [dataclasses.asdict(run) for run in runs]})
        return
    done = sum(run.loss is not None for run in runs)
    output.say(
        f"{study.store.path}: {len(runs):,} runs, {done:,} with their loss, {study.settings.seeds:,} seeds"
    )
    if runs:
        output.say()
        header = ("run", "stage", "params", "tokens", "flops", "loss")
        missing = float("nan")
        rows = [
            (r.run, r.stage, r.params, r.tokens, r.flops, missing if r.loss is None else r.loss) for r in runs
        ]
        output.say_table(header, rows)


def import_command(
    database: DatabaseArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="CSV or Parquet with params, tokens, loss.")],
) -> None:
    """Add the runs of a table; rows without a loss are open."""
    from chinchilla_jax.planning.ladder import RunStore, import_runs

    output.say(f"{database}: {import_runs(RunStore(database), table):,} runs added")


def export_command(
    database: DatabaseArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="CSV, or Parquet by its suffix, to write.")],
) -> None:
    """Write the runs to a table."""
    from chinchilla_jax.planning.ladder import RunStore, export_runs

    output.say(f"{table}: {export_runs(RunStore(database), table):,} runs written")


app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="Scale up progressively: propose, train, append, repeat.",
)
app.command("init")(init_command)
app.command("next")(next_command)
app.command("append")(append_command)
app.command("show")(show_command)
app.command("import")(import_command)
app.command("export")(export_command)
app.command("simulate")(simulate_command)


def _say_run(run: Run) -> None:
    state = "open" if run.loss is None else f"loss {run.loss:g}"
    output.say(f"run {run.run} ({run.stage}, {state})")
    output.say(f"params       {run.params:.6g}")
    output.say(f"tokens       {run.tokens:.6g}")
    output.say(f"flops        {run.flops:.6g}")
    if run.config:
        output.say(f"config       {_shown(run.config)}")


def _shown(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in config.items())


def _read_grid(path: str) -> dict[str, list[Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            grid = json.load(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise DataError(f"{path}: no JSON ({error})") from None
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
        raise UsageError(f'{path}: give an object of lists, such as {{"d_model": [512, 1024], ...}}')
    return grid
