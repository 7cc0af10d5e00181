"""`chinchilla-jax wald`: whether a published law agrees with the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chinchilla_jax.cli import output
from chinchilla_jax.cli.fit import require_certified
from chinchilla_jax.cli.fit_options import Solver, delta_option, newton_options
from chinchilla_jax.cli.law_source import given_law_option, parse_law
from chinchilla_jax.cli.options import output_options, resamples_option, seed_option
from chinchilla_jax.cli.resampling import (
    WEIGHT_SCHEMES,
    Resampling,
    print_dependence,
    resampling_options,
    scheme_fields,
    scheme_text,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax.laws.objectives import Delta


@click.command("wald")
@table_options()
@given_law_option("The law to test", default="hoffmann2022")
@delta_option(default=1e-3)
@resamples_option()
@seed_option()
@resampling_options((*WEIGHT_SCHEMES, "wild"))
@newton_options
@output_options
def wald_command(
    table: Table,
    law: str,
    delta: Delta,
    resamples: int,
    seed: int,
    resampling: Resampling,
    solver: Solver,
    as_json: bool,
) -> None:
    """Test all five parameters of a law jointly against the fit.

    Compares the squared Mahalanobis distance of the law from the fit, by the covariance of the resamples,
    with chi-squared with 5 degrees of freedom and with the distances of the resamples themselves.
    """
    from chinchilla_jax import Huber, bootstrap
    from chinchilla_jax.analysis.wald import wald_test

    tested = parse_law(law)
    objective = Huber(delta)
    runs = resampling.read_runs(table)
    with output.progress("bootstrap", resamples) as advance:
        boot = bootstrap(
            runs,
            resamples=resamples,
            seed=seed,
            objective=objective,
            scheme=resampling.read(),
            options=solver.options(),
            progress=advance,
        )
    require_certified(boot.point)
    test = wald_test(boot, tested, runs)
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                **output.objective_fields(boot.point.objective),
                "law": tested.as_dict(),
                "fit": boot.point.law.as_dict(),
                "resamples": resamples,
                "seed": seed,
                **scheme_fields(boot.scheme, boot.dependence),
                "statistic": test.statistic,
                "degrees": test.degrees,
                "p_value": test.p_value,
                "log10_p": test.log10_p,
                "p_bootstrap": test.p_bootstrap,
                "n_resamples": test.n_resamples,
                "n_failed": test.n_failed,
                "coordinates": output.records(test.table),
                "sentence": test.sentence,
            }
        )
        return
    output.echo(output.runs_line(runs))
    output.echo(f"law {law}")
    output.echo(f"against the fit by {objective.name}, {resamples:,} resamples ({scheme_text(boot.scheme)})")
    print_dependence(boot.dependence)
    output.echo()
    output.print_table(list(test.table), output.rows(test.table))
    output.echo()
    output.print_paragraph(test.sentence)
