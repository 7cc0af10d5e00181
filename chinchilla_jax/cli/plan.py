"""`chinchilla-jax plan`: what to train, how sure that is, and where trained models stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.cli import laws, options, output
from chinchilla_jax.cli.options import optional
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, training_flops

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.planning import LawSample, Plan

_Number = float | None


def _size(text: str) -> float:
    """A number, or what the name of a count, which other commands take here, belongs to."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no number; give the model's size (the count of DATA is --interpretation)"
        ) from None


def plan_command(
    data: laws.DataArgument = None,
    flops: Annotated[_Number, optional("C", "Training compute to spend (FLOP).")] = None,
    params: Annotated[
        _Number,
        typer.Option(metavar="N", help="Size of the model (parameters).", parser=_size, show_default=False),
    ] = None,
    tokens: Annotated[_Number, optional("D", "Training tokens.")] = None,
    loss: Annotated[_Number, optional("L", "Loss to reach (nats per token).")] = None,
    gpus: Annotated[
        _Number, optional("K", "Devices, with --hours and --device, in place of --flops.")
    ] = None,
    hours: Annotated[_Number, optional("H", "Hours of training.")] = None,
    device: Annotated[
        str | None, optional("NAME", "h100, a100, tpu-v5p, ...; a wrong name lists them all.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Number format of the device's peak rate.  [default: bf16]"),
    ] = None,
    mfu: Annotated[float, typer.Option(metavar="U", help="Share of the peak rate in use.")] = 0.4,
    ratio: Annotated[
        float, typer.Option(metavar="R", help="Tokens per parameter of the rule whose cost is shown.")
    ] = 20.0,
    models: Annotated[
        str | None,
        optional("PATH", "Place models against the optimum: known, or a CSV with model, params, tokens."),
    ] = None,
    figures: Annotated[
        str | None,
        optional("DIR", "Also draw figures into a directory."),
    ] = None,
    interpretation: options.InterpretationOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    study: laws.StudyOption = None,
    condition: laws.ConditionOption = None,
    law: laws.LawOption = None,
    resamples: options.ResamplesOption = 4000,
    seed: options.SeedOption = 0,
    level: options.LevelOption = 0.8,
    as_json: options.JsonOption = False,
) -> None:
    """Plan a training run: size, tokens, loss, intervals.

    Give one of --flops, --params, --tokens, --loss or --gpus with --hours and --device; or two of compute,
    size and tokens, which fixes a run and shows what it costs to be off the optimum. The laws are
    bootstrapped from DATA on the spot unless --study or --law names others.
    """
    hardware = _hardware(gpus, hours, device, precision, mfu)
    if hardware is not None and flops is not None:
        raise UsageError("--flops and --gpus both set the budget; give one of them")
    budget = hardware["flops"] if hardware else flops
    target, chosen = _what_is_asked(budget, params, tokens, loss)
    table = _read_models(models, chosen)
    if target is None and table is None:
        raise UsageError("nothing to plan: give --flops, --params, --tokens, --loss, --gpus or --models")
    sample = laws.read_sample(
        data,
        interpretation,
        study,
        condition,
        law,
        resamples,
        seed,
        level,
        drop_highest_loss=drop_highest_loss,
        column=column,
        experiment=experiment,
    )

    from chinchilla_jax.planning import place_models, plan

    made = plan(sample, level=level, ratio=ratio, **target) if target else None
    placed = place_models(sample, table, level=level) if table is not None else None
    if figures is not None:
        _draw(sample, level, placed, figures)
    if as_json:
        output.say_json(_fields(sample, level, hardware, made, placed))
    else:
        _say(sample, level, hardware, made, placed)


def _draw(sample: LawSample, level: float, placed: pd.DataFrame | None, folder: str) -> None:
    from chinchilla_jax.plots import planning as planning_figures

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
    planning_figures.save_figures(drawn, folder)


def _hardware(
    gpus: _Number, hours: _Number, device: str | None, precision: str | None, mfu: float
) -> dict[str, Any] | None:
    given = {"--gpus": gpus, "--hours": hours, "--device": device}
    if all(value is None for value in given.values()):
        return None
    for name, value in given.items():
        if value is None:
            others = " and ".join(other for other in given if other != name)
            raise UsageError(f"{name} is missing: {others} and it make a budget together")
    from chinchilla_jax.planning import find_device, hardware_flops

    assert gpus is not None and hours is not None and device is not None
    found = find_device(device, precision)
    total = hardware_flops(gpus, hours, found, mfu)
    return {
        "gpus": gpus,
        "hours": hours,
        "device": found.device,
        "precision": found.precision,
        "peak_flops": found.peak_flops,
        "peak_source": found.source,
        "peak_checked": found.checked,
        "mfu": mfu,
        "flops": total,
    }


