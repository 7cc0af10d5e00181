"""`chinchilla-jax forms`: functional forms, by what they predict of runs they have not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import objective_options, options, output

if TYPE_CHECKING:
    from chinchilla_jax.fitting.forms import FormFit


def forms_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    form: Annotated[
        list[str] | None,
        options.optional(
            "NAME",
            "chinchilla, equal_exponents, fixed_floor, kaplan or broken; may be repeated.  [default: all]",
        ),
    ] = None,
    reference: Annotated[
        str, typer.Option(metavar="NAME", help="The form that others are compared with.")
    ] = "chinchilla",
    floor: Annotated[
        float, typer.Option(metavar="E", help="Irreducible loss of fixed_floor (nats per token).")
    ] = 1.69,
    objective: objective_options.ObjectiveOption = "huber",
    delta: objective_options.DeltaOption = 1e-3,
    penalty: objective_options.PenaltyOption = 10.0,
    weights: objective_options.WeightsOption = None,
    split: Annotated[
        list[str] | None,
        options.optional(
            "NAME",
            "How runs are held out: runs, params (whole sizes) or flops (above a budget); may be repeated.  "
            "[default: all]",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(metavar="K", help="Folds of the first two.")] = 5,
    budget: Annotated[
        list[float] | None,
        options.optional(
            "C", "FLOP above which runs are held out; may be repeated.  [default: the upper 40% and 20%]"
        ),
    ] = None,
    flops: Annotated[
        list[float] | None,
        options.optional(
            "C", "FLOP at which to give tokens per parameter; may be repeated.  [default: 1e20, 5.76e23]"
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(metavar="R", help="Resamples of the comparison.")] = 40,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of resamples and folds.")] = 0,
    scheme: objective_options.SchemeOption = "pairs",
    level: options.LevelOption = 0.8,
    as_json: options.JsonOption = False,
) -> None:
    """Which functional form predicts best the runs it was not fitted to.

    Forms are compared by k-fold cross-validation and by extrapolation to larger budgets, with bootstrap
    intervals of the differences. Takes a minute or some.
    """
    from chinchilla_jax._util.progress_bar import resolve
    from chinchilla_jax.analysis.form_comparison import SPLITS, compare_forms, make_splits
    from chinchilla_jax.fitting.forms import FORMS, FixedFloor, fit_form, read_form

    def named(name: str) -> Any:
        return FixedFloor(floor) if name == FixedFloor.name else read_form(name)

    chosen = [named(name) for name in (form or FORMS)]
    base = named(reference)
    chosen = [base, *(each for each in chosen if each != base)]
    minimised = objective_options.read_objective(objective, delta, penalty)
    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)
    own = objective_options.read_weights(data, weights, drop_highest_loss, column, experiment, runs)
    budgets = list(flops or (1e20, 5.76e23))
    if len(chosen) < 2:
        raise UsageError(f"forms: {base.name} has nothing to be compared with; give another --form")
    parts = sum(
        len(each.masks)
        for kind in split or SPLITS
        for each in make_splits(runs, kind, folds=folds, budgets=budget or None, seed=seed)
    )
    with resolve("auto") as reporter:
        reporter.begin("forms", len(chosen) * parts * (resamples + 1))
        comparison = compare_forms(
            runs,
            chosen,
            reference=base,
            objective=minimised,
            weights=own,
            splits=split or SPLITS,
            folds=folds,
            budgets=budget or None,
            resamples=resamples,
            seed=seed,
            scheme=scheme,
            level=level,
            progress=reporter.advance,
        )
        fits = [fit_form(runs, each, objective=minimised, weights=own) for each in chosen]
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                **{key: value for key, value in vars(minimised).items()},
                "objective": minimised.name,
                "weights": weights,
                "folds": folds,
                "resamples": resamples,
                "seed": seed,
                "scheme": scheme,
                "level": level,
                "method": comparison.method,
                "fits": [_fit_fields(fit, budgets) for fit in fits],
                "comparison": comparison.table.to_dict("records"),
                "sentences": comparison.sentences,
            }
        )
        return
    output.say(output.runs_line(runs))
    output.say(f"{minimised.name}{f', weights from {weights}' if weights else ''}")
    output.say()
    output.say_table(
        ["form", "p", "objective", "status", *(f"D/N at {budget:.3g}" for budget in budgets)],
        (
            [
                fit.form.name,
                fit.form.size,
                fit.objective_value,
                fit.status.name,
                *map(float, fit.tokens_per_param(budgets)),
            ]
            for fit in fits
        ),
    )
    for name, group in comparison.table.groupby("split", sort=False):
        output.say()
        output.say(f"held out {name}: error (%), difference with {level:g} {comparison.method} interval")
        shown = group[["form", "error", "difference", "low", "high"]].copy()
        shown[["error", "difference", "low", "high"]] *= 100
        shown["resamples"] = group["n_resamples"]
        output.say_table(list(shown.columns), shown.itertuples(index=False))
    for sentence in comparison.sentences:
        output.say()
        output.say_sentence(sentence)


def _fit_fields(fit: FormFit, budgets: list[float]) -> dict[str, Any]:
    ratios = fit.tokens_per_param(budgets)
    return {
        "form": fit.form.name,
        "formula": fit.form.formula,
        "source": fit.form.source,
        "parameters": fit.natural,
        "objective_value": fit.objective_value,
        "status": fit.status.name,
        "certificate": fit.decrement,
        "n_starts": fit.n_starts,
        "n_at_best": fit.n_at_best,
        "tokens_per_param": [
            {"flops": flops, "tokens_per_param": float(ratio)}
            for flops, ratio in zip(budgets, ratios, strict=True)
        ],
    }
