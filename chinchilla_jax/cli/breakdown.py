"""`chinchilla-jax breakdown`: the smallest miscount of each kind that changes each conclusion."""

from __future__ import annotations

from typing import Annotated

import typer

from chinchilla_jax.cli import options, output

_COLUMNS = ["family", "direction", "criterion", "size", "low", "high", "documented", "times_documented"]
_HEADER = ["family", "to", "criterion", "size", "low", "high", "documented", "times documented"]


def breakdown_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a family of perturbations; may be repeated.  [default: the four of parameters]",
            show_default=False,
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(metavar="R", help="Resamples of every size tried.")] = 400,
    repeats: Annotated[int, typer.Option(metavar="K", help="Draws of the noise.")] = 5,
    level: options.LevelOption = 0.8,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of resamples and noise.")] = 0,
    as_json: options.JsonOption = False,
) -> None:
    """Find the smallest miscount that changes each conclusion.

    Found by bisection, each with its bootstrap interval and its distance in documented miscounts (15.2%).
    Takes some minutes.
    """
    from chinchilla_jax._util.progress_bar import resolve
    from chinchilla_jax.analysis.breakdown import breakdown, n_searches
    from chinchilla_jax.perturbations import PARAMS_FAMILIES

    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)
    families = tuple(family or PARAMS_FAMILIES)
    with resolve("auto") as reporter:
        reporter.begin("breakdown", n_searches(runs, families, repeats), "searches")
        table = breakdown(
            runs,
            families=families,
            resamples=resamples,
            repeats=repeats,
            level=level,
            seed=seed,
            progress=reporter.advance,
        )
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                "resamples": resamples,
                "repeats": repeats,
                "level": level,
                "seed": seed,
                "breakdown": table.to_dict("records"),
            }
        )
        return
    output.say(output.runs_line(runs))
    output.say(f"smallest miscount that changes a conclusion, interval {level:g}; - where none does")
    output.say()
    output.say_table(_HEADER, table[_COLUMNS].itertuples(index=False), keys=3, digits=3)