def _what_is_asked(
    flops: _Number, params: _Number, tokens: _Number, loss: _Number
) -> tuple[dict[str, float] | None, tuple[float, float] | None]:
    """The one target of the plan, and (params, tokens) where two numbers fix a run."""
    named = {"flops": flops, "params": params, "tokens": tokens, "loss": loss}
    given = {
        name: positive_number(f"--{name}", value, remedy="give a number such as 1e24")
        for name, value in named.items()
        if value is not None
    }
    if len(given) <= 1:
        return given or None, None
    if len(given) > 2 or "loss" in given:
        raise UsageError(
            f"--{', --'.join(given)} together ask too much; give one target, or two of --flops, --params "
            "and --tokens"
        )
    if "flops" not in given:
        chosen = given["params"], given["tokens"]
        return {"flops": training_flops(*chosen)}, chosen
    known = "params" if "params" in given else "tokens"
    other = given["flops"] / (FLOPS_PER_PARAM_TOKEN * given[known])
    if other < 1:
        left = "tokens" if known == "params" else "parameters"
        raise UsageError(
            f"--{known} {given[known]:g} leaves no room: {given['flops']:g} FLOP pay for {other:.2g} {left}"
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
    fields: dict[str, Any] = laws.sample_fields(sample, level)
    if hardware:
        fields["hardware"] = hardware
    if made is not None:
        fields["target"] = {"quantity": made.target, "value": made.value}
        fields["plan"] = {
            row["quantity"]: {key: value for key, value in row.items() if key != "quantity"}
            for row in laws.records(made.table)
        }
        fields["rule_ratio"] = made.ratio
        fields["n_unreachable"] = made.n_unreachable
        fields["references"] = laws.records(made.references)
    if placed is not None:
        unknown = {"p_under": None, "p_over": None} if sample.is_single else {}
        fields["models"] = [row | unknown for row in laws.records(placed)]
    return fields


def _say(
    sample: LawSample,
    level: float,
    hardware: dict[str, Any] | None,
    made: Plan | None,
    placed: pd.DataFrame | None,
) -> None:
    laws.say_sample(sample, level)
    if hardware:
        output.say(
            f"{hardware['gpus']:g} x {hardware['device']} for {hardware['hours']:g} hours at "
            f"{hardware['mfu']:.0%} of {hardware['peak_flops']:.4g} FLOP/s ({hardware['precision']}): "
            f"{hardware['flops']:.4g} FLOP"
        )
        output.say(f"peak rate: {hardware['peak_source']} (checked: {hardware['peak_checked']})")
        output.say()
    if made is not None:
        _say_plan(made)
    if placed is not None:
        if made is not None:
            output.say()
        _say_models(placed, sample)


def _say_plan(made: Plan) -> None:
    columns = laws.interval_columns(made.sample)
    rule = f"{made.ratio:g}:1 rule overhead (%)"
    rows = []
    for row in made.table.to_dict("records"):
        percent = row["quantity"] == "rule_overhead"
        scale = 100.0 if percent else 1.0
        name = rule if percent else quantity_label(str(row["quantity"]))
        rows.append((name, *(scale * float(row[each]) for each in columns)))
    output.say_table(("compute-optimal", *columns), rows)
    if made.n_unreachable:
        output.say(
            f"{made.n_unreachable:,} of {len(made.sample):,} laws reach this loss with no amount of compute "
            "(E is above it): they count as infinite in compute, size and tokens, and not at all in ratio "
            "and overhead"
        )
    output.say()
    shown = ["law", "flops", "params", "tokens", "tokens_per_param", "loss"]
    output.say_table(("published", *shown[1:]), made.references[shown].itertuples(index=False))
    output.say(
        "kaplan2020: parameters without embedding. Losses compare on the same text only: hoffmann2022's is "
        "that of chinchilla"
    )


def _say_models(placed: pd.DataFrame, sample: LawSample) -> None:
    header = ("model", "tokens/param", "optimum", "P(under)", "P(over)", "overhead %", "verdict")
    rows = []
    for row in placed.to_dict("records"):
        optimum = f"{row['optimal_median']:.3g}"
        overhead = f"{100 * row['overhead_median']:.3g}"
        if not sample.is_single:
            optimum += f" ({row['optimal_low']:.3g} to {row['optimal_high']:.3g})"
            overhead += f" ({100 * row['overhead_low']:.3g} to {100 * row['overhead_high']:.3g})"
        probabilities = [f"{row['p_under']:.3f}", f"{row['p_over']:.3f}"]
        if sample.is_single:
            probabilities.clear()
        rows.append(
            (row["model"], row["tokens_per_param"], optimum, *probabilities, overhead, row["verdict"])
        )
    output.say_table([name for name in header if not (sample.is_single and name.startswith("P("))], rows)
    if sample.is_single:
        output.say("one law has no uncertainty: any model off its optimum is under- or over-trained")
    output.say("over-trained is said of training compute alone; serving many tokens justifies it")
