"""`chinchilla-jax progress`: progressive scaling, one run at a time, recorded in a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS, kind_text, quantity_label, quantity_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.fit_options import Solver, newton_options
from chinchilla_jax.cli.groups import OrderedGroup
from chinchilla_jax.cli.options import (
    level_option,
    output_options,
    quiet_option,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.simulate import seed_run_options, simulate_command
from chinchilla_jax.cli.table_options import (
    bytes_per_token_option,
    column_option,
    read_columns,
    read_units,
    unit_option,
)

if TYPE_CHECKING:
    from chinchilla_jax.planning.ladder import Run

_database_argument = click.argument("database", metavar="DB", help="SQLite file of the study.")


@click.group("progress", cls=OrderedGroup)
def progress_command() -> None:
    """Scale up progressively: propose, train, append, repeat."""


@progress_command.command("init")
@_database_argument
@seed_run_options(flops_range=None, ratio_range=("5", "100"), seeds=50, factor=2)
@seed_option("Seed of the sampling.")
@resamples_option(1000, "Bootstrap resamples behind a proposal.")
@level_option
@click.option(
    "--grid",
    metavar="PATH",
    help='JSON file with the models to choose from: {"d_model": [...], "n_heads": [...], ...}.',
)
@quiet_option
def init_command(
    database: str,
    flops_range: tuple[float, float],
    ratio_range: tuple[float, float],
    seeds: int,
    factor: float,
    seed: int,
    resamples: int,
    level: float,
    grid: str | None,
) -> None:
    """Create the database of a new study."""
    from chinchilla_jax.planning.ladder import Ladder, LadderSettings
    from chinchilla_jax.planning.ladder.model_grid import read_grid

    settings = LadderSettings(
        flops_range=flops_range,
        ratio_range=ratio_range,
        seeds=seeds,
        factor=factor,
        seed=seed,
        resamples=resamples,
        level=level,
        grid=None if grid is None else read_grid(grid),
    )
    made = Ladder.create(database, settings)
    output.echo(f"{made.store.path}: created; `chinchilla-jax progress next` gives the first run")


@progress_command.command("next")
@_database_argument
@click.option(
    "--another", is_flag=True, help="Propose another run although one is open, to train in parallel."
)
@click.option(
    "--for",
    "target",
    metavar="TARGET",
    help="Propose the run of up to that budget which narrows TARGET most, as for `next`, such as "
    "tokens_per_param@1e22.  [default: the optimum at the budget]",
)
@newton_options
@output_options
def next_command(database: str, another: bool, target: str | None, solver: Solver, as_json: bool) -> None:
    """Show the run to train next.

    An open run is shown again until its loss is appended, so nothing is lost if the training crashes.
    """
    from chinchilla_jax.planning.ladder import Ladder

    run = Ladder.open(database).next(another=another, target=target, options=solver.options())
    if as_json:
        output.print_json(dataclasses.asdict(run))
        return
    _print_run(run)
    if run.proposal:
        columns = INTERVAL_COLUMNS
        if "narrows" in run.proposal:
            gain = run.proposal["narrows"]
            output.echo(
                f"narrows      {gain['target']}: width {gain['width']:.3g} to {gain['after']:.3g}, "
                "to first order"
            )
        output.echo()
        output.echo(f"the optimum at its budget, {kind_text(run.proposal['level'])} interval")
        shown = ("flops", "params", "tokens", "tokens_per_param", "loss")
        rows = [
            (quantity_label(name), *(_of_proposal(run.proposal[name], each) for each in columns))
            for name in shown
        ]
        doubts = [run.proposal[name].get("doubt", "") for name in shown]
        output.print_table(("compute-optimal", *columns), rows, quantities=shown, doubts=doubts)


@progress_command.command("append")
@_database_argument
@click.option(
    "--loss", type=choices.POSITIVE, metavar="L", required=True, help="Final loss (nats per token)."
)
@click.option("--run", type=int, metavar="ID", help="The run to close, if several are open.")
@click.option(
    "--params",
    type=choices.POSITIVE,
    metavar="N",
    show_default="as proposed",
    help="Size of the model that was trained (parameters).",
)
@click.option(
    "--tokens",
    type=choices.POSITIVE,
    metavar="D",
    show_default="as proposed",
    help="Tokens that it was trained on.",
)
@output_options
def append_command(
    database: str, loss: float, run: int | None, params: float | None, tokens: float | None, as_json: bool
) -> None:
    """Append the loss of an open run."""
    from chinchilla_jax.planning.ladder import Ladder

    closed = Ladder.open(database).append(loss, run=run, params=params, tokens=tokens)
    if as_json:
        output.print_json(dataclasses.asdict(closed))
    else:
        _print_run(closed)


@progress_command.command("show")
@_database_argument
@output_options
def show_command(database: str, as_json: bool) -> None:
    """List the runs of a study."""
    from chinchilla_jax.planning.ladder import Ladder

    study = Ladder.open(database)
    runs = study.store.runs()
    if as_json:
        settings = dataclasses.asdict(study.settings)
        output.print_json({"settings": settings, "runs": [dataclasses.asdict(run) for run in runs]})
        return
    done = sum(run.loss is not None for run in runs)
    output.echo(
        f"{study.store.path}: {len(runs):,} runs, {done:,} with their loss, {study.settings.seeds:,} seeds"
    )
    if runs:
        output.echo()
        header = ("run", "stage", "params", "tokens", "flops", "loss")
        missing = float("nan")
        rows = [
            (r.run, r.stage, r.params, r.tokens, r.flops, missing if r.loss is None else r.loss) for r in runs
        ]
        output.print_table(header, rows)


@progress_command.command("import")
@_database_argument
@click.argument("table", help="A table with params, tokens, loss, as `fit` takes.")
@column_option
@unit_option
@bytes_per_token_option
@quiet_option
def import_command(
    database: str, table: str, column: tuple[str, ...], unit: tuple[str, ...], bytes_per_token: float | None
) -> None:
    """Add the runs of a table; rows without a loss are open."""
    from chinchilla_jax.planning.ladder import RunStore, import_runs

    count = import_runs(
        RunStore(database),
        table,
        columns=read_columns(column),
        units=read_units(unit),
        bytes_per_token=bytes_per_token,
        say=output.print_paragraph,
    )
    output.echo(f"{database}: {count:,} runs added")


@progress_command.command("export")
@_database_argument
@click.argument("table", help="File to write: .parquet for Parquet, otherwise CSV.")
@click.option(
    "--for-spreadsheets",
    is_flag=True,
    help="Put an apostrophe before texts that a spreadsheet would run as a formula.",
)
@quiet_option
def export_command(database: str, table: str, for_spreadsheets: bool) -> None:
    """Write the runs to a table."""
    from chinchilla_jax.planning.ladder import RunStore, export_runs

    count = export_runs(RunStore(database), table, for_spreadsheets=for_spreadsheets)
    output.echo(f"{table}: {count:,} runs written")


progress_command.add_command(simulate_command)


def _of_proposal(numbers: Mapping[str, float], column: str) -> float:
    """A number of a proposal; databases of version 0.1.0 call the estimate "point"."""
    return numbers["point"] if column == HEADLINE and column not in numbers else numbers[column]


def _print_run(run: Run) -> None:
    state = "open" if run.loss is None else f"loss {run.loss:g}"
    output.echo(f"run {run.run} ({run.stage}, {state})")
    for name in ("params", "tokens", "flops"):
        output.echo(f"{name:<13}{quantity_text(name, getattr(run, name), 6)}")
    if run.config:
        output.echo(f"config       {_shown(run.config)}")


def _shown(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in config.items())
