"""`chinchilla-jax backtest`: how well the runs would have been predicted before they were made."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.labels import quantity_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.fit_options import law_options, objective_options
from chinchilla_jax.cli.options import (
    figures_option,
    level_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import Resampling, resampling_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.planning import Backtest


@click.command("backtest")
@table_options()
@click.option(
    "--over",
    metavar="NAME",
    default="flops",
    help="What windows expand over: flops, params or tokens; or a column of DATA, each of whose labels is "
    "left out in turn.",
)
@click.option(
    "--windows", type=choices.WholeNumber(1), metavar="K", default=8, help="Number of windows at most."
)
@resamples_option(400, "Bootstrap resamples of each window.")
@seed_option()
@level_option
@resampling_options()
@cost_option
@law_options
@objective_options
@figures_option
@output_options
def backtest_command(
    table: Table,
    over: str,
    windows: int,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    cost: str | None,
    law: Law,
    objective: Objective | str,
    figures: str | None,
    as_json: bool,
) -> None:
    """Predict runs from those before them.

    Fits the runs below each of several limits of compute, size or tokens, predicts those above, and counts
    how often both intervals hold them, by distance. Beside the law are the lowest loss so far, a power law of
    compute, and the nearest run.
    """
    from chinchilla_jax import backtest
    from chinchilla_jax.planning.backtesting import AXES

    named = table.for_laws(law)
    if over not in AXES:
        named = dataclasses.replace(named, group=(*named.group, over))
    runs = resampling.read_runs(named)
    with output.refusing(as_json, "bands"), output.progress("backtest", resamples * windows) as advance:
        found = backtest(
            runs, law, over=over, windows=windows, level=level, resamples=resamples, seed=seed,
            objective=objective, scheme=resampling.read(), cost=read_cost(cost), progress=advance,
        )  # fmt: skip
    if figures is not None:
        from chinchilla_jax.plots import save_figures
        from chinchilla_jax.plots.planning import plot_backtest

        save_figures([("backtest", plot_backtest(found.table, found.bands, level=level))], figures)
    if as_json:
        output.print_json(_fields(runs, found, law, resamples, seed))
    else:
        _print(runs, found)


def _fields(runs: Runs, found: Backtest, law: Law, resamples: int, seed: int) -> dict[str, Any]:
    return {
        "data": output.runs_fields(runs),
        "model": law.name,
        "over": found.over,
        "level": found.level,
        "resamples": resamples,
        "seed": seed,
        "cost": cost_fields(found.cost),
        "sentence": found.sentence,
        "bands": output.records(found.bands),
        "optima": output.records(found.optima),
        "calibration": None
        if found.calibration is None
        else {**dataclasses.asdict(found.calibration), "doubt": found.calibration.doubt or None},
        "predictions": output.records(found.table),
        "skipped": found.skipped,
    }


def _print(runs: Runs, found: Backtest) -> None:
    output.print_runs(runs)
    print_cost(found.cost)
    output.echo()
    output.print_paragraph(f"{found.sentence[:1].upper()}{found.sentence[1:]}.")
    output.echo()
    output.echo("by decades beyond the window: share of the runs in each interval, and median errors in %")
    names = ["from_decades", "n", "covered_mean", "covered_new_run"]
    errors = ["error", "error_power_law", "error_lowest", "error_nearest"]
    rows = [
        [f"{row[0]:g}", *row[1:4], *(f"{100 * value:.3g}" for value in row[4:])]
        for row in output.rows(found.bands, [*names, *errors])
    ]
    header = ["from", "runs", "in mean", "in new run", "law", "power law", "lowest loss", "nearest run"]
    output.print_table(header, rows, digits=3)
    if len(found.optima):
        _print_optima(found.optima)
    output.echo()
    if found.calibration is not None:
        output.print_paragraph(f"predict --calibrated: {found.calibration.sentence}")
    for each in found.skipped:
        output.print_paragraph(f"left out: {each}")


def _print_optima(optima: pd.DataFrame) -> None:
    output.echo()
    of_all = quantity_text("params", float(optima["of_all"].iloc[0]))
    budget = float(optima["flops"].iloc[0])
    output.echo(f"compute-optimal parameters at {budget:.3g} FLOP, which all runs put at {of_all}")
    rows = [
        [row[0], *(quantity_text("params", float(value)) for value in row[1:])]
        for row in output.rows(optima, ["window", "params", "low", "high"])
    ]
    output.print_table(["window", "params", "low", "high"], rows)
