"""`chinchilla-jax plan`: what to train, how certain that is, and how trained models compare with it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS, quantity_label, quantity_text
from chinchilla_jax._util.text import list_text
from chinchilla_jax.cli import choices, law_source, output
from chinchilla_jax.cli.hardware import Hardware, hardware_options
from chinchilla_jax.cli.options import figures_option, output_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.planning import LawSample, Plan


@click.command("plan")
@click.option("--flops", type=choices.POSITIVE, metavar="C", help="Training compute to spend (FLOP).")
@click.option("--params", type=choices.POSITIVE, metavar="N", help="Size of the model (parameters).")
@click.option("--tokens", type=choices.POSITIVE, metavar="D", help="Training tokens.")
@click.option("--loss", type=choices.POSITIVE, metavar="L", help="Loss to reach (nats per token).")
@hardware_options
@click.option(
    "--ratio",
    type=choices.POSITIVE,
    metavar="R",
    default=20,
    help="Tokens per parameter of the rule of thumb whose overhead is shown.",
)
@click.option(
    "--models",
    metavar="PATH",
    help="Compare trained models with the optimum: known, or a table with model, params, tokens.",
)
@figures_option
@law_source.law_source_options
@output_options
def plan_command(
    flops: float | None,
    params: float | None,
    tokens: float | None,
    loss: float | None,
    hardware: Hardware,
    ratio: float,
    models: str | None,
    figures: str | None,
    laws: law_source.LawSource,
    as_json: bool,
) -> None:
    """Plan a training run: size, tokens, loss, intervals.

    Give one of --flops, --params, --tokens, --loss, or --gpus with --hours and --device. Two of compute,
    size and tokens fix a run, and the table shows what it costs to be off the optimum. Bootstraps the laws
    from DATA unless --study or --law gives others.
    """
    if flops is not None and hardware.given:
        raise UsageError(
            f"--flops and {hardware.given} both set the budget; give --flops, or --gpus with --hours and "
            "--device"
        )
    machines = hardware.read()
    target, chosen = _read_target(
        {
            "flops": machines["flops"] if machines else flops,
            "params": params,
            "tokens": tokens,
            "loss": loss,
        }
    )
    table = _read_models(models, chosen)
    if target is None and table is None:
        raise UsageError("nothing to plan: give --flops, --params, --tokens, --loss, --gpus or --models")
    sample, level = laws.read("plan" if as_json else None), laws.level

    from chinchilla_jax.planning import place_models, plan

    made = plan(sample, level=level, ratio=ratio, **target) if target else None
    placed = place_models(sample, table, level=level) if table is not None else None
    if figures is not None:
        _draw(sample, level, placed, figures)
    if as_json:
        output.print_json(_fields(sample, level, machines, made, placed))
    else:
        _print(sample, level, machines, made, placed)


def _draw(sample: LawSample, level: float, placed: pd.DataFrame | None, folder: str) -> None:
    from chinchilla_jax.plots import planning as planning_figures
    from chinchilla_jax.plots import save_figures

    curves = planning_figures.optimum_by_compute_table(sample, level=level)
    drawn = [
        ("optimum_by_compute", planning_figures.plot_optimum_by_compute(curves, placed)),
        (
            "loss_contours",
            planning_figures.plot_loss_contours(planning_figures.loss_contours_table(sample, level=level)),
        ),
    ]
    if placed is not None:
        drawn.append(("model_ratios", planning_figures.plot_model_ratios(placed, level=level)))
    save_figures(drawn, folder)


def _read_target(
    named: dict[str, float | None],
) -> tuple[dict[str, float] | None, tuple[float, float] | None]:
    """The one target of the plan, and (params, tokens) if two numbers fix a run."""
    given = {name: value for name, value in named.items() if value is not None}
    if len(given) <= 1:
        return given or None, None
    if len(given) > 2 or "loss" in given:
        options = [f"--{name}" for name in given]
        raise UsageError(
            f"{list_text(options)} cannot be combined; give one target, or two of --flops, "
            "--params and --tokens"
        )
    from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, training_flops

    if "flops" not in given:
        chosen = given["params"], given["tokens"]
        return {"flops": training_flops(*chosen)}, chosen
    known = "params" if "params" in given else "tokens"
    other = given["flops"] / (FLOPS_PER_PARAM_TOKEN * given[known])
    if other < 1:
        left = "tokens" if known == "params" else "parameters"
        raise UsageError(
            f"--{known} {given[known]:g} is too large: {given['flops']:g} FLOP pay for {other:.2g} {left}"
        )
    chosen = (given["params"], other) if known == "params" else (other, given["tokens"])
    return {"flops": given["flops"]}, chosen


def _read_models(models: str | None, chosen: tuple[float, float] | None) -> pd.DataFrame | None:
    import pandas as pd

    from chinchilla_jax.planning import known_models, read_models

    tables = []
    if chosen is not None:
        tables.append(pd.DataFrame({"model": ["as given"], "params": [chosen[0]], "tokens": [chosen[1]]}))
    if models is not None:
        tables.append(known_models() if models == "known" else read_models(models))
    return pd.concat(tables, ignore_index=True) if tables else None


def _fields(
    sample: LawSample,
    level: float,
    hardware: dict[str, Any] | None,
    made: Plan | None,
    placed: pd.DataFrame | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = law_source.sample_fields(sample, level)
    if hardware:
        fields["hardware"] = hardware
    if made is not None:
        fields["target"] = {"quantity": made.target, "value": made.value}
        rows = output.doubtful_records(made.table, law_source.row_doubts(made))
        fields["plan"] = {row.pop("quantity"): row for row in rows}
        fields["rule_ratio"] = made.ratio
        fields["n_unreachable"] = made.n_unreachable
        fields["other_boundary"] = output.optional_records(made.boundary)
        fields["references"] = output.doubtful_records(made.references, _reference_doubts(made))
    if placed is not None:
        unknown = {"p_under": None, "p_over": None} if sample.is_single else {}
        found = output.doubtful_records(placed, _model_doubts(placed, sample))
        fields["models"] = [row | unknown for row in found]
    return fields


def _print(
    sample: LawSample,
    level: float,
    hardware: dict[str, Any] | None,
    made: Plan | None,
    placed: pd.DataFrame | None,
) -> None:
    law_source.print_sample(sample, level)
    if hardware:
        output.echo(
            f"{hardware['gpus']:g} x {hardware['device']} for {hardware['hours']:g} hours at "
            f"{hardware['mfu']:.0%} of {hardware['peak_flops']:.4g} FLOP/s ({hardware['precision']}): "
            f"{hardware['flops']:.4g} FLOP"
        )
        output.echo(f"peak rate: {hardware['peak_source']} (checked: {hardware['peak_checked']})")
        output.echo()
    if made is not None:
        _print_plan(made)
    if placed is not None:
        if made is not None:
            output.echo()
        _print_models(placed, sample)


def _print_plan(made: Plan) -> None:
    columns = law_source.interval_columns(made.sample)
    rows = []
    for row in made.table.to_dict("records"):
        quantity = str(row["quantity"])
        rule = f"{made.ratio:g}:1 " if quantity == "rule_overhead" else ""
        values = (quantity_text(quantity, float(row[each])) for each in columns)
        rows.append((rule + quantity_label(quantity), *values))
    output.print_table(("compute-optimal", *columns), rows, doubts=law_source.row_doubts(made))
    if made.n_unreachable:
        output.echo(
            f"{made.n_unreachable:,} of {len(made.sample):,} laws cannot reach this loss with any amount of "
            "compute (their E is above it): they count as infinite in compute, size and tokens, and are left "
            "out of ratio and overhead"
        )
    output.print_boundary(made.boundary, made.sample.boundary)
    output.echo()
    shown = ["flops", "params", "tokens", "tokens_per_param", "loss"]
    published = [
        (law, *map(quantity_text, shown, values))
        for law, *values in output.rows(made.references, ["law", *shown])
    ]
    output.print_table(("published", *shown), published, doubts=_reference_doubts(made))
    output.echo(
        "kaplan2020 counts parameters without embedding. Losses are comparable on the same text only; "
        "hoffmann2022 and chinchilla share theirs"
    )


def _reference_doubts(made: Plan) -> list[str]:
    """Published laws have no runs here; their tokens per parameter may be implausible all the same."""
    from chinchilla_jax.planning.plausibility import ratio_doubt

    return [ratio_doubt(float(ratio)) for ratio in made.references["tokens_per_param"]]


def _model_doubts(placed: pd.DataFrame, sample: LawSample) -> list[str]:
    from chinchilla_jax.planning.plausibility import band_doubts, overhead_doubt

    optimum = {name: placed[f"optimal_{name}"] for name in INTERVAL_COLUMNS}
    of_optimum = band_doubts({"flops": placed["flops"], **optimum}, sample.largest_flops)
    overheads = output.rows(placed, [f"overhead_{name}" for name in INTERVAL_COLUMNS])
    return [
        "; ".join(filter(None, (doubt, f"overhead {said}" if said else "")))
        for doubt, said in zip(of_optimum, itertools.starmap(overhead_doubt, overheads), strict=True)
    ]


def _print_models(placed: pd.DataFrame, sample: LawSample) -> None:
    header = ("model", "tokens/param", "optimum", "P(under)", "P(over)", "overhead %", "verdict")
    rows = []
    for row in placed.to_dict("records"):
        optimum = f"{row[f'optimal_{HEADLINE}']:.3g}"
        overhead = f"{100 * row[f'overhead_{HEADLINE}']:.3g}"
        if not sample.is_single:
            optimum += f" ({row['optimal_low']:.3g} to {row['optimal_high']:.3g})"
            overhead += f" ({100 * row['overhead_low']:.3g} to {100 * row['overhead_high']:.3g})"
        probabilities = [f"{row['p_under']:.3f}", f"{row['p_over']:.3f}"]
        if sample.is_single:
            probabilities.clear()
        rows.append(
            (row["model"], row["tokens_per_param"], optimum, *probabilities, overhead, row["verdict"])
        )
    output.print_table(
        [name for name in header if not (sample.is_single and name.startswith("P("))],
        rows,
        doubts=_model_doubts(placed, sample),
    )
    if sample.is_single:
        output.echo("one law has no uncertainty: any model off its optimum is under- or over-trained")
    output.echo("over-trained refers to training compute alone; serving many tokens can justify it")
