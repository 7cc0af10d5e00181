"""What `chinchilla-jax forms` prints: every law's fit, the comparison, and losses by all laws together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.labels import kind_text, quantity_text
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax.cli import output
from chinchilla_jax.cli.costs import cost_fields, print_cost

if TYPE_CHECKING:
    from chinchilla_jax.analysis.form_result import FormComparison
    from chinchilla_jax.bootstrapping.ensemble import Ensemble
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Cost
    from chinchilla_jax.planning import Prediction


def together_fields(together: tuple[Ensemble, Prediction] | None) -> dict[str, Any]:
    """For JSON: losses by all laws together, if they were asked for."""
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


def print_together(ensemble: Ensemble, found: Prediction) -> None:
    """The weights, and each place with the interval of the mixture."""
    from chinchilla_jax.planning.prediction import loss_texts

    named = zip(ensemble.names, ensemble.weights, strict=True)
    shares = list_text([f"{law} {100 * weight:.0f}%" for law, weight in named])
    output.echo()
    output.print_paragraph(f"all laws together, weighed by runs held out {ensemble.held_out}: {shares}")
    limits = ("loss", "mean_low", "mean_high", "new_run_low", "new_run_high")
    rows = []
    for row in found.table.to_dict("records"):
        counts = [quantity_text(name, row[name]) for name in ("params", "tokens")]
        percent = [f"{100 * row[name]:.2f}" for name in ("within", "between")]
        of_law, of_runs = loss_texts(row)
        rows.append([*counts, *of_law, *of_runs, *percent])
    header = ["params", "tokens", *(name.replace("_", " ") for name in limits), "within (%)", "between (%)"]
    output.print_table(header, rows, keys=2, doubts=found.doubts, intervals=())
    output.print_paragraph(
        "within: standard deviation of a law's mean over its resamples; between: of the laws' means; both "
        "are in the intervals"
    )
    for why in ensemble.left_out:
        output.print_paragraph(f"left out: {why}")


def forms_fields(
    runs: Runs,
    comparison: FormComparison,
    flops: tuple[float, ...],
    settings: dict[str, Any],
    left_out: list[str],
) -> dict[str, Any]:
    """For JSON: every fit, the comparison, and what was left out."""
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


def print_fits(fits: Sequence[FitResult], flops: tuple[float, ...], runs: Runs) -> None:
    """Every law on all runs, with its tokens per parameter at these budgets."""
    from chinchilla_jax.planning.plausibility import compute_doubt, largest_compute, times_beyond

    cost = runs.cost
    largest = largest_compute(runs, cost)
    print_cost(cost, overruled=False)
    output.echo()
    headers = [
        f"D/N at {flops_text(c)}{f' ({far})' if (far := times_beyond(c, largest)) else ''}" for c in flops
    ]
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
            output.echo(f"{flops_text(c)} FLOP: {doubt}")
    output.echo()
    output.print_table(["form", "scale %", "R2"], ([fit.model.name, *_goodness(fit)] for fit in fits))


def print_comparison(comparison: FormComparison, left_out: list[str]) -> None:
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
