"""`chinchilla-jax isoflop`: the IsoFLOP estimate beside the parametric fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chinchilla_jax.cli import laws, options, output

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import Runs
    from chinchilla_jax.planning import IsoflopResult

_DEFAULT_FLOPS = [1e22, 1e24, 1e26]
_MINIMA = ("flops", "n_runs", "params", "low", "high", "tokens_per_param", "loss", "n_without_minimum")
_MINIMA_HEADER = ("flops", "runs", "params", "low", "high", "tokens/param", "loss", "no minimum")
_COMPARED = ("quantity", "flops", "method", "point", "low", "median", "high")


def isoflop_command(
    data: options.DataArgument = "llama3",
    flops: Annotated[
        list[float] | None,
        typer.Option(
            metavar="C",
            help="Budget to prescribe for; may be repeated.  [default: 1e22 1e24 1e26]",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(
            metavar="C",
            help="Budget of the runs; may be repeated.  [default: those that runs share]",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(metavar="X", help="Share by which a run may miss its budget.")
    ] = 0.15,
    interpretation: options.InterpretationOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    figures: Annotated[
        str | None, options.optional("DIR", "Also draw parabolas and power law into a directory.")
    ] = None,
    resamples: options.ResamplesOption = 4000,
    seed: options.SeedOption = 0,
    level: options.LevelOption = 0.8,
    as_json: options.JsonOption = False,
) -> None:
    """Estimate the optimum by IsoFLOP parabolas.

    A parabola per compute budget, a power law through the minima (approach 2 of Hoffmann et al. 2022), and
    the parametric fit to the same runs beside it.
    """
    from chinchilla_jax.intervals.quantiles import central_tails
    from chinchilla_jax.planning import compare_methods, isoflop

    wanted = flops or _DEFAULT_FLOPS
    central_tails(level)
    options.require_positive("--flops", wanted)
    options.require_positive("--budget", budget or ())
    runs = options.read_runs(data, interpretation, drop_highest_loss, column, experiment)
    result = isoflop(runs, budgets=budget, tolerance=tolerance, resamples=resamples, seed=seed)
    minima = result.minima(level)
    if not as_json:  # before the parametric fit, without which the parabolas stand too
        _say_minima(runs, result, minima, f"interval {level:g} over {resamples:,} resamples")
    sample = laws.fit_sample(runs, resamples, seed)
    compared = compare_methods(result, sample, wanted, level=level)
    if figures is not None:
        from chinchilla_jax.plots import planning as planning_figures

        bands = planning_figures.isoflop_bands_table(result, sample, level=level)
        planning_figures.save_figures(
            [("isoflop", planning_figures.plot_isoflop(result, runs, bands))], figures
        )
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                "n_left_out": result.n_left_out,
                "n_failed": result.n_failed,
                **laws.sample_fields(sample, level),
                "minima": laws.records(minima),
                "exponents": laws.records(result.exponents(level)),
                "compared": laws.records(compared),
            }
        )
        return
    output.say()
    output.say("both methods on the same runs")
    rows = sorted(compared[list(_COMPARED)].itertuples(index=False), key=lambda row: row.quantity)
    output.say_table(_COMPARED, rows, keys=3)


def _say_minima(runs: Runs, result: IsoflopResult, minima: pd.DataFrame, interval: str) -> None:
    output.say(f"{output.runs_line(runs)}; {result.n_left_out:,} belong to no budget")
    output.say()
    output.say(f"minima of the parabolas, {interval}")
    output.say_table(_MINIMA, minima[list(_MINIMA)].itertuples(index=False))
    for text in _doubts(minima):
        output.say(text)


def _doubts(minima: pd.DataFrame) -> list[str]:
    """What to know about minima that do not lie between the sizes that were trained, or are none."""
    found = []
    for which, what in (
        (minima["outside"], "extrapolated, outside the sizes that were trained"),
        (minima["params"].isna(), "no minimum, so not in the power law"),
    ):
        if which.any():
            found.append(f"{what}: {', '.join(f'{flops:g}' for flops in minima.loc[which, 'flops'])} FLOP")
    return found
