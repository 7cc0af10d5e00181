"""`chinchilla-jax isoflop`: the IsoFLOP estimate beside the parametric fit."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import click

from chinchilla_jax._util.errors import NoEstimateError
from chinchilla_jax._util.labels import INTERVAL_COLUMNS, kind_text
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.cli import choices, law_source, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import Solver, newton_options
from chinchilla_jax.cli.options import (
    boundary_option,
    flops_option,
    level_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import WEIGHT_SCHEMES, Resampling, resampling_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import Runs
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.laws import Cost
    from chinchilla_jax.planning import IsoflopResult, LawSample

_OTHER_COUNT = 0.01  # relative distance of FLOP per parameter and token from 6 that is pointed out
_PARABOLA = 3  # sizes that determine one
_MINIMA = ("flops", "n_runs", "params", "low", "high", "tokens_per_param", "loss", "n_without_minimum")
_MINIMA_HEADER = ("flops", "runs", "params", "low", "high", "tokens/param", "loss", "no minimum")
_COMPARED = ("quantity", "flops", "method", *INTERVAL_COLUMNS)


@click.command("isoflop")
@table_options(default="llama3")
@flops_option("Training compute (FLOP) to prescribe for", ("1e22", "1e24", "1e26"))
@click.option(
    "--budget",
    type=choices.POSITIVE,
    metavar="C",
    multiple=True,
    show_default="those that several runs share",
    help="Budget of the runs (FLOP); repeatable.",
)
@click.option(
    "--tolerance",
    type=choices.FRACTION,
    metavar="X",
    default=0.15,
    help="Relative distance within which a run belongs to a budget.",
)
@figures_option
@resamples_option()
@seed_option()
@level_option
@resampling_options(WEIGHT_SCHEMES)
@boundary_option
@cost_option
@newton_options
@output_options
def isoflop_command(
    table: Table,
    flops: tuple[float, ...],
    budget: tuple[float, ...],
    tolerance: float,
    figures: Figures,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    boundary: str,
    cost: str | None,
    solver: Solver,
    as_json: bool,
) -> None:
    """Estimate the optimum by IsoFLOP parabolas.

    Fits a parabola to each compute budget and a power law through the minima (approach 2 of Hoffmann et al.
    2022), and compares them with the parametric fit to the same runs.
    """
    from chinchilla_jax import Pairs
    from chinchilla_jax.laws.compute import SIX_ND
    from chinchilla_jax.planning import compare_methods, isoflop
    from chinchilla_jax.planning.isoflop_budgets import grouped_by_budget
    from chinchilla_jax.planning.law_sample import boundary_table

    asked = read_cost(cost)
    runs = resampling.read_runs(table)
    grouped_by_budget(runs, budget or None, tolerance)  # refuses before anything is fitted
    fitted = _fitted(runs, resamples, seed, solver, resampling, boundary, asked)
    scheme = None if isinstance(fitted, NoEstimateError) else fitted.scheme
    result = isoflop(
        runs,
        budgets=budget or None,
        tolerance=tolerance,
        resamples=resamples,
        seed=seed,
        scheme=scheme,
        cost={"6nd": SIX_ND, "measured": None}.get(asked) if isinstance(asked, str) else asked,
    )
    minima = result.minima(level)
    drawn = _drawn(result, scheme)
    if not as_json:  # also where the parametric fit fails: the parabolas are of use without it
        interval = f"{kind_text(level)} interval over {resamples:,} resamples, {drawn}"
        whole = result.within and not (scheme is None or isinstance(scheme, Pairs))
        _print_minima(runs, result, minima, interval, whole=whole)
    own = {
        "data": output.runs_fields(runs),
        "cost": cost_fields(result.cost),
        "n_left_out": result.n_left_out,
        "n_failed": result.n_failed,
        "resampled": drawn,
        "minima": output.doubtful_records(minima, _ratio_doubts(minima)),
        "exponents": output.records(result.exponents(level)),
    }
    if isinstance(fitted, NoEstimateError):
        if as_json:
            output.print_json(own | {"point_law": None, "compared": None, "warnings": [str(fitted)]})
        raise fitted
    compared = compare_methods(result, fitted, flops, level=level)
    both = boundary_table(
        fitted,
        level,
        {
            ("tokens_per_param", each): operator.methodcaller("tokens_per_param", each, result.cost)
            for each in flops
        },
    )
    if figures:
        from chinchilla_jax import plots

        figures.save({"isoflop": lambda: plots.isoflop(result, fitted, level=level)})
    if as_json:
        output.print_json(
            own
            | law_source.sample_fields(fitted, level)
            | {
                "compared": output.doubtful_records(compared.drop(columns="doubt"), list(compared["doubt"])),
                "other_boundary": output.optional_records(both),
            }
        )
        return
    output.echo()
    output.echo("both methods on the same runs")
    law_source.print_resampling(fitted)
    rows = sorted(output.rows(compared, [*_COMPARED, "doubt"]), key=lambda row: row[0])
    output.print_table(_COMPARED, [row[:-1] for row in rows], keys=3, doubts=[row[-1] for row in rows])
    output.print_boundary(both, fitted.boundary)
    output.print_warnings(fitted.warnings)


def _fitted(
    runs: Runs,
    resamples: int,
    seed: int,
    solver: Solver,
    resampling: Resampling,
    boundary: str,
    cost: Cost | str | None,
) -> LawSample | NoEstimateError:
    """The parametric fit's laws, or why there are none."""
    try:
        return law_source.fit_sample(runs, resamples, seed, solver, resampling, boundary, cost=cost)
    except NoEstimateError as error:
        return error


