"""`chinchilla-jax wald`: whether a published law, or another table, agrees with the runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.compare import COMPARE_RECIPES
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit import require_certified
from chinchilla_jax.cli.fit_options import DELTA_DEFAULT, Solver, delta_option, newton_options
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
    from chinchilla_jax.analysis.wald import WaldTest
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws.objectives import Delta

_LAW = "hoffmann2022"


@click.command("wald")
@table_options()
@given_law_option("The law to test", show_default=_LAW)
@click.option(
    "--errors",
    metavar="S,S",
    help="Standard errors of the law: of alpha,beta, or of E,A,B,alpha,beta with --compare all.  "
    "[default: the law is exact]",
)
@click.option(
    "--against",
    metavar="DATA2",
    help="Another table to compare with, instead of a law; bootstrapped too. Options about columns and "
    "rows hold for both.",
)
@click.option(
    "--against-where",
    metavar="CONDITION",
    multiple=True,
    help="Rows of DATA2 to read, in place of --where, such as another corpus of DATA; repeatable.",
)
@click.option(
    "--compare",
    type=choices.Name(choices.WALD_COMPARED),
    metavar="NAME",
    default="exponents",
    help="exponents (alpha and beta), or all five parameters, for losses of one text and tokenizer.",
)
@delta_option(show_default=DELTA_DEFAULT)
@resamples_option()
@seed_option()
@resampling_options((*WEIGHT_SCHEMES, "wild"))
@newton_options
@figures_option
@output_options
def wald_command(
    table: Table,
    law: str | None,
    errors: str | None,
    against: str | None,
    against_where: tuple[str, ...],
    compare: str,
    delta: Delta | None,
    resamples: int,
    seed: int,
    resampling: Resampling,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Test whether a published law, or another table, agrees with the fit.

    Compares the squared Mahalanobis distance from the fit, by the covariance of the resamples, with
    chi-squared and with the distances of the resamples themselves. E, A and B depend on the text and the
    tokenizer, so by default only the exponents are compared.
    """
    from chinchilla_jax.analysis.wald import wald_test, wald_test_of_tables
    from chinchilla_jax.laws import CHINCHILLA

    if against is not None and (law is not None or errors is not None):
        other = "--law" if law is not None else "--errors"
        raise UsageError(f"{other} is about a law and --against about a table; give one of them")
    if against_where and against is None:
        raise UsageError("--against-where is about the rows of --against TABLE; give it too")
    name = law or _LAW
    tested, published = parse_law(name), None if errors is None else _read_errors(errors)
    tables = [resampling.read_runs(table)]
    if against is not None:
        second = dataclasses.replace(table, data=against, where=against_where or table.where)
        tables.append(resampling.read_runs(second))

    def fitted(each: Runs, seed: int) -> BootstrapResult:
        boot = resampling.bootstrap(
            each, CHINCHILLA, resamples=resamples, seed=seed, delta=delta, options=solver.options()
        )
        require_certified(boot.point)
        return boot

    boots = [fitted(tables[0], seed)]
    if against is None:
        test = wald_test(boots[0], tested, tables[0], compare=compare, errors=published)
    else:
        # Another seed: tables of one length would share their draws, and are taken as independent.
        boots.append(fitted(tables[1], (seed + 1) % 2**32))
        test = wald_test_of_tables(boots[0], tables[0], boots[1], tables[1], compare=compare)
    if figures:
        from chinchilla_jax import plots

        figures.save({"wald": lambda: plots.wald(test)})
    if as_json:
        law_shown = tested if against is None else boots[1].point.law
        settings = {
            "law": law_shown.as_dict(),
            "errors": published,
            "compare": compare,
            "fit": boots[0].point.law.as_dict(),
            "resamples": resamples,
            "seed": seed,
        }
        output.print_json(_fields(tables, boots, test, settings))
    else:
        _print(tables, boots, test, name)


def _fields(
    tables: list[Runs], boots: list[BootstrapResult], test: WaldTest, settings: dict[str, Any]
) -> dict[str, Any]:
    against = None
    if len(tables) > 1:
        scheme = scheme_fields(boots[1].scheme, boots[1].dependence)
        against = {**output.runs_fields(tables[1]), **scheme}
    return {
        "data": output.runs_fields(tables[0]),
        "against": against,
        **output.objective_fields(boots[0].point.objective),
        **settings,
        **scheme_fields(boots[0].scheme, boots[0].dependence),
        "statistic": test.statistic,
        "degrees": test.degrees,
        "p_value": test.p_value,
        "log10_p": test.log10_p,
        "p_bootstrap": test.p_bootstrap,
        "n_resamples": test.n_resamples,
        "n_failed": test.n_failed,
        "coordinates": output.records(test.table),
        "sentence": test.sentence,
        "notes": test.notes,
        "warnings": _warnings(tables, boots),
    }


def _print(tables: list[Runs], boots: list[BootstrapResult], test: WaldTest, law: str) -> None:
    alone = len(tables) == 1
    output.print_runs(tables[0])
    if alone:
        output.echo(f"law {law}")
    else:
        output.print_runs(tables[1], before="against ")
    schemes = " and ".join(dict.fromkeys(scheme_text(boot.scheme) for boot in boots))
    objectives = " and ".join(dict.fromkeys(output.objective_text(boot.point.objective) for boot in boots))
    n_resamples = len(boots[0].status_codes)
    what = "against the fit" if alone else "fits"
    output.echo(f"{what} by {objectives}, {n_resamples:,} resamples ({schemes})")
    for table, boot in zip(tables, boots, strict=True):
        print_dependence(boot.dependence, of="" if alone else table.name)
    output.echo()
    output.print_table(list(test.table), output.rows(test.table), intervals=[(1, 2, 3)], digits=3)
    output.echo()
    output.print_paragraph(test.sentence)
    for note in test.notes:
        output.print_paragraph(note)
    if not alone:
        output.print_paragraph(COMPARE_RECIPES)
    output.print_warnings(_warnings(tables, boots))


def _warnings(tables: list[Runs], boots: list[BootstrapResult]) -> list[str]:
    """Those of both bootstraps, with the table that each is about where there are two."""
    return [
        warning if len(tables) == 1 else f"{table.name}: {warning}"
        for table, boot in zip(tables, boots, strict=True)
        for warning in boot.warnings
    ]


def _read_errors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise UsageError(
            f"--errors {short(text)}: give numbers such as 0.02,0.02, the standard errors of alpha and beta"
        ) from None
