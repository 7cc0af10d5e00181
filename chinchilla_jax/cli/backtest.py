"""`chinchilla-jax backtest`: how well the runs would have been predicted before they were made."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.labels import percent_text, quantity_text
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import law_options, objective_options
from chinchilla_jax.cli.options import (
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
    from chinchilla_jax.planning import Backtest, Calibration
    from chinchilla_jax.planning.backtests_beside import LawBacktests

_RIVALS = {"lowest": "lowest loss", "power_law": "power law", "nearest": "nearest run"}


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
    "--windows",
    type=choices.WholeNumber(1),
    metavar="K",
    show_default="12, or up to 24 where the level needs them",
    help="Number of windows at most.",
)
@click.option(
    "--laws",
    is_flag=True,
    help="Also by every law that forms compares, with paired differences from --law. Takes minutes.",
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
    windows: int | None,
    laws: bool,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    cost: str | None,
    law: Law,
    objective: Objective | str,
    figures: Figures,
    as_json: bool,
) -> None:
    """Predict runs from those before them.

    Fits the runs below each of several limits of compute, size or tokens, predicts those above, and counts
    how often both intervals hold them, by distance. Beside the law are the lowest loss so far, a power law of
    compute, and the nearest run. Says by how much intervals of new runs have to be wider (predict
    --calibrated), and how often such intervals held later runs.
    """
    from chinchilla_jax.analysis.comparable_laws import comparable_laws
    from chinchilla_jax.planning.backtesting import AXES, window_count
    from chinchilla_jax.planning.backtests_beside import backtest_laws

    named = dataclasses.replace(table.for_laws(law), known_variables=laws or table.known_variables)
    if over not in AXES:
        named = dataclasses.replace(named, group=(*named.group, over))
    runs = resampling.read_runs(named)
    others = comparable_laws(runs)[0] if laws else []
    fits = resamples * (windows or window_count(level)) * len({law, *others})
    with (
        output.refusing(as_json, "bands"),
        output.progress("backtest", fits, laws=[law, *others], n_runs=len(runs)) as advance,
    ):
        every = backtest_laws(
            runs, others, reference=law, over=over, windows=windows, level=level, resamples=resamples,
            seed=seed, objective=objective, scheme=resampling.read(), cost=read_cost(cost), progress=advance,
        )  # fmt: skip
    found = every.reference
    if figures:
        from chinchilla_jax import plots

        figures.save({"backtest": lambda: plots.backtest(found)})
    if as_json:
        output.print_json(_fields(runs, every, law, resamples, seed))
    else:
        _print(runs, every, law)


def _fields(runs: Runs, every: LawBacktests, law: Law, resamples: int, seed: int) -> dict[str, Any]:
    found = every.reference
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
        "differences": output.records(found.differences),
        "laws": output.records(every.table),
        "left_out": every.left_out,
        "calibration": None if found.calibration is None else _calibration_fields(found.calibration),
        "predictions": output.records(found.table),
        "skipped": found.skipped,
    }


def _calibration_fields(found: Calibration) -> dict[str, Any]:
    return {
        **dataclasses.asdict(found),
        "judged": [each._asdict() for each in found.judged],
        "doubt": found.doubt or None,
    }


def _print(runs: Runs, every: LawBacktests, law: Law) -> None:
    found = every.reference
    output.print_runs(runs)
    print_cost(found.cost)
    output.echo()
    output.print_sentence(found.sentence)
    output.echo()
    output.print_paragraph(
        "by decades of compute beyond the window: median error, and runs that each interval holds, in %"
    )
    names = ["from_decades", "error", "n", "covered_mean", "covered_new_run"]
    later = ["n_calibrated", "covered_calibrated"]
    rows = [
        [f"{band:g}", _percent(error), n, *map(_percent, held), n_later, _percent(kept) if n_later else "-"]
        for band, error, n, *held, n_later, kept in output.rows(found.bands, [*names, *later])
    ]
    header = ["from", "error", "runs", "in mean", "in new run", "later runs", "in calibrated"]
    output.print_table(header, rows, digits=3)
    _print_differences(found, law)
    if len(every.table):
        _print_laws(every, law)
    if len(found.optima):
        _print_optima(found.optima)
    output.echo()
    if found.calibration is not None:
        output.print_paragraph(f"predict --calibrated: {found.calibration.sentence}")
    for each in (*found.skipped, *every.left_out):
        output.print_paragraph(f"left out: {each}")


def _print_differences(found: Backtest, law: Law) -> None:
    output.echo()
    output.print_paragraph(
        f"what needs no law: median error, and mean difference from the error of law {law.name} "
        f"({percent_text(found.level)} interval), in %"
    )
    _print_errors(found.differences.replace({"rival": _RIVALS}), [])


def _print_laws(every: LawBacktests, law: Law) -> None:
    output.echo()
    output.print_paragraph(
        f"other laws: median error, mean difference from the error of law {law.name}, and new runs held, in %"
    )
    _print_errors(every.table, ["covered_new_run"])


def _print_errors(table: pd.DataFrame, shares: list[str]) -> None:
    """Positive differences are of what errs more."""
    numbers = ["error", "difference", "low", "high"]
    names = ["rival", "from_decades", "n", *numbers, *shares]
    rows = [[row[0], f"{row[1]:g}", row[2], *map(_percent, row[3:])] for row in output.rows(table, names)]
    header = ["", "from", "runs", *numbers, *("in new run" for _ in shares)]
    output.print_table(header, rows, keys=1, digits=3)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


def _print_optima(optima: pd.DataFrame) -> None:
    output.echo()
    of_all = quantity_text("params", float(optima["of_all"].iloc[0]))
    budget = float(optima["flops"].iloc[0])
    output.echo(f"compute-optimal parameters at {flops_text(budget)} FLOP, which all runs put at {of_all}")
    names = ["window", "params", "low", "high"]
    output.print_table(names, output.rows(optima, names))
