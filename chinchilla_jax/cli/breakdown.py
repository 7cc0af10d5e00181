"""`chinchilla-jax breakdown`: the smallest miscount of each kind that changes each conclusion."""

from __future__ import annotations

import click

from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.fit_options import Solver, newton_options
from chinchilla_jax.cli.options import level_option, output_options, resamples_option, seed_option
from chinchilla_jax.cli.table_options import Table, table_options

_COLUMNS = ["family", "direction", "criterion", "size", "low", "high", "documented", "times_documented"]
_HEADER = ["family", "to", "criterion", "size", "low", "high", "documented", "times documented"]


@click.command("breakdown")
@table_options()
@click.option(
    "--family",
    metavar="NAME",
    multiple=True,
    help="Family of perturbations, such as multiplicative; repeatable.  "
    "[default: the four that miscount parameters]",
)
@resamples_option(400, "Bootstrap resamples at every size tried.")
@click.option(
    "--repeats",
    type=choices.WholeNumber(1),
    metavar="K",
    default=5,
    help="Draws of the noise of random families.",
)
@level_option
@seed_option("Seed of the resamples and noise.")
@newton_options
@output_options
def breakdown_command(
    table: Table,
    family: tuple[str, ...],
    resamples: int,
    repeats: int,
    level: float,
    seed: int,
    solver: Solver,
    as_json: bool,
) -> None:
    """Find the smallest miscount that changes each conclusion.

    Each is found by bisection and given with its bootstrap interval and as a multiple of the documented
    miscount (15.2%). Takes several minutes.
    """
    from chinchilla_jax.analysis.breakdown_points import breakdown, n_searches
    from chinchilla_jax.perturbations import PARAMS_FAMILIES

    runs = table.read()
    families = family or PARAMS_FAMILIES
    with output.progress("breakdown", n_searches(runs, families, repeats), "searches") as advance:
        found = breakdown(
            runs,
            families=families,
            resamples=resamples,
            repeats=repeats,
            level=level,
            seed=seed,
            options=solver.options(),
            progress=advance,
        )
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                "resamples": resamples,
                "repeats": repeats,
                "level": level,
                "seed": seed,
                "breakdown": output.records(found),
            }
        )
        return
    output.echo(output.runs_line(runs))
    output.echo(f"smallest miscount that changes a conclusion, interval {level:g}; - if none does")
    output.echo()
    output.print_table(_HEADER, output.rows(found, _COLUMNS), keys=3, digits=3)
