"""`chinchilla-jax forms`: laws compared by what they predict of runs that they were not fitted to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit import fit_drawings
from chinchilla_jax.cli.fit_options import (
    Solver,
    floor_option,
    law_option,
    newton_options,
    objective_options,
    read_laws,
    weights_option,
)
from chinchilla_jax.cli.forms_text import (
    forms_fields,
    print_comparison,
    print_fits,
    print_together,
    together_fields,
)
from chinchilla_jax.cli.options import (
    flops_option,
    level_option,
    out_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import (
    WEIGHT_SCHEMES,
    Resampling,
    print_dependence,
    resampling_options,
    scheme_fields,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax.analysis.form_result import FormComparison
    from chinchilla_jax.bootstrapping.ensemble import Ensemble
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.table import Table as TableOfPlaces
    from chinchilla_jax.laws import Objective
    from chinchilla_jax.planning import Prediction


_RESAMPLES = 1000  # of each law of an ensemble


@click.command("forms")
@table_options()
@law_option("Laws to compare, repeatable", multiple=True, show_default="those whose variables DATA has")
@click.option(
    "--reference",
    type=choices.NameOrCode(choices.LAWS),
    metavar="NAME",
    show_default="chinchilla, or the first that DATA determines",
    help="The law that the others are compared with.",
)
@floor_option
@objective_options
@weights_option
@click.option(
    "--split",
    metavar="NAME",
    multiple=True,
    show_default="all",
    help="How runs are held out: runs (at random), params (whole model sizes), flops (above a budget), "
    "tokens (above a count), or a column of DATA (each of its groups in turn); repeatable.",
)
@click.option(
    "--folds",
    type=choices.WholeNumber(2),
    metavar="K",
    default=5,
    help="Folds of the splits runs and params.",
)
@click.option(
    "--budget",
    type=choices.POSITIVE,
    metavar="C",
    multiple=True,
    show_default="those that hold out the largest 40% and 20%",
    help="Training compute (FLOP) above which runs are held out; repeatable.",
)
@click.option(
    "--at",
    metavar="PLACES",
    help="Also predict losses by all laws together: a table of two of params, tokens and flops, or of flops "
    "alone for compute-optimal runs.",
)
@flops_option("Training compute (FLOP) at which to show tokens per parameter", ("1e20", "5.76e23"))
@resamples_option(40, "Bootstrap resamples of the comparison.")
@seed_option("Seed of the resamples and folds.")
@resampling_options(WEIGHT_SCHEMES)
@level_option
@out_option("the scores of every law in every split")
@newton_options
@figures_option
@output_options
def forms_command(
    table: Table,
    law: tuple[str, ...],
    reference: str | None,
    floor: float | None,
    objective: Objective | str,
    weights: str | None,
    split: tuple[str, ...],
    folds: int,
    budget: tuple[float, ...],
    at: str | None,
    flops: tuple[float, ...],
    resamples: int,
    seed: int,
    resampling: Resampling,
    level: float,
    out: str | None,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Compare laws by how well they predict held-out runs.

    Uses k-fold cross-validation and extrapolation to larger budgets and token counts, with bootstrap
    intervals of the differences. Takes about a minute.
    """
    from chinchilla_jax.analysis.comparable_laws import comparable_laws
    from chinchilla_jax.analysis.form_comparison import compare_forms
    from chinchilla_jax.analysis.splits import read_splits
    from chinchilla_jax.laws import CHINCHILLA
    from chinchilla_jax.planning.prediction_places import read_place_table

    named = list(dict.fromkeys([*([reference] if reference else []), *law]))
    if len(set(law)) == 1 and law[0] == (reference or choices.STANDARD[0]):
        raise UsageError(f"forms: {law[0]} has nothing to be compared with; give another --law")
    # Its E comes from elsewhere: only where it is asked for.
    asked = read_laws([*named, *([choices.FIXED_FLOOR] if floor is not None and not law else [])], floor)
    table = table.for_laws(*asked) if law else replace(table.for_laws(*asked), known_variables=True)
    columns = tuple(name for name in split if name not in choices.SPLITS)
    runs = _read_runs(resampling, table, columns)
    places = None if at is None else read_place_table(at)
    usual, left_out = ([], []) if law else comparable_laws(runs)
    own = table.read_weights(weights, runs)
    laws = [*usual, *asked]
    splits, budgets = split or None, budget or None
    held, _ = read_splits(runs, splits, own, CHINCHILLA.size, folds=folds, budgets=budgets, seed=seed)
    parts = sum(len(each.masks) for each in held)
    with (
        output.refusing(as_json, "comparison"),
        output.progress("forms", len(laws) * parts * (resamples + 1), laws=laws, n_runs=len(runs)) as advance,
    ):
        comparison = compare_forms(
            runs,
            laws,
            reference=reference,
            objective=objective,
            weights=own,
            splits=splits,
            folds=folds,
            budgets=budgets,
            resamples=resamples,
            seed=seed,
            scheme=resampling.read(),
            level=level,
            options=solver.options(),
            out=out,
            progress=advance,
        )
        together = (
            None
            if places is None
            else _predict(runs, comparison, places, own, split, folds, budget, seed, solver)
        )
    if figures:
        for fitted in comparison.fits:
            if fitted.status.certified:
                figures.save(fit_drawings(replace(fitted, runs=runs), f"_{fitted.model.name}"))
    if as_json:
        settings = {
            "weights": weights,
            "folds": folds,
            "resamples": resamples,
            "seed": seed,
            **scheme_fields(comparison.scheme, comparison.dependence),
        }
        output.print_json(
            forms_fields(runs, comparison, flops, settings, left_out) | together_fields(together)
        )
    else:
        output.print_runs(runs)
        print_dependence(comparison.dependence)
        output.echo(output.objective_text(comparison.objective, weights))
        print_fits(comparison.fits, flops, runs)
        print_comparison(comparison, left_out)
        if together is not None:
            print_together(*together)


def _read_runs(resampling: Resampling, table: Table, columns: tuple[str, ...]) -> Runs:
    """The runs, with the columns that --split names.

    Raises:
        UsageError: an embedded table has no such column.
    """
    if columns and table.data in choices.FIGURES:
        near = closest(columns[0], choices.SPLITS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise UsageError(
            f"--split {short(columns[0])} is not one of {', '.join(choices.SPLITS)}, and the embedded "
            f"{table.data} has no such column{hint}"
        )
    return resampling.read_runs(replace(table, group=(*table.group, *columns)))


def _predict(
    runs: Runs,
    comparison: FormComparison,
    places: TableOfPlaces,
    weights: Any,
    split: tuple[str, ...],
    folds: int,
    budget: tuple[float, ...],
    seed: int,
    solver: Solver,
) -> tuple[Ensemble, Prediction]:
    """The losses at these places by all laws that the runs determine, weighed by the first split."""
    from chinchilla_jax.analysis import stack_laws
    from chinchilla_jax.planning import predict

    laws = [fit.model for fit in comparison.fits if fit.status.certified]
    with output.progress("ensemble", _RESAMPLES * len(laws), laws=laws, n_runs=len(runs)) as advance:
        ensemble = stack_laws(
            runs,
            laws,
            split=split[0] if split else "flops",
            folds=folds,
            budgets=budget or None,
            resamples=_RESAMPLES,
            seed=seed,
            objective=comparison.objective,
            weights=weights,
            scheme=comparison.scheme,
            options=solver.options(),
            progress=advance,
        )
    return ensemble, predict(ensemble, places, level=comparison.level, seed=seed)
