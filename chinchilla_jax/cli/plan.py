"""`chinchilla-jax plan`: what to train, how certain that is, and how trained models compare with it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax.cli import choices, law_source, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.hardware import Hardware, hardware_options
from chinchilla_jax.cli.options import bundle, flops_option, output_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.planning import LawSample, Plan


def _read_variables(
    *, unique_tokens: float | None, sparsity: float | None, at: tuple[str, ...]
) -> dict[str, float]:
    named: dict[str, float | None] = {"unique_tokens": unique_tokens, "sparsity": sparsity}
    for each in at:
        name, _, text = each.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or math.isnan(value):
            raise UsageError(f"--at {short(each)}: give NAME=NUMBER, such as n_experts=64")
        named[name] = value
    return {name: value for name, value in named.items() if value is not None}


variables_options = bundle(
    "variables",
    _read_variables,
    {
        "unique_tokens": click.option(
            "--unique-tokens",
            type=choices.POSITIVE,
            metavar="U",
            help="Tokens there are; more are seen again. For a law such as repeated_data.",
        ),
        "sparsity": click.option(
            "--sparsity",
            type=choices.SHARE,
            metavar="S",
            help="Share of the parameters that a token does not pass through. For a law such as "
            "sparse_experts.",
        ),
        "at": click.option(
            "--at",
            metavar="NAME=NUMBER",
            multiple=True,
            help="Any other variable of the law, such as n_experts=64; repeatable.",
        ),
    },
)


@click.command("plan")
@flops_option("Training compute to spend (FLOP)")
@click.option("--params", type=choices.POSITIVE, metavar="N", help="Size of the model (parameters).")
@click.option("--tokens", type=choices.POSITIVE, metavar="D", help="Training tokens.")
@click.option("--loss", type=choices.POSITIVE, metavar="L", help="Loss to reach (nats per token).")
@hardware_options
@variables_options
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
@law_source.law_source_options
@figures_option
@output_options
def plan_command(
    flops: tuple[float, ...],
    params: float | None,
    tokens: float | None,
    loss: float | None,
    hardware: Hardware,
    variables: dict[str, float],
    ratio: float,
    models: str | None,
    figures: Figures,
    laws: law_source.LawSource,
    as_json: bool,
) -> None:
    """Plan a training run: size, tokens, loss, intervals.

    Give one of --flops, --params, --tokens, --loss, or --gpus with --hours and --device. Two of compute,
    size and tokens fix a run, and the table shows what it costs to be off the optimum, such as to over-train
    a model of fixed size. Bootstraps the laws from DATA unless --study or --law gives others.
    """
    if flops and hardware.given:
        raise UsageError(
            f"--flops and {hardware.given} both set the budget; give --flops, or --gpus with --hours and "
            "--device"
        )
    machines = hardware.read()
    given = _read_target(
        {
            "flops": machines["flops"] if machines else flops[0] if flops else None,
            "params": params,
            "tokens": tokens,
            "loss": loss,
        }
    )
    if len(flops) > 1 and len(given) > 1:
        named = list_text([f"--{name}" for name in given][1:])
        raise UsageError(f"several --flops cannot be combined with {named}; give one budget")
    if not given and models is None:
        raise UsageError("nothing to plan: give --flops, --params, --tokens, --loss, --gpus or --models")
    others = _read_models(models)
    sample, level = laws.read("plan" if as_json else None).at(variables=variables), laws.level
    target, chosen = _fixed_run(sample, given)
    table = _with_chosen(others, chosen)

    from chinchilla_jax.planning import place_models, plan

    asked = [{"flops": each} for each in flops] if len(flops) > 1 else [target] if target else []
    made = [plan(sample, level=level, ratio=ratio, **each) for each in asked]  # type: ignore[arg-type]
    placed = place_models(sample, table, level=level) if table is not None else None
    if figures:
        _draw(sample, level, made, placed, figures)
    if as_json:
        output.print_json(_fields(sample, level, machines, made, placed))
    else:
        _print(sample, level, machines, made, placed)


def _draw(
    sample: LawSample, level: float, made: Sequence[Plan], placed: pd.DataFrame | None, figures: Figures
) -> None:
    from chinchilla_jax import plots
    from chinchilla_jax.planning import plan

    shown: Plan | LawSample = made[0] if made else sample
    if len(made) > 1:
        shown = plan(sample, [value for each in made for value in each.values], level=level)
    figures.save(
        {
            "optimum_by_compute": lambda: plots.plan(shown, models=placed, level=level),
            "loss_contours": lambda: plots.loss_surface(sample, level=level),
        }
    )
    if placed is not None:
        figures.save({"model_ratios": lambda: plots.model_ratios(placed, level=level)})


def _read_target(named: dict[str, float | None]) -> dict[str, float]:
    """The target of the plan, or the two numbers that fix a run."""
    given = {name: value for name, value in named.items() if value is not None}
    if len(given) > 2 or (len(given) == 2 and "loss" in given):
        options = [f"--{name}" for name in given]
        raise UsageError(
            f"{list_text(options)} cannot be combined; give one target, or two of --flops, "
            "--params and --tokens"
        )
    return given


def _fixed_run(
    sample: LawSample, given: dict[str, float]
) -> tuple[dict[str, float] | None, tuple[float, float] | None]:
    """The one target of the plan, and (params, tokens) if two numbers fix a run."""
    if len(given) <= 1:
        return given or None, None
    cost, share = sample.cost, sample.share
    if "flops" not in given:
        chosen = given["params"], given["tokens"]
        return {"flops": float(cost.flops(chosen[0] * share, chosen[1]))}, chosen
    known = "params" if "params" in given else "tokens"
    if known == "params":
        other = float(cost.tokens(given["flops"], given[known] * share))
    else:
        other = float(cost.params(given["flops"], given[known])) / share
    if other < 1:
        left = "tokens" if known == "params" else "parameters"
        raise UsageError(
            f"--{known} {given[known]:g} is too large: {flops_text(given['flops'], 6)} FLOP pay for "
            f"{other:.2g} {left}"
        )
    chosen = (given["params"], other) if known == "params" else (other, given["tokens"])
    return {"flops": given["flops"]}, chosen


def _read_models(models: str | None) -> pd.DataFrame | None:
    from chinchilla_jax.planning import known_models, read_models

    if models is None:
        return None
    return known_models() if models == "known" else read_models(models)


def _with_chosen(models: pd.DataFrame | None, chosen: tuple[float, float] | None) -> pd.DataFrame | None:
    """The models after the run that two numbers fix."""
    import pandas as pd

    if chosen is None:
        return models
    fixed = pd.DataFrame({"model": ["as given"], "params": [chosen[0]], "tokens": [chosen[1]]})
    return fixed if models is None else pd.concat([fixed, models], ignore_index=True)


def _fields(
    sample: LawSample,
    level: float,
    hardware: dict[str, Any] | None,
    made: Sequence[Plan],
    placed: pd.DataFrame | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = law_source.sample_fields(sample, level)
    if hardware:
        fields["hardware"] = hardware
    plans = [_plan_fields(each) for each in made]
    fields |= {"plans": plans} if len(plans) > 1 else plans[0] if plans else {}
    if placed is not None:
        unknown = {"p_under": None, "p_over": None} if sample.is_single else {}
        found = output.doubtful_records(placed, _model_doubts(placed, sample))
        fields["models"] = [row | unknown for row in found]
    return fields


def _plan_fields(made: Plan) -> dict[str, Any]:
    rows = output.doubtful_records(made.table, law_source.row_doubts(made))
    return {
        "target": {"quantity": made.target, "value": made.value},
        "plan": {row.pop("quantity"): row for row in rows},
        "rule_ratio": made.ratio,
        "beside": output.records(made.beside) or None,
        "n_unreachable": made.n_unreachable,
        "n_edges": made.n_edges,
        "other_boundary": output.optional_records(made.boundary),
        "references": output.doubtful_records(made.references, _reference_doubts(made)),
    }


def _print(
    sample: LawSample,
    level: float,
    hardware: dict[str, Any] | None,
    made: Sequence[Plan],
    placed: pd.DataFrame | None,
) -> None:
    law_source.print_sample(sample, level)
    if said := _taken_for_granted(sample):
        output.print_paragraph(said)
        output.echo()
    if hardware:
        output.echo(
            f"{hardware['gpus']:g} x {hardware['device']} for {hardware['hours']:g} hours at "
            f"{hardware['mfu']:.0%} of {flops_text(hardware['peak_flops'], 4)} FLOP/s "
            f"({hardware['precision']}): {flops_text(hardware['flops'], 4)} FLOP"
        )
        output.echo(f"peak rate: {hardware['peak_source']} (checked: {hardware['peak_checked']})")
        output.echo()
    for number, each in enumerate(made):
        if number:
            output.echo()
        _print_plan(each)
    if placed is not None:
        if made:
            output.echo()
        _print_models(placed, sample)


def _taken_for_granted(sample: LawSample) -> str:
    """Which variables of the law have their usual values, since none were given; "" for none."""
    from chinchilla_jax.laws.fitted import FittedLaw

    if not isinstance(sample.point, FittedLaw):
        return ""
    usual = {
        name: value for name, value in sample.point.model.defaults.items() if name not in sample.variables
    }
    said = {
        "unique_tokens": "all tokens are taken for new: --unique-tokens U says how many there are",
        "sparsity": "all parameters are taken for active: --sparsity S says what share is idle",
    }
    return "; ".join(said.get(name, f"{name} is {value:g}: --at {name}=X") for name, value in usual.items())


def _print_plan(made: Plan) -> None:
    doubts = law_source.row_doubts(made)
    law_source.print_quantities("compute-optimal", made.table, made.sample, doubts, rule=f"{made.ratio:g}:1 ")
    law_source.print_unreachable(made, "compute, size and tokens", "ratio and overhead")
    if made.n_edges:
        output.echo(
            f"{made.n_edges:,} of {len(made.sample):,} laws have no optimum inside here, and are "
            "left out of the rows that follow from it"
        )
    output.print_boundary(made.boundary, made.sample.boundary)
    for how, rows in made.beside.groupby("how", sort=False):
        output.echo()
        law_source.print_quantities(f"same budget, {how}", rows, made.sample)
    output.echo()
    shown = ["flops", "params", "tokens", "tokens_per_param", "loss"]
    published = output.rows(made.references, ["law", *shown])
    output.print_table(("published", *shown), published, digits=4, doubts=_reference_doubts(made))
    output.print_paragraph(
        "kaplan2020 counts parameters without embedding. Losses are comparable on the same text only: "
        "hoffmann2022 is of the text of the embedded chinchilla"
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
    header = ("model", "tokens/param", "optimum", "P(under)", "P(over)", "overhead %", "loss", "verdict")
    rows = []
    for row in placed.to_dict("records"):
        optimum = f"{row[f'optimal_{HEADLINE}']:.3g}"
        overhead = f"{100 * row[f'overhead_{HEADLINE}']:.3g}"
        loss = f"{row[f'loss_{HEADLINE}']:.4g}"
        if not sample.is_single:
            optimum += f" ({row['optimal_low']:.3g} to {row['optimal_high']:.3g})"
            overhead += f" ({100 * row['overhead_low']:.3g} to {100 * row['overhead_high']:.3g})"
            loss += f" ({row['loss_low']:.4g} to {row['loss_high']:.4g})"
        probabilities = [f"{row['p_under']:.3f}", f"{row['p_over']:.3f}"]
        if sample.is_single:
            probabilities.clear()
        rows.append(
            (row["model"], row["tokens_per_param"], optimum, *probabilities, overhead, loss, row["verdict"])
        )
    output.print_table(
        [name for name in header if not (sample.is_single and name.startswith("P("))],
        rows,
        doubts=_model_doubts(placed, sample),
    )
    if sample.is_single:
        output.echo("one law has no uncertainty: any model off its optimum is under- or over-trained")
    output.echo("over-trained refers to training compute alone; serving many tokens can justify it")
