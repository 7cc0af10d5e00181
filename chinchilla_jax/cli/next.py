"""`chinchilla-jax next`: which runs to train next, to narrow an answer most for an allowance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, read_cost
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import law_options, objective_options, read_laws, weights_option
from chinchilla_jax.cli.next_options import RunSteps, limit_options, new_options, step_options, target_options
from chinchilla_jax.cli.next_text import print_diagnosis, print_new, print_next
from chinchilla_jax.cli.options import (
    level_option,
    output_options,
    refuse_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import WEIGHT_SCHEMES, Resampling, resampling_options, scheme_fields
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.planning.design import NextRuns, TableDiagnosis


_OF_NEW = (
    "new", "target", "flops", "allowance", "largest", "prior", "noise", "sweep", "save", "tables", "seed",
    "level", "figures", "as_json", "quiet",
)  # fmt: skip
_NEW_ONLY = ("prior", "noise", "sweep", "save")
_CHOOSING = (
    "runs", "candidates", "once", "sizes", "tokens", "ratio", "largest", "off_frontier", "batch", "gpus",
    "hours", "device", "precision", "mfu", "robust", "laws", "tables", "refits",
)  # fmt: skip


@click.command("next")
@table_options("chinchilla")
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
@click.option("--once", is_flag=True, help="Choose each candidate once at most.")
@limit_options
@step_options
@click.option(
    "--robust", is_flag=True, help="Choose by what is left where the law is off by an error of a run."
)
@click.option(
    "--laws",
    metavar="LAW",
    multiple=True,
    help="Choose what is narrowest on average over --law and this law too, and print widths under each; "
    "repeatable.",
)
@click.option(
    "--tables",
    type=choices.WholeNumber(2),
    metavar="K",
    show_default="64, and 200 with --new",
    help="Simulated tables of a choice, or of a design and prior.",
)
@click.option(
    "--refits", type=choices.WholeNumber(2), metavar="R", default=200, help="Resamples of each of these."
)
@click.option("--diagnose", is_flag=True, help="Say what the sizes and tokens of DATA can tell instead.")
@click.option(
    "--new",
    is_flag=True,
    help="Design a sweep from nothing instead: IsoFLOP, grid, ladder and exchanged designs beside each "
    "other, for --largest and --allowance.",
)
@new_options
@resamples_option(1000, "Bootstrap resamples of DATA.")
@seed_option("Seed of the resamples and of what is simulated.")
@level_option
@resampling_options(WEIGHT_SCHEMES)
@cost_option
@law_options
@objective_options
@weights_option
@figures_option
@output_options
def next_command(
    table: Table,
    aim: dict[str, Any],
    allowance: float | None,
    runs: int,
    candidates: str | None,
    once: bool,
    limits: dict[str, Any],
    steps: RunSteps,
    robust: bool,
    laws: tuple[str, ...],
    tables: int | None,
    refits: int,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    cost: str | None,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    figures: Figures,
    diagnose: bool,
    new: bool,
    plans: dict[str, Any],
    as_json: bool,
) -> None:
    """Choose the runs to train next: those that narrow an answer most for an allowance.

    Searches the candidates for the runs that narrow the interval of the answer most, to first order; then
    simulates them beside what simple rules would train (draws losses, fits laws again and resamples), and
    proposes the set with the narrowest simulated interval.
    """
    if new:
        refuse_options(lambda name: name not in _OF_NEW, "--new begins without runs; leave it out")
        _design_new(aim, limits, allowance, level, tables or 200, seed, plans, figures, as_json)
        return
    refuse_options(_NEW_ONLY.__contains__, "this is for a design from nothing; give --new too")
    if (allowance is None) != diagnose:
        raise UsageError(
            "next needs an allowance; give --allowance FLOP, such as --allowance 1e20, or --diagnose"
            if allowance is None
            else "--diagnose chooses no runs; leave out --allowance, or --diagnose"
        )
    if diagnose:
        refuse_options(_CHOOSING.__contains__, "--diagnose chooses no runs; leave it out")
    from chinchilla_jax import next_runs
    from chinchilla_jax.planning.design import diagnose_design, diagnosis_of, fits_of

    read = resampling.read_runs(table.for_laws(law))
    own = table.read_weights(weights, read)
    common = {
        **aim, "level": level, "resamples": resamples, "seed": seed, "objective": objective, "weights": own,
        "scheme": resampling.read(), "cost": read_cost(cost),
    }  # fmt: skip
    if diagnose:
        with (
            output.refusing(as_json, "runs"),
            output.progress("bootstrap", resamples, laws=[law], n_runs=len(read)) as advance,
        ):
            judged = diagnose_design(read, law, progress=advance, **common)
        if figures:
            _draw_map(judged, figures)
        if as_json:
            output.print_json(_diagnosis_fields(read, judged))
        else:
            print_diagnosis(read, judged)
        return
    assert allowance is not None
    tables = tables or 64
    with (
        output.refusing(as_json, "runs"),
        output.progress(
            "next runs",
            fits_of(resamples, tables, refits, 1 + len(laws)),
            laws=[law, *read_laws(laws, None)],
            n_runs=len(read),
        ) as advance,
    ):
        found = next_runs(
            read, law, allowance=allowance, runs=runs, candidates=candidates, limits=limits, once=once,
            steps=steps.read(), robust=robust, laws=read_laws(laws, None), tables=tables,
            refits=refits, progress=advance, **common,
        )  # fmt: skip
    if figures:
        from chinchilla_jax import plots

        figures.save({"next_runs": lambda: plots.next_runs(found)})
        _draw_map(diagnosis_of(found.question), figures, found.table)
    if as_json:
        output.print_json(_fields(read, found, seed, steps))
    else:
        print_next(read, found, steps)


def _design_new(
    aim: dict[str, Any],
    limits: dict[str, Any],
    allowance: float | None,
    level: float,
    tables: int,
    seed: int,
    plans: dict[str, Any],
    figures: Figures,
    as_json: bool,
) -> None:
    """`next --new`."""
    if allowance is None or "largest" not in limits:
        raise UsageError("--new needs --largest FLOP (of one run) and --allowance FLOP (of all)")
    if len(aim["target"]) > 1 and not isinstance(aim["target"], str):
        raise UsageError("--new judges designs by one target; give --target once")
    if len(aim["flops"] or ()) > 1:
        raise UsageError("--new judges designs by one target; give --flops once")
    from chinchilla_jax.cli.law_source import parse_law
    from chinchilla_jax.planning.design import new_design

    target = aim["target"] if isinstance(aim["target"], str) else aim["target"][0]
    found = new_design(
        largest=limits["largest"], allowance=allowance, priors=[parse_law(each) for each in plans["prior"]],
        target=target, flops=aim["flops"] and aim["flops"][0], noise=plans["noise"], sweep=plans["sweep"],
        level=level, tables=tables, seed=seed,
    )  # fmt: skip
    if plans["save"] is not None:
        found.save(plans["save"])
    if figures:
        from chinchilla_jax import plots

        figures.save({"designs": lambda: plots.design_costs(found)})
    if as_json:
        output.print_json(
            {
                "target": found.target.text,
                "level": found.level,
                "noise": found.noise,
                "sentence": found.sentence,
                "designs": output.records(found.table),
                "runs": output.records(found.runs),
            }
        )
    else:
        print_new(found, plans["save"])


def _fields(runs: Runs, found: NextRuns, seed: int, steps: RunSteps) -> dict[str, Any]:
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
        "steps": steps.fields(),
        "sentence": found.sentence,
        "runs": output.records(found.table),
        "targets": output.records(found.widths),
        "choices": output.records(found.choices),
        "prices": output.records(found.prices),
        "noise_slopes": dict(zip(("params", "tokens"), found.question.spread.slopes.tolist(), strict=True)),
        "by_law": output.records(found.by_law),
        "rests_on_law": found.rests_on_law,
        "fits": found.n_fits,
        "warnings": found.warnings,
    }


def _draw_map(found: TableDiagnosis, figures: Figures, chosen: pd.DataFrame | None = None) -> None:
    """The map of information, with the runs to train next if there are any."""
    from chinchilla_jax import plots

    figures.save({"information": lambda: plots.information_map(found, chosen)})


def _diagnosis_fields(runs: Runs, found: TableDiagnosis) -> dict[str, Any]:
    return {
        "data": output.runs_fields(runs),
        "target": found.question.targets[0].text,
        "sentence": found.sentence,
        "correlation": found.correlation,
        "condition": found.condition,
        "saved": found.saved,
        "runs": output.records(found.runs),
        "map": output.records(found.map),
        "warnings": found.question.boot.warnings,
    }
