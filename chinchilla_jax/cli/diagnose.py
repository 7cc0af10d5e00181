"""`chinchilla-jax diagnose`: which miscount leads from one count of the parameters to another."""

from __future__ import annotations

from typing import Annotated

import typer

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import options, output

_COLUMNS = ["family", "size", "low", "high", "support", "distance"]


def diagnose_command(
    data: options.DataArgument,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="Another count: reported, standard, best_fit, as_plotted, or a table of the same runs; DATA "
            "again, if --other-column names its other count.",
        ),
    ],
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    other_column: Annotated[
        list[str] | None,
        typer.Option(
            "--other-column",
            metavar="QUANTITY=NAME",
            help="As --column, for OTHER.  [default: that of DATA]",
            show_default=False,
        ),
    ] = None,
    use: Annotated[
        str, typer.Option(metavar="NAME", help="law (all that is fitted) or curve (tokens per parameter).")
    ] = "law",
    resamples: Annotated[int, typer.Option(metavar="R", help="Resamples of either count.")] = 400,
    seed: options.SeedOption = 0,
    level: options.LevelOption = 0.8,
    as_json: options.JsonOption = False,
) -> None:
    """Name the miscount that leads from one count to another.

    Both counts are bootstrapped on the same resamples; families are ranked by how near their closed form
    comes to the difference.
    """
    from chinchilla_jax import load_runs
    from chinchilla_jax.analysis.diagnosis import diagnose_counts
    from chinchilla_jax.datasets.load import COUNTINGS

    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)
    if other in COUNTINGS:
        if other_column:
            raise UsageError(f"--other-column is for a table; {other} is a count of the embedded chinchilla")
        second = options.read_runs(data, other, drop_highest_loss)
    else:
        # A column that is not named again is the same one in both tables.
        columns = {
            **(options.read_columns(column) or {}),
            **(options.read_columns(other_column, "--other-column") or {}),
        }
        second = load_runs(
            other, drop_highest_loss=drop_highest_loss, columns=columns or None, experiment=experiment
        )
    found = diagnose_counts(runs, second, resamples=resamples, seed=seed, use=use, level=level)
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                "other": output.runs_fields(second),
                "use": use,
                "resamples": resamples,
                "n_resamples": found.n_resamples,
                "seed": seed,
                "sentence": found.sentence,
                "families": found.table.to_dict("records"),
            }
        )
        return
    output.say(output.runs_line(runs))
    output.say(f"against {output.runs_line(second)}")
    output.say()
    output.say_sentence(found.sentence)
    output.say()
    output.say_table(_COLUMNS, found.table[_COLUMNS].itertuples(index=False))
