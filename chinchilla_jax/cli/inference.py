"""`chinchilla-jax inference`: the cheapest model of a quality when it will also be served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.cli import laws, options, output
from chinchilla_jax.cli.options import optional

if TYPE_CHECKING:
    from chinchilla_jax.planning import Costs, InferencePlan

_Number = float | None
_DEVICE, _MFU = "h100", 0.4


def inference_command(
    data: laws.DataArgument = None,
    input_tokens: Annotated[_Number, optional("T", "Tokens read over the model's life; 0 for none.")] = None,
    output_tokens: Annotated[
        _Number, optional("T", "Tokens written over the model's life; 0 for none.")
    ] = None,
    like_params: Annotated[
        _Number, optional("N", "Quality: that of the compute-optimal model of this size.")
    ] = None,
    loss: Annotated[_Number, optional("L", "Quality: this loss (nats per token).")] = None,
    train_price: Annotated[
        _Number, optional("P", "Price of a device-hour of training: count money, not FLOP.")
    ] = None,
    inference_price: Annotated[_Number, optional("P", "Price of a device-hour of inference.")] = None,
    train_device: Annotated[str | None, optional("NAME", "Device that trains.  [default: h100]")] = None,
    train_precision: Annotated[
        str | None, optional("NAME", "Number format when training.  [default: bf16]")
    ] = None,
    inference_device: Annotated[str | None, optional("NAME", "Device that serves.  [default: h100]")] = None,
    inference_precision: Annotated[
        str | None, optional("NAME", "Number format when serving; fp8 or int8 for a quantised model.")
    ] = None,
    train_mfu: Annotated[_Number, optional("U", "Share of the peak in training.  [default: 0.4]")] = None,
    input_mfu: Annotated[_Number, optional("U", "Share of the peak when reading.  [default: 0.4]")] = None,
    output_mfu: Annotated[
        _Number, optional("U", "Share of the peak when writing; far below reading.")
    ] = None,
    figures: Annotated[
        str | None, optional("DIR", "Also draw the maps over loss and demand into a directory.")
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
    """Find the cheapest model, inference included.

    Of all models that reach a quality, the one whose training and inference together cost least (Sardana and
    Frankle 2023), with intervals over the laws. Costs are FLOP; with prices they are money.
    """
    from chinchilla_jax.planning import Demand, inference_plan

    if input_tokens is None and output_tokens is None:
        raise UsageError("--input-tokens or --output-tokens is missing: give what is served, 0 for nothing")
    demand = Demand(input_tokens=input_tokens or 0.0, output_tokens=output_tokens or 0.0)
    hired = {
        "--train-device": train_device,
        "--train-precision": train_precision,
        "--train-mfu": train_mfu,
        "--inference-device": inference_device,
        "--inference-precision": inference_precision,
        "--input-mfu": input_mfu,
        "--output-mfu": output_mfu,
    }
    costs = _costs(train_price, inference_price, hired, writes=demand.output_tokens > 0)
    if (loss is None) == (like_params is None):
        raise UsageError("give the quality once: --like-params N or --loss L")
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
    made = inference_plan(sample, demand=demand, loss=loss, like_params=like_params, costs=costs, level=level)
    if figures is not None:
        _draw(made, figures)
    if as_json:
        output.say_json(
            {
                **laws.sample_fields(sample, level),
                "demand": {"input_tokens": demand.input_tokens, "output_tokens": demand.output_tokens},
                "costs": {"train": costs.train, "read": costs.read, "write": costs.write, "unit": costs.unit},
                "plan": {
                    row["quantity"]: {key: value for key, value in row.items() if key != "quantity"}
                    for row in laws.records(made.table)
                },
                "n_unreachable": made.n_unreachable,
                "residual": made.residual,
            }
        )
    else:
        _say(made)


def _draw(made: InferencePlan, folder: str) -> None:
    """Maps for the point law, from the quality of 0.5 to that of 500 billion compute-optimal parameters."""
    import numpy as np

    from chinchilla_jax.planning import ratio_map
    from chinchilla_jax.planning.inference import loss_like
    from chinchilla_jax.plots import planning as planning_figures

    law, demand = made.sample.point, made.demand
    total = demand.input_tokens + demand.output_tokens
    losses = np.linspace(float(loss_like(law, 5e11)), float(loss_like(law, 5e8)), 121)
    maps = ratio_map(
        law,
        losses,
        np.geomspace(1e9, 1e15, 121),
        costs=made.costs,
        output_share=demand.output_tokens / total if total else 0.0,
    )
    sizes = {f"{size / 1e9:g}B": float(loss_like(law, size)) for size in (1e9, 7e9, 30e9, 200e9)}
    planning_figures.save_figures(
        [("ratio_maps", planning_figures.plot_ratio_maps(maps, sizes=sizes))], folder
    )


def _costs(
    train_price: float | None, inference_price: float | None, hired: dict[str, Any], *, writes: bool
) -> Costs:
    """FLOP without prices; money with both, and then every output token has a utilisation of its own."""
    from chinchilla_jax.planning import FLOP_COSTS, Costs, Machine, find_device
    from chinchilla_jax.planning.hardware import utilisation

    prices = {"--train-price": train_price, "--inference-price": inference_price}
    given = {
        name: positive_number(name, price, remedy="give the price of one device for one hour")
        for name, price in prices.items()
        if price is not None
    }
    if not given:
        if idle := [name for name, value in hired.items() if value is not None]:
            raise UsageError(f"{idle[0]} changes costs in money alone; give {' and '.join(prices)} with it")
        return FLOP_COSTS
    if len(given) < 2:
        (missing,) = prices.keys() - given
        raise UsageError(f"{missing} is missing: money needs the price of training and of inference")
    shares = {
        name: utilisation(name, _MFU if value is None else value)
        for name, value in hired.items()
        if name.endswith("-mfu")
    }
    if hired["--output-mfu"] is None:
        if writes:
            raise UsageError(
                "--output-mfu is missing: tokens are written at a far lower utilisation than read"
            )
        shares["--output-mfu"] = shares["--input-mfu"]
    trains = find_device(hired["--train-device"] or _DEVICE, hired["--train-precision"])
    serves = find_device(hired["--inference-device"] or _DEVICE, hired["--inference-precision"])
    train_hour, serve_hour = given["--train-price"], given["--inference-price"]

    def machine(peak: float, share: str, price: float) -> Machine:
        return Machine(peak_flops=peak, utilisation=shares[share], price_per_hour=price)

    return Costs.rented(
        train=machine(trains.peak_flops, "--train-mfu", train_hour),
        read=machine(serves.peak_flops, "--input-mfu", serve_hour),
        write=machine(serves.peak_flops, "--output-mfu", serve_hour),
        unit="currency",
    )


def _say(made: InferencePlan) -> None:
    laws.say_sample(made.sample, made.level)
    served = f"{made.demand.input_tokens:g} tokens read, {made.demand.output_tokens:g} written"
    output.say(f"served over its life: {served}; costs in {made.costs.unit}")
    output.say()
    columns = laws.interval_columns(made.sample)
    rows = [
        (
            quantity_label(str(row["quantity"])),
            *((100.0 if row["quantity"] == "saving" else 1.0) * float(row[name]) for name in columns),
        )
        for row in made.table.to_dict("records")
    ]
    output.say_table(("cheapest", *columns), rows)
    if made.n_unreachable:
        output.say(
            f"{made.n_unreachable:,} of {len(made.sample):,} laws reach this loss with no amount of compute "
            "(E is above it): they count as infinite in sizes, tokens and costs, and not at all in tokens "
            "per parameter, saved and saving"
        )
    output.say(f"first-order condition met to {made.residual:.1g}")