def _drawn(result: IsoflopResult, scheme: Scheme | None) -> str:
    """How the parabolas are resampled."""
    if result.within or scheme is None:
        return "runs drawn within each budget"
    return f"scheme {scheme.text}"


def _print_minima(
    runs: Runs, result: IsoflopResult, minima: pd.DataFrame, interval: str, *, whole: bool
) -> None:
    output.print_runs(runs, after=f"; {result.n_left_out:,} belong to no budget")
    print_cost(result.cost)
    output.echo()
    output.echo(f"minima of the parabolas, {interval}")
    output.print_table(_MINIMA_HEADER, output.rows(minima, _MINIMA), digits=4, doubts=_ratio_doubts(minima))
    for text in _remarks(minima):
        output.print_paragraph(text)
    if whole:
        output.print_paragraph(
            "the scheme takes whole budgets, whose common errors do not move a minimum: runs are drawn "
            "within each budget"
        )


def _ratio_doubts(minima: pd.DataFrame) -> list[str]:
    from chinchilla_jax.planning.plausibility import ratio_doubt

    return [ratio_doubt(float(ratio)) for ratio in minima["tokens_per_param"]]


def _remarks(minima: pd.DataFrame) -> list[str]:
    """On another count of compute, extrapolated minima, budgets without one, and parabolas of three sizes."""
    found = []
    per_token = minima["flops_per_param_token"].dropna()
    if (per_token / 6 - 1).abs().max() > _OTHER_COUNT:
        found.append(
            f"compute as the table counts it: {per_token.min():.3g} to {per_token.max():.3g} FLOP per "
            "parameter and token at the minima, not 6"
        )
    for which, what in (
        (
            minima["outside"] & ~minima["used"],
            "extrapolated, outside the sizes that were trained, so not in the power law",
        ),
        (
            minima["outside"] & minima["used"],
            "extrapolated, outside the sizes that were trained; in the power law for want of two others",
        ),
        (
            minima["n_sizes"] <= _PARABOLA,
            "a parabola through three sizes meets them all, and its interval, if any, shows only the spread "
            "of repeated runs; train a fourth size",
        ),
        (minima["params"].isna(), "no minimum, so not in the power law"),
    ):
        if which.any():
            found.append(f"{what}: {', '.join(map(flops_text, minima.loc[which, 'flops']))} FLOP")
    return found
