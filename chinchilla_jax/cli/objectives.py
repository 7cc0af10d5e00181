"""`chinchilla-jax objectives`: the law under other objectives, and how far the conclusions move."""

from __future__ import annotations

from typing import Annotated

import typer

from chinchilla_jax.cli import objective_options, options, output


def objectives_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    form: Annotated[
        str,
        typer.Option(metavar="NAME", help="chinchilla, equal_exponents, fixed_floor, kaplan or broken."),
    ] = "chinchilla",
    delta: Annotated[
        list[float] | None,
        options.optional("X", "Half-width of huber's quadratic zone; may be repeated.  [default: 1e-4 to 1]"),
    ] = None,
    penalty: objective_options.PenaltyOption = 10.0,
    weights: objective_options.WeightsOption = None,
    flops: Annotated[
        list[float] | None,
        options.optional(
            "C", "FLOP at which to give tokens per parameter; may be repeated.  [default: 1e20 to 1e26]"
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(metavar="R", help="Resamples of each objective.")] = 400,
    seed: options.SeedOption = 0,
    scheme: objective_options.SchemeOption = "pairs",
    level: options.LevelOption = 0.8,
    as_json: options.JsonOption = False,
) -> None:
    """How much the law and its tokens per parameter depend on what is minimised.

    Huber with every delta, squared error, and absolute error that punishes overestimates, all on the same
    resamples.
    """
    from chinchilla_jax._util.progress_bar import resolve
    from chinchilla_jax.analysis.objective_sensitivity import DELTAS, FLOPS, objective_sensitivity
    from chinchilla_jax.fitting.forms import AsymmetricError, Squared

    deltas = tuple(delta or DELTAS)
    others = (Squared(), AsymmetricError(penalty=penalty))
    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)
    own = objective_options.read_weights(data, weights, drop_highest_loss, column, experiment, runs)
    with resolve("auto") as reporter:
        reporter.begin("objectives", resamples * (len(deltas) + len(others)))
        table = objective_sensitivity(
            runs,
            deltas=deltas,
            others=others,
            form=form,
            flops=flops or FLOPS,
            weights=own,
            resamples=resamples,
            seed=seed,
            scheme=scheme,
            level=level,
            progress=reporter.advance,
        )
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                "form": form,
                "penalty": penalty,
                "weights": weights,
                "resamples": resamples,
                "seed": seed,
                "scheme": scheme,
                "level": level,
                "method": "percentile",
                "objectives": table.to_dict("records"),
            }
        )
        return
    output.say(output.runs_line(runs))
    output.say(f"{form}, {resamples:,} resamples ({scheme}), interval {level:g} percentile")
    names = [name for name in dict.fromkeys(table["quantity"]) if name != "tokens_per_param"]
    groups = list(table.groupby(["objective", "delta"], sort=False, dropna=False))
    output.say()
    output.say_table(
        ["objective", "delta", *names, "status", "failed"],
        (
            [
                name,
                float(width),
                *(float(group.loc[group["quantity"] == each, "estimate"].iloc[0]) for each in names),
                group["status"].iloc[0],
                int(group["n_failed"].iloc[0]),
            ]
            for (name, width), group in groups
        ),
    )
    ratios = table[table["quantity"] == "tokens_per_param"]
    for budget, rows in ratios.groupby("flops", sort=False):
        output.say()
        output.say(f"tokens per parameter at {budget:.3g} FLOP")
        output.say_table(
            ["objective", "delta", "estimate", "low", "high"],
            rows[["objective", "delta", "estimate", "low", "high"]].itertuples(index=False),
        )
