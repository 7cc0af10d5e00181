"""`chinchilla-jax forms`: laws compared by what they predict of runs that they were not fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax._util.labels import kind_text, quantity_text
from chinchilla_jax._util.text import list_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, print_cost
from chinchilla_jax.cli.fit_options import (
    Solver,
    floor_option,
    law_option,
    newton_options,
    objective_options,
    read_laws,
    weights_option,
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
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Cost, Objective
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
        output.progress("forms", len(laws) * parts * (resamples + 1)) as advance,
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

    if as_json:
        settings = {
            "weights": weights,
            "folds": folds,
            "resamples": resamples,
            "seed": seed,
            **scheme_fields(comparison.scheme, comparison.dependence),
        }
        output.print_json(_fields(runs, comparison, flops, settings, left_out) | _together_fields(together))
    else:
        output.print_runs(runs)
        print_dependence(comparison.dependence)
        output.echo(output.objective_text(comparison.objective, weights))
        _print_fits(comparison.fits, flops, runs)
        _print_comparison(comparison, left_out)
        if together is not None:
            _print_together(*together)


def _read_runs(resampling: Resampling, table: Table, columns: tuple[str, ...]) -> Runs:
    """The runs, with the columns that --split names.

    Raises:
        UsageError: an embedded table has no such column.
    """
    if columns and table.data in choices.DATASETS:
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

    with output.progress("ensemble", _RESAMPLES * len(comparison.fits)) as advance:
        ensemble = stack_laws(
            runs,
            [fit.model for fit in comparison.fits if fit.status.certified],
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


def _together_fields(together: tuple[Ensemble, Prediction] | None) -> dict[str, Any]:
    if together is None:
        return {}
    ensemble, found = together
    return {
        "ensemble": {
            "held_out": ensemble.held_out,
            "laws": output.records(ensemble.table),
            "left_out": ensemble.left_out,
            "places": output.doubtful_records(found.table, found.doubts),
            "by_law": output.records(found.by_law),
        }
    }


def _print_together(ensemble: Ensemble, found: Prediction) -> None:
    """The weights, and each place with the interval of the mixture."""
    named = zip(ensemble.names, ensemble.weights, strict=True)
    shares = list_text([f"{law} {100 * weight:.0f}%" for law, weight in named])
    output.echo()
    output.print_paragraph(f"all laws together, weighed by runs held out {ensemble.held_out}: {shares}")
    limits = ("loss", "mean_low", "mean_high", "new_run_low", "new_run_high")
    rows = []
    for row in found.table.to_dict("records"):
        counts = [quantity_text(name, row[name]) for name in ("params", "tokens")]
        percent = [f"{100 * row[name]:.2f}" for name in ("within", "between")]
        rows.append([*counts, *(f"{row[name]:.4f}" for name in limits), *percent])
    header = ["params", "tokens", *(name.replace("_", " ") for name in limits), "within (%)", "between (%)"]
    output.print_table(header, rows, keys=2, doubts=found.doubts)
    output.print_paragraph(
        "within: standard deviation of a law's mean over its resamples; between: of the laws' means; both "
        "are in the intervals"
    )
    for why in ensemble.left_out:
        output.print_paragraph(f"left out: {why}")


def _fields(
    runs: Runs,
    comparison: FormComparison,
    flops: tuple[float, ...],
    settings: dict[str, Any],
    left_out: list[str],
) -> dict[str, Any]:
    from chinchilla_jax.planning.plausibility import largest_compute

    cost = runs.cost
    largest = largest_compute(runs, cost)
    return {
        "data": output.runs_fields(runs),
        **output.objective_fields(comparison.objective),
        **settings,
        "level": comparison.level,
        "method": comparison.method,
        "cost": cost_fields(cost),
        "fits": [_fit_fields(fit, flops, largest, cost) for fit in comparison.fits],
        "comparison": output.records(comparison.table),
        "pairs": output.records(comparison.pairs),
        "sentences": comparison.sentences,
        "left_out": [*left_out, *comparison.left_out],
        "warnings": comparison.warnings,
    }


def _print_fits(fits: Sequence[FitResult], flops: tuple[float, ...], runs: Runs) -> None:
    """Every law on all runs, with its tokens per parameter at these budgets."""
    from chinchilla_jax.planning.plausibility import compute_doubt, largest_compute, times_beyond

    cost = runs.cost
    largest = largest_compute(runs, cost)
    print_cost(cost, overruled=False)
    output.echo()
    headers = [f"D/N at {c:.3g}{f' ({far})' if (far := times_beyond(c, largest)) else ''}" for c in flops]
    output.print_table(
        ["form", "p", "objective", "status", *headers],
        (
            [fit.model.name, fit.model.size, fit.objective_value, fit.status.name, *_ratios(fit, flops, cost)]
            for fit in fits
        ),
        doubts=[_doubt(fit, flops, cost) for fit in fits],
    )
    for c in flops:
        if doubt := compute_doubt(c, largest):
            output.echo(f"{c:.3g} FLOP: {doubt}")
    output.echo()
    output.print_table(["form", "scale %", "R2"], ([fit.model.name, *_goodness(fit)] for fit in fits))


def _print_comparison(comparison: FormComparison, left_out: list[str]) -> None:
    """A table for each split, and what they say."""
    for name, group in comparison.table.groupby("split", sort=False):
        output.echo()
        error = f"error (%), difference with {kind_text(comparison.level, comparison.method)} interval"
        output.echo(f"held out {name}: {error}")
        shown = group[["form", "error", "difference", "low", "high", "p_best"]].copy()
        percent = ["error", "difference", "low", "high"]
        shown[percent] = (100 * shown[percent]).round(3)
        shown["resamples"] = group["n_resamples"]
        output.print_table(list(shown), output.rows(shown))
    for sentence in comparison.sentences:
        output.echo()
        output.print_paragraph(sentence)
    every = [*left_out, *comparison.left_out]
    if every:
        output.echo()
    for why in every:
        output.print_paragraph(f"left out: {why}")
    output.print_warnings(comparison.warnings)


def _goodness(fit: FitResult) -> list[str]:
    """Residual scale in per cent and R2 of ln L; "-" without an estimate."""
    found = fit.goodness
    return ["-", "-"] if found is None else [f"{found.scale_percent:.3g}", f"{found.r_squared:.5g}"]


def _ratios(fit: FitResult, budgets: tuple[float, ...], cost: Cost) -> list[float]:
    """Compute-optimal tokens per parameter; NaN where there is no estimate or no optimum."""
    from chinchilla_jax.planning.plausibility import known_ratio

    if not fit.status.certified:
        return [math.nan] * len(budgets)
    return list(map(known_ratio, fit.law.tokens_per_param(budgets, cost)))


def _doubt(fit: FitResult, budgets: tuple[float, ...], cost: Cost) -> str:
    """What makes these tokens per parameter hard to believe, or why there are none; "" otherwise."""
    from chinchilla_jax.planning.plausibility import no_optimum, ratio_doubt

    if not fit.status.certified:
        return f"no estimate: {fit.status.name}"
    missing = no_optimum(fit.law)
    if missing:
        return f"no optimum: {missing}"
    return next(filter(None, map(ratio_doubt, _ratios(fit, budgets, cost))), "")


def _fit_fields(
    fit: FitResult, budgets: tuple[float, ...], largest: float | None, cost: Cost
) -> dict[str, Any]:
    from chinchilla_jax.planning.plausibility import prescription_doubt

    return {
        "form": fit.model.name,
        "formula": fit.model.formula,
        "source": fit.model.source,
        "parameters": fit.parameters if fit.status.certified else None,
        "objective_value": fit.objective_value,
        "goodness": fit.goodness and fit.goodness.as_dict(),
        "status": fit.status.name,
        "certificate": fit.certificate.value,
        "n_starts": fit.starts.n,
        "n_at_best": fit.starts.n_at_best,
        "tokens_per_param": [
            {
                "flops": budget,
                "tokens_per_param": ratio,
                "doubt": prescription_doubt(budget, ratio, largest=largest) or None,
            }
            for budget, ratio in zip(budgets, _ratios(fit, budgets, cost), strict=True)
        ],
    }
