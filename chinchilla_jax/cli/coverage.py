"""`chinchilla-jax coverage`: how often intervals hold the truth, on simulated data sets."""

from __future__ import annotations

from pathlib import Path

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.fit_options import Solver, newton_options
from chinchilla_jax.cli.options import output_options, resamples_option, seed_option
from chinchilla_jax.cli.table_options import Table, table_options

_COLUMNS = ["quantity", "flops", "level", "method", "coverage", "coverage_error", "median_width", "n"]
_HEADER = ["quantity", "flops", "level", "method", "coverage", "error", "width", "n"]
_RANKED = ["method", "worst miss", "its error", "at flops", "at level", "high/low"]


@click.command("coverage")
@table_options()
@click.option(
    "--datasets", type=choices.WholeNumber(1), metavar="M", default=200, help="Data sets to simulate."
)
@resamples_option(1000, "Bootstrap resamples of each data set.")
@click.option(
    "--inner",
    type=choices.WholeNumber(),
    metavar="K",
    default=0,
    help="Resamples of each resample, for studentised intervals; 0 omits these.",
)
@click.option(
    "--noise",
    type=choices.Name(choices.NOISES),
    metavar="NAME",
    default="residuals",
    help="Simulated errors: residuals (of any run) or signed (the run's own, with a random sign).",
)
@seed_option("Seed of the data sets and resamples.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep every interval in DIR, and resume from there.",
)
@newton_options
@output_options
def coverage_command(
    table: Table,
    datasets: int,
    resamples: int,
    inner: int,
    noise: str,
    seed: int,
    out: Path | None,
    solver: Solver,
    as_json: bool,
) -> None:
    """Measure the coverage of every interval on simulated data.

    Simulates losses from the fitted law and residuals at the parameters and tokens of the runs, then fits,
    resamples and computes intervals by every method for each data set.
    """
    from chinchilla_jax.analysis import CoverageSpec, coverage, rank_methods

    spec = CoverageSpec(datasets=datasets, resamples=resamples, inner=inner, noise=noise, seed=seed)
    runs = table.read()
    with output.progress("coverage", datasets, "data sets") as advance:
        found = coverage(runs, spec, out=out, options=solver.options(), progress=advance)
    try:
        ranked = rank_methods(found, runs)
    except UsageError:  # no budget lies within the range of these runs: nothing to rank
        ranked = None
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                "datasets": datasets,
                "resamples": resamples,
                "inner": inner,
                "noise": noise,
                "seed": seed,
                "coverage": output.records(found),
                "methods": [] if ranked is None else output.records(ranked),
            }
        )
        return
    output.echo(output.runs_line(runs))
    output.echo(f"{datasets:,} data sets of {resamples:,} resamples, noise {noise}")
    output.echo()
    output.print_table(_HEADER, output.rows(found, _COLUMNS), keys=4, digits=3)
    if ranked is not None:
        output.echo()
        output.echo("tokens per parameter within the range of the data, worst of all budgets and levels")
        output.print_table(_RANKED, output.rows(ranked), digits=3)
