"""`chinchilla-jax objectives`: the law under other objectives, and how far the conclusions move."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS, kind_text
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.cli import output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import (
    Solver,
    delta_option,
    law_options,
    newton_options,
    penalty_option,
    read_own_objective,
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
    scheme_text,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law
    from chinchilla_jax.laws.objectives import Delta

_RATIO = "tokens_per_param"


@click.command("objectives")
@table_options()
@law_options
@delta_option(multiple=True, show_default="1e-4 to 1")
@penalty_option
@click.option(
    "--objective",
    metavar="FILE.py:NAME",
    multiple=True,
    help="A further objective, your own (see docs/how-to/own-objective.md); repeatable.",
)
@weights_option
@flops_option(
    "Training compute (FLOP) at which to show tokens per parameter", ("1e20", "1e22", "5.76e23", "1e26")
)
@resamples_option(400, "Bootstrap resamples for each objective.")
@seed_option()
@resampling_options(WEIGHT_SCHEMES)
@level_option
@out_option("the rows of every objective")
@newton_options
@figures_option
@output_options
def objectives_command(
    table: Table,
    law: Law,
    delta: tuple[Delta, ...],
    penalty: float | None,
    objective: tuple[str, ...],
    weights: str | None,
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
    """Show how the law depends on the objective.

    Fits Huber's objective with every delta, squared error of the log loss and of the loss (raw_squared),
    absolute error that penalises overestimates, and your own, all to the same resamples.
    """
    from chinchilla_jax.analysis.objective_choice import DELTAS, objective_sensitivity
    from chinchilla_jax.bootstrapping.auto_scheme import resolve_scheme
    from chinchilla_jax.laws import read_objective

    deltas = delta or DELTAS
    asymmetric = read_objective("asymmetric", penalty=penalty)
    own_objectives = [read_own_objective(name) for name in objective]
    others = (read_objective("squared"), read_objective("raw_squared"), asymmetric, *own_objectives)
    runs = resampling.read_runs(table.for_laws(law))
    own = table.read_weights(weights, runs)
    scheme, dependence = resolve_scheme(
        resampling.read(), runs, law=law, objective="huber", weights=own, options=solver.options()
    )
    with (
        output.refusing(as_json, "objectives"),
        output.progress(
            "objectives", resamples * (len(deltas) + len(others)), laws=[law], n_runs=len(runs)
        ) as advance,
    ):
        found = objective_sensitivity(
            runs,
            deltas=deltas,
            others=others,
            law=law,
            flops=flops,
            weights=own,
            resamples=resamples,
            seed=seed,
            scheme=scheme,
            level=level,
            options=solver.options(),
            out=out,
            progress=advance,
        )
    if figures:
        from chinchilla_jax import plots

        figures.save({"objectives": lambda: plots.objectives(found)})
    if as_json:
        settings = {
            "model": law.name,
            "penalty": output.objective_fields(asymmetric)["penalty"],
            "weights": weights,
            "resamples": resamples,
            "seed": seed,
            **scheme_fields(scheme, dependence),
            "level": level,
            "method": "percentile",
        }
        output.print_json(
            {
                "data": output.runs_fields(runs),
                **settings,
                "objectives": _records(found, runs),
                "warnings": found.attrs["warnings"],
            }
        )
        return
    output.print_runs(runs)
    output.echo(
        f"law {law.name}: {resamples:,} resamples ({scheme_text(scheme)}), {kind_text(level)} intervals"
    )
    print_dependence(dependence)
    _print_laws(found)
    _print_ratios(found, runs)
    output.print_warnings(found.attrs["warnings"])


def _records(found: pd.DataFrame, runs: Runs) -> list[dict[str, Any]]:
    """The rows for JSON, with what makes tokens per parameter hard to believe."""
    from chinchilla_jax.planning.plausibility import known_ratio, largest_compute, prescription_doubt

    of_ratios = found["quantity"] == _RATIO
    for name in INTERVAL_COLUMNS:
        found.loc[of_ratios, name] = found.loc[of_ratios, name].map(known_ratio)
    largest = largest_compute(runs)
    doubts = []
    for name, status, *row in output.rows(found, ["quantity", "status", "flops", *INTERVAL_COLUMNS]):
        said = _missing(status, row[1]) or prescription_doubt(*row, largest=largest)
        doubts.append(said if name == _RATIO else "")
    return output.doubtful_records(found, doubts)


def _missing(status: str, ratio: float) -> str:
    """Why there are no tokens per parameter; "" where there are."""
    from chinchilla_jax.solvers import Status

    if not Status[status].certified:
        return f"no estimate: {status}"
    return "no compute-optimal point" if math.isnan(ratio) else ""


def _print_laws(found: pd.DataFrame) -> None:
    """The parameters of the point fit of every objective."""
    names = [name for name in dict.fromkeys(found["quantity"]) if name != _RATIO]
    output.echo()
    output.print_table(
        ["objective", "delta", *names, "status", "failed"],
        (
            [
                name,
                float(width),
                *(float(group.loc[group["quantity"] == each, HEADLINE].iloc[0]) for each in names),
                group["status"].iloc[0],
                int(group["n_failed"].iloc[0]),
            ]
            for (name, width), group in found.groupby(["objective", "delta"], sort=False, dropna=False)
        ),
    )


def _print_ratios(found: pd.DataFrame, runs: Runs) -> None:
    """Tokens per parameter by every objective, a table for each budget."""
    from chinchilla_jax.planning.plausibility import (
        compute_doubt,
        known_ratio,
        largest_compute,
        ratio_doubt,
    )

    keys, largest = ["objective", "delta"], largest_compute(runs)
    for budget, group in found[found["quantity"] == _RATIO].groupby("flops", sort=False):
        output.echo()
        far = compute_doubt(float(budget), largest)
        output.echo(f"tokens per parameter at {flops_text(budget)} FLOP{f' ({far})' if far else ''}")
        known = [tuple(map(known_ratio, row)) for row in output.rows(group, INTERVAL_COLUMNS)]
        doubts = [
            _missing(status, row[0]) or ratio_doubt(*row)
            for status, row in zip(group["status"], known, strict=True)
        ]
        rows = [(*name, *row) for name, row in zip(output.rows(group, keys), known, strict=True)]
        output.print_table([*keys, *INTERVAL_COLUMNS], rows, doubts=doubts)
