"""`chinchilla-jax coverage`: how often intervals hold the truth, on simulated data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.limits import FITS
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import DELTA_DEFAULT, Solver, delta_option, law_options, newton_options
from chinchilla_jax.cli.options import (
    boundary_option,
    flops_option,
    out_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import AUTO, Resampling, resampling_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax.laws import Law
    from chinchilla_jax.laws.objectives import Delta

_COLUMNS = ["quantity", "flops", "level", "method", "coverage", "coverage_error", "median_width", "n"]
_HEADER = ["quantity", "flops", "level", "method", "coverage", "error", "width", "n"]
_RANKED = ["method", "worst miss", "its error", "at flops", "at level", "high/low"]


@click.command("coverage")
@table_options()
@law_options
@click.option(
    "--datasets", type=choices.WholeNumber(1, FITS), metavar="M", default=200, help="Data sets to simulate."
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
@click.option(
    "--groups",
    metavar="NAME",
    default="auto",
    help="Runs that share part of their errors: params (those of one size), flops (one budget), replicates, "
    "a column of DATA, none, or auto for what the residuals show.",
)
@click.option(
    "--correlation",
    type=choices.SHARE,
    metavar="X",
    show_default="estimated from DATA",
    help="Correlation of the errors within a group, 0 to 1.",
)
@resampling_options()
@delta_option(show_default=DELTA_DEFAULT)
@boundary_option
@click.option(
    "--method",
    type=choices.Name(choices.METHODS),
    metavar="NAME",
    multiple=True,
    show_default="all",
    help=f"Interval method: {choices.or_text(choices.METHODS)}; repeatable.",
)
@flops_option("Training compute (FLOP) to prescribe for", ("1e20", "1e22", "1e24", "1e26"))
@seed_option("Seed of the data sets and resamples.")
@out_option("every interval")
@newton_options
@figures_option
@output_options
def coverage_command(
    table: Table,
    law: Law,
    datasets: int,
    resamples: int,
    inner: int,
    noise: str,
    groups: str,
    correlation: float | None,
    resampling: Resampling,
    delta: Delta | None,
    boundary: str,
    method: tuple[str, ...],
    flops: tuple[float, ...],
    seed: int,
    out: str | None,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Measure the coverage of every interval on simulated data.

    Simulates losses from the fitted law and residuals at the parameters and tokens of the runs, then fits,
    resamples and computes intervals for each data set. Runs whose residuals are correlated, such as those of
    one size, share part of their errors in the simulation too.
    """
    from chinchilla_jax.analysis import CoverageSpec, coverage, rank_methods

    settings: dict[str, Any] = {
        "datasets": datasets,
        "resamples": resamples,
        "inner": inner,
        "noise": noise,
        "groups": groups,
        "correlation": correlation,
        "scheme": resampling.read(),
        "boundary": boundary,
        "flops": flops,
        "seed": seed,
    }
    spec = CoverageSpec(**settings, methods=method or None)
    runs = resampling.read_runs(table.for_laws(law), groups=None if groups in ("auto", "none") else groups)
    with output.progress("coverage", datasets, "data sets", laws=[law], n_runs=len(runs)) as advance:
        found = coverage(
            runs, spec, law=law, delta=delta, out=out, options=solver.options(law, "huber"), progress=advance
        )
    try:
        ranked = rank_methods(found, runs)
    except UsageError:  # no budget lies within the range of these runs: nothing to rank
        ranked = None
    if figures:
        from chinchilla_jax import plots

        figures.save({"coverage": lambda: plots.coverage(found)})
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                "model": law.name,
                **settings,
                "scheme": resampling.name if resampling.cluster is None else "cluster",
                "cluster": resampling.cluster,
                "schemes": found.attrs["schemes"],
                "delta": found.attrs["delta"],
                "groups": found.attrs["groups"],
                "correlation": found.attrs["correlation"],
                "coverage": output.records(found),
                "methods": [] if ranked is None else output.records(ranked),
                "no_optimum": found.attrs["no_optimum"] or None,
                "warnings": found.attrs["warnings"],
            }
        )
        return
    output.print_runs(runs)
    scheme = found.attrs["scheme"] if resampling.cluster is None else f"cluster by {resampling.cluster}"
    if scheme == AUTO and found.attrs["schemes"]:
        scheme += ": " + ", ".join(f"{name} in {n:,}" for name, n in found.attrs["schemes"].items())
    named = "" if law.name == "chinchilla" else f"law {law.name}, "
    output.echo(f"{named}{datasets:,} data sets of {resamples:,} resamples ({scheme}), noise {noise}")
    output.echo(f"simulated: {found.attrs['sentence']}")
    output.echo()
    output.print_table(_HEADER, output.rows(found, _COLUMNS), keys=4, digits=3)
    if found.attrs["no_optimum"]:
        output.echo()
        output.print_paragraph(
            "the law that is simulated has no compute-optimal size at any budget, because "
            f"{found.attrs['no_optimum']}: no interval of a prescription can hold one"
        )
    if ranked is not None:
        output.echo()
        output.echo("tokens per parameter within the range of the data, worst of all budgets and levels")
        output.print_table(_RANKED, output.rows(ranked), digits=3)
    output.print_warnings(found.attrs["warnings"])
