"""`chinchilla-jax coverage`: simulated data sets, and whether the intervals hold the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chinchilla_jax.cli import options, output

_COLUMNS = ["quantity", "flops", "level", "method", "coverage", "coverage_error", "median_width", "n"]
_RANKED = ["method", "worst miss", "its error", "at flops", "at level", "high/low"]
_HEADER = ["quantity", "flops", "level", "method", "coverage", "error", "width", "n"]


def coverage_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    datasets: Annotated[int, typer.Option(metavar="M", help="How many data sets to simulate.")] = 200,
    resamples: Annotated[int, typer.Option(metavar="R", help="Resamples of each data set.")] = 1000,
    inner: Annotated[
        int, typer.Option(metavar="K", help="Resamples of each resample (studentised); 0 leaves it out.")
    ] = 0,
    noise: Annotated[
        str, typer.Option(metavar="NAME", help="residuals (of any run) or signed (each run's own).")
    ] = "residuals",
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the data sets and resamples.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep every interval here, and go on from there.")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Measure the coverage of every interval on simulated data.

    Losses are drawn from the fitted law with the fitted residuals, on the parameters and tokens of the runs;
    each data set is fitted, resampled and given intervals by every method.
    """
    from chinchilla_jax._util.errors import UsageError
    from chinchilla_jax._util.progress_bar import resolve
    from chinchilla_jax.analysis.coverage import CoverageSpec, coverage, rank_methods

    spec = CoverageSpec(datasets=datasets, resamples=resamples, inner=inner, noise=noise, seed=seed)
    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)
    with resolve("auto") as reporter:
        reporter.begin("coverage", datasets, "data sets")
        table = coverage(runs, spec, out=out, progress=reporter.advance)
    try:
        ranked = rank_methods(table, runs)
    except UsageError:  # no budget within the range of these runs: nothing to rank
        ranked = None
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                "datasets": datasets,
                "resamples": resamples,
                "inner": inner,
                "noise": noise,
                "seed": seed,
                "coverage": table.to_dict("records"),
                "methods": [] if ranked is None else ranked.to_dict("records"),
            }
        )
        return
    output.say(output.runs_line(runs))
    output.say(f"{datasets:,} data sets of {resamples:,} resamples, noise {noise}")
    output.say()
    output.say_table(_HEADER, table[_COLUMNS].itertuples(index=False), keys=4, digits=3)
    if ranked is not None:
        output.say()
        output.say("tokens per parameter within the range of the data, worst of all budgets and levels")
        output.say_table(_RANKED, ranked.itertuples(index=False), digits=3)
