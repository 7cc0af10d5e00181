"""`chinchilla-jax next`: which runs to train next, to narrow an answer most for an allowance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import quantity_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.fit_options import law_options, objective_options, weights_option
from chinchilla_jax.cli.options import bundle, level_option, output_options, resamples_option, seed_option
from chinchilla_jax.cli.resampling import (
    WEIGHT_SCHEMES,
    Resampling,
    print_dependence,
    resampling_options,
    scheme_fields,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax import Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.planning.design import NextRuns

_RANGE = (choices.POSITIVE, choices.POSITIVE)


def _range(name: str, what: str) -> Any:
    return click.option(name, type=_RANGE, metavar="LOW HIGH", default=None, help=f"{what} of a run.")


limit_options = bundle(
    "limits",
    lambda sizes, **others: {k: v for k, v in {"params": sizes, **others}.items() if v is not None},
    {
        "sizes": _range("--sizes", "Least and most parameters"),
        "tokens": _range("--tokens", "Least and most tokens"),
        "ratio": _range("--ratio", "Least and most tokens per parameter"),
        "largest": click.option(
            "--largest", type=choices.POSITIVE, metavar="FLOP", help="Most that one run may cost (FLOP)."
        ),
        "off_frontier": click.option(
            "--off-frontier",
            type=choices.Number("a factor of 1 or more", lambda x: x >= 1),
            metavar="X",
            help="Most by which tokens per parameter may differ from the optimum of the run's compute, as a "
            "factor either way.",
        ),
    },
)
"""What one run may be, as `limits`: the fields of `planning.design.Limits` that are given."""

target_options = bundle(
    "aim",
    lambda **given: {
        "target": list(given["target"]) or "tokens_per_param",
        "flops": given["flops"],
        "against": given["against"],
    },
    {
        "target": click.option(
            "--target",
            metavar="TARGET",
            multiple=True,
            show_default="tokens_per_param",
            help="What to narrow: tokens_per_param, params, tokens, loss or multiplier @FLOP; loss@N,D; a, b "
            "(exponents of compute) or a parameter of the law; with =WEIGHT beside others; repeatable.",
        ),
        "flops": click.option(
            "--flops",
            type=choices.POSITIVE,
            metavar="C",
            show_default="5.76e23 for chinchilla, else the largest run",
            help="Budget of targets that name none (FLOP).",
        ),
        "against": click.option(
            "--against", metavar="TABLE", help="Table to compare with, for the target multiplier."
        ),
    },
)
"""--target, --flops and --against, as `aim`: what `next_runs` takes by these names."""


@click.command("next")
@table_options()
@target_options
@click.option(
    "--allowance", type=choices.POSITIVE, metavar="FLOP", help="What the new runs may cost together."
)
@click.option("--runs", type=choices.WholeNumber(1), metavar="K", default=3, help="How many there may be.")
@click.option(
    "--candidates",
    metavar="TABLE",
    help="Runs to choose from: two of params, tokens and flops, and the law's further variables.  [default: "
    "a grid that DATA suggests]",
)
@limit_options
@click.option(
    "--robust", is_flag=True, help="Choose by what is left where the law is off by an error of a run."
)
@click.option(
    "--tables", type=choices.WholeNumber(2), metavar="K", default=64, help="Simulated tables of a choice."
)
@click.option(
    "--refits", type=choices.WholeNumber(2), metavar="R", default=200, help="Resamples of each of these."
)
@resamples_option(1000, "Bootstrap resamples of DATA.")
@seed_option("Seed of the resamples and of what is simulated.")
@level_option
@resampling_options(WEIGHT_SCHEMES)
@cost_option
@law_options
@objective_options
@weights_option
@output_options
def next_command(
    table: Table,
    aim: dict[str, Any],
    allowance: float | None,
    runs: int,
    candidates: str | None,
    limits: dict[str, Any],
    robust: bool,
    tables: int,
    refits: int,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    cost: str | None,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    as_json: bool,
) -> None:
    """Choose the runs to train next: those that narrow an answer most for an allowance.

    Of all candidates the best set to first order is found, then simulated beside what simple rules would
    train: losses are drawn, laws fitted again and resampled, and the simulated width decides.
    """
    if allowance is None:
        raise UsageError("next needs an allowance; give --allowance FLOP, such as --allowance 1e20")
    from chinchilla_jax import next_runs
    from chinchilla_jax.planning.design import fits_of

    read = resampling.read_runs(table.for_laws(law))
    own = table.read_weights(weights, read)
    with (
        output.refusing(as_json, "runs"),
        output.progress("next runs", fits_of(resamples, tables, refits)) as advance,
    ):
        found = next_runs(
            read, law, allowance=allowance, runs=runs, candidates=candidates, limits=limits, robust=robust,
            level=level, resamples=resamples, tables=tables, refits=refits, seed=seed, objective=objective,
            weights=own, scheme=resampling.read(), cost=read_cost(cost), progress=advance, **aim,
        )  # fmt: skip
    if as_json:
        output.print_json(_fields(read, found, seed))
    else:
        _print(read, found)


def _fields(runs: Runs, found: NextRuns, seed: int) -> dict[str, Any]:
    boot = found.boot
    return {
        "data": output.runs_fields(runs),
        "model": boot.point.model.name,
        **output.objective_fields(boot.point.objective),
        "seed": seed,
        "level": found.level,
        **scheme_fields(boot.scheme, boot.dependence),
        "cost": cost_fields(found.cost),
        "allowance": found.allowance,
        "sentence": found.sentence,
        "runs": output.records(found.table),
        "targets": output.records(found.widths),
        "choices": output.records(found.choices),
        "prices": output.records(found.prices),
        "rests_on_law": found.rests_on_law,
        "fits": found.n_fits,
        "warnings": found.warnings,
    }


def _print(runs: Runs, found: NextRuns) -> None:
    boot = found.boot
    output.print_runs(runs)
    output.echo(
        f"{boot.point.model.name}, {found.n_fits:,} simulated fits, interval {found.level:g} percentile"
    )
    print_dependence(boot.dependence)
    print_cost(found.cost)
    output.echo()
    output.print_paragraph(f"{found.sentence[:1].upper()}{found.sentence[1:]}.")
    output.echo()
    first = found.widths["target"].iloc[0]
    counts = ["params", "tokens", "flops", "tokens_per_param"]
    rows = [
        [
            *(quantity_text(name, row[name]) for name in counts),
            f"{row['width']:.3f}",
            f"{row['without']:.3f}",
            "inside" if row["inside"] else "outside",
            f"{row['off_frontier']:.3g}x",
        ]
        for row in output.records(found.table)
    ]
    header = [*counts, "width after it", "without it", "the runs", "off frontier"]
    output.print_table(header, rows)
    output.echo()
    output.echo("targets: intervals now and expected")
    rows = [
        [row["target"], row["estimate"], row["low"], row["high"], row["low_after"], row["high_after"],
         f"{row['width']:.3f}", f"{row['after']:.3f}", f"{row['error']:.3f}", row["scale"]]
        for row in output.records(found.widths)
    ]  # fmt: skip
    names = ["target", "estimate", "low", "high", "low after", "high after", "width", "after", "+-", "scale"]
    output.print_table(names, rows, digits=4)
    output.echo()
    output.echo(f"choices that were simulated: width of {first}")
    rows = [
        [f"{row['choice']}{' *' * row['chosen']}", row["runs"], f"{row['flops']:.3g}", f"{row['linear']:.3f}",
         f"{row['after']:.3f}", f"{row['error']:.3f}"]
        for row in output.records(found.choices)
    ]  # fmt: skip
    output.print_table(["choice", "runs", "flops", "to first order", "simulated", "+-"], rows)
    output.echo()
    output.echo("what less money buys, to first order")
    rows = [
        [f"{row['flops']:.3g}", row["runs"], f"{row['linear']:.3f}",
         ", ".join(f"{quantity_text('params', n, 3)} on {quantity_text('tokens', d, 3)}"
                   for n, d in zip(row["params"], row["tokens"], strict=True))]
        for row in output.records(found.prices)
    ]  # fmt: skip
    output.print_table(["flops", "runs", "width", "which"], rows)
    output.echo()
    output.print_paragraph(found.law_sentence)
    output.print_warnings(found.warnings)
