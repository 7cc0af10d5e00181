"""`chinchilla-jax influence`: the runs that the answer rests on, and the answer without the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.digits import interval_texts
from chinchilla_jax._util.text import flops_text, short_exponent
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, print_cost
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import (
    Solver,
    law_options,
    newton_options,
    objective_options,
    weights_option,
)
from chinchilla_jax.cli.options import USUAL_BUDGET, flops_option, output_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.analysis.run_influence import Influence
    from chinchilla_jax.laws import Law, Objective

_RATIO = "tokens_per_param"
_INFLUENTIAL = ["row", "params", "tokens", "loss", "left_out", _RATIO, "change", "times_error"]
_RESIDUALS = ["row", "params", "tokens", "loss", "residual", "left_out"]


@click.command("influence")
@table_options()
@law_options
@objective_options
@weights_option
@flops_option(
    "Training compute (FLOP) of the answer",
    at_several="lists are about the first, and a table has each",
    show_default=USUAL_BUDGET,
)
@click.option(
    "--share",
    type=choices.PROBABILITY,
    metavar="S",
    multiple=True,
    default=("0.01", "0.02", "0.05"),
    help="Share of the runs that is left out as the worst; repeatable.",
)
@click.option("--top", type=choices.WholeNumber(1), metavar="K", default=5, help="Rows to show of each list.")
@newton_options
@figures_option
@output_options
def influence_command(
    table: Table,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    flops: tuple[float, ...],
    share: tuple[float, ...],
    top: int,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Show which runs move the answer most.

    Fits the law without each run in turn, and without the worst 1, 2 and 5% of the runs: those with the
    largest residuals, and those that raise and that lower the compute-optimal tokens per parameter most.
    """
    from chinchilla_jax.analysis.run_influence import influence

    runs = table.for_laws(law).read()
    own = table.read_weights(weights, runs)
    count = len(runs) + 3 * len(set(share))
    with (
        output.refusing(as_json, "influence"),
        output.progress("influence", count, laws=[law], n_runs=len(runs)) as advance,
    ):
        found = influence(
            runs, law, flops=flops or None, shares=tuple(dict.fromkeys(share)), objective=objective,
            weights=own, options=solver.options(law, objective), progress=advance,
        )  # fmt: skip
    if figures:
        from chinchilla_jax import plots

        figures.save({"influence": lambda: plots.influence(found)})
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                "model": found.point.model.name,
                **output.objective_fields(found.point.objective),
                "weights": weights,
                "flops": found.flops,
                "cost": cost_fields(found.point.cost),
                "law": found.point.parameters,
                "tokens_per_param": found.ratio,
                "standard_error": found.error,
                "sentence": found.sentence,
                "budgets": output.records(found.budgets),
                "runs": output.records(found.table),
                "without": output.records(found.without),
                "warnings": found.warnings,
            }
        )
        return
    output.print_runs(runs)
    print_cost(found.point.cost, overruled=False)
    output.echo()
    output.print_sentence(found.sentence)
    output.echo()
    if len(found.budgets) > 1:
        _print_budgets(found)
        output.echo(f"at {flops_text(found.flops)} FLOP:")
    output.echo("runs that move it most")
    _print_rows(found, found.most_influential(top), _INFLUENTIAL)
    output.echo()
    output.echo("largest residuals (left out: by the fit without the run)")
    _print_rows(found, found.largest_residuals(top), _RESIDUALS)
    output.echo()
    _print_without(found)
    output.print_warnings(found.warnings)


def _print_budgets(found: Influence) -> None:
    """The answer at every budget, and the run that moves it most."""
    output.echo("tokens per parameter at each budget, and the run that moves it most")
    rows = []
    for row in output.records(found.budgets):
        error = row["standard_error"] * row[_RATIO]
        ratios = interval_texts([row[_RATIO], row["without"]], error, _RATIO)
        rows.append(
            [flops_text(row["flops"]), ratios[0], row["row"], ratios[1], row["change"], row["times_error"]]
        )
    header = ["flops", "tokens per param", "run", "without it", "change", "times error"]
    output.print_table(header, rows, digits=3)
    output.echo()


def _print_rows(found: Influence, table: pd.DataFrame, names: list[str]) -> None:
    shown = table[names].copy()
    shown["loss"] = [short_exponent(f"{loss:#.5g}") for loss in shown["loss"]]
    if _RATIO in names:
        shown[_RATIO] = _ratio_texts(found, shown[_RATIO])
    header = [name.replace("_", " ") for name in names]
    output.print_table(header, output.rows(shown), digits=3)


def _ratio_texts(found: Influence, ratios: Sequence[float]) -> list[str]:
    """Tokens per parameter to the digits that their standard error supports, as in the sentence."""
    return interval_texts(list(ratios), found.error * found.ratio, _RATIO)


def _print_without(found: Influence) -> None:
    from chinchilla_jax.analysis.run_influence import WAYS

    output.echo("without the worst runs")
    parameters = list(found.point.parameters)
    header = ["share", "runs", "left out", "tokens per param", *parameters]
    rows: list[list[Any]] = [
        ["none", 0, "", *_ratio_texts(found, [found.ratio]), *found.point.parameters.values()]
    ]
    for row, ratio in zip(
        output.records(found.without), _ratio_texts(found, found.without[_RATIO]), strict=True
    ):
        said = [f"{row['share']:.2g}", row["n_left_out"], WAYS[row["way"]], ratio]
        rows.append([*said, *(row[name] for name in parameters)])
    output.print_table(header, rows, keys=3, digits=4)
