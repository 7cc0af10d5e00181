"""`chinchilla-jax inference`: the cheapest model of a given quality, counting training and serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import list_text, scaled_number
from chinchilla_jax.cli import choices, law_source, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.options import Decorator, bundle, output_options

if TYPE_CHECKING:
    from chinchilla_jax.planning import Costs, Device, InferencePlan

_DEVICE, _MFU = "h100", 0.4


@dataclass(frozen=True, kw_only=True)
class Rent:
    """Prices of devices and how well they are used; None for what is not given."""

    train_price: float | None
    inference_price: float | None
    train_device: str | None
    train_precision: str | None
    inference_device: str | None
    inference_precision: str | None
    train_mfu: float | None
    input_mfu: float | None
    output_mfu: float | None


def _positive(name: str, metavar: str, help: str) -> Decorator[Any]:
    return click.option(name, type=choices.POSITIVE, metavar=metavar, help=help)


def _mfu(name: str, help: str, **settings: Any) -> Decorator[Any]:
    return click.option(name, type=choices.FRACTION, metavar="U", help=help, **settings)


rent_options = bundle(
    "rent",
    Rent,
    {
        "train_price": _positive(
            "--train-price", "P", "Price of a device-hour of training; costs are then money instead of FLOP."
        ),
        "inference_price": _positive("--inference-price", "P", "Price of a device-hour of inference."),
        "train_device": click.option(
            "--train-device", metavar="NAME", show_default=_DEVICE, help="Device for training."
        ),
        "train_precision": click.option(
            "--train-precision", metavar="NAME", show_default="bf16", help="Number format for training."
        ),
        "inference_device": click.option(
            "--inference-device", metavar="NAME", show_default=_DEVICE, help="Device for serving."
        ),
        "inference_precision": click.option(
            "--inference-precision",
            metavar="NAME",
            show_default="bf16",
            help="Number format for serving; fp8 or int8 for a quantised model.",
        ),
        "train_mfu": _mfu(
            "--train-mfu", "Fraction of the peak rate used in training.", show_default=str(_MFU)
        ),
        "input_mfu": _mfu(
            "--input-mfu", "Fraction of the peak rate used on input tokens.", show_default=str(_MFU)
        ),
        "output_mfu": _mfu(
            "--output-mfu", "Fraction of the peak rate used on output tokens; far below --input-mfu."
        ),
    },
)


def _refuse_budget(context: click.Context, option: click.Parameter, given: str | None) -> None:
    if given is not None:
        raise UsageError(
            "--flops: the budget follows from the quality here; give --like-params N or --loss L instead; "
            "`plan --flops` is for a budget without serving"
        )


@click.command("inference")
@click.option(
    "--input-tokens",
    type=choices.NON_NEGATIVE,
    metavar="T",
    help="Input tokens over the model's life; 0 for none.",
)
@click.option(
    "--output-tokens",
    type=choices.NON_NEGATIVE,
    metavar="T",
    help="Output tokens over the model's life; 0 for none.",
)
@_positive("--like-params", "N", "Quality: the loss of the compute-optimal model with N parameters.")
@_positive("--loss", "L", "Quality: this loss (nats per token).")
@click.option("--flops", hidden=True, expose_value=False, callback=_refuse_budget)
@rent_options
@law_source.law_source_options
@figures_option
@output_options
def inference_command(
    input_tokens: float | None,
    output_tokens: float | None,
    like_params: float | None,
    loss: float | None,
    rent: Rent,
    figures: Figures,
    laws: law_source.LawSource,
    as_json: bool,
) -> None:
    """Find the cheapest model, inference included.

    Of all models that reach the given quality, finds the one whose training and inference together cost
    least (Sardana and Frankle 2023), with intervals over the laws. Costs are FLOP, or money if prices are
    given.
    """
    from chinchilla_jax.planning import Demand, inference_plan

    if input_tokens is None and output_tokens is None:
        raise UsageError("--input-tokens or --output-tokens is missing: give what is served, 0 for nothing")
    demand = Demand(input_tokens=input_tokens or 0.0, output_tokens=output_tokens or 0.0)
    costs = _costs(rent, writes=demand.output_tokens > 0)
    if (loss is None) == (like_params is None):
        raise UsageError("give the quality once: --like-params N or --loss L")
    sample, level = laws.read("plan" if as_json else None), laws.level
    made = inference_plan(sample, demand=demand, loss=loss, like_params=like_params, costs=costs, level=level)
    if figures:
        _draw(made, figures)
    if as_json:
        output.print_json(
            {
                **law_source.sample_fields(sample, level),
                "demand": {"input_tokens": demand.input_tokens, "output_tokens": demand.output_tokens},
                "costs": {"train": costs.train, "read": costs.read, "write": costs.write, "unit": costs.unit}
                | {"compute": made.costs.compute.formula},
                "plan": {
                    row.pop("quantity"): row
                    for row in output.doubtful_records(made.table, law_source.row_doubts(made))
                },
                "n_unreachable": made.n_unreachable,
                "other_boundary": output.optional_records(made.boundary),
                "residual": made.residual,
            }
        )
    else:
        _print(made)


def _draw(made: InferencePlan, figures: Figures) -> None:
    """Maps for the point law, from the quality of 0.5 to that of 500 billion compute-optimal parameters."""
    import numpy as np

    from chinchilla_jax import plots
    from chinchilla_jax.planning import ratio_map
    from chinchilla_jax.planning.inference import loss_like

    law, demand = made.sample.five_parameter("inference")[0], made.demand
    compute = made.costs.compute
    total = demand.input_tokens + demand.output_tokens
    losses = np.linspace(float(loss_like(law, 5e11, compute)), float(loss_like(law, 5e8, compute)), 121)
    maps = ratio_map(
        law,
        losses,
        np.geomspace(1e9, 1e15, 121),
        costs=made.costs,
        output_share=demand.output_tokens / total if total else 0.0,
    )
    sizes = {f"{size / 1e9:g}B": float(loss_like(law, size, compute)) for size in (1e9, 7e9, 30e9, 200e9)}
    figures.save({"ratio_maps": lambda: plots.ratio_maps(maps, sizes=sizes)})


def _costs(rent: Rent, *, writes: bool) -> Costs:
    """FLOP without prices; money with both, and then output tokens need a utilisation of their own."""
    from chinchilla_jax.planning import FLOP_COSTS, Costs, Machine, find_device

    given = {f"--{name.replace('_', '-')}": value for name, value in vars(rent).items() if value is not None}
    prices = ("--train-price", "--inference-price")
    missing = [name for name in prices if name not in given]
    if missing == list(prices):
        if given:
            raise UsageError(f"{next(iter(given))} changes costs in money only; add {list_text(prices)}")
        return FLOP_COSTS
    if missing:
        raise UsageError(f"{missing[0]} is missing: costs in money need both prices")
    if rent.output_mfu is None and writes:
        raise UsageError(
            "--output-mfu is missing: output tokens are generated at a far lower utilisation than input "
            "tokens are read"
        )
    trains = find_device(rent.train_device or _DEVICE, rent.train_precision)
    serves = find_device(rent.inference_device or _DEVICE, rent.inference_precision)
    input_mfu = rent.input_mfu or _MFU

    def machine(device: Device, mfu: float, price_option: str) -> Machine:
        return Machine(peak_flops=device.peak_flops, utilisation=mfu, price_per_hour=given[price_option])

    return Costs.rented(
        train=machine(trains, rent.train_mfu or _MFU, "--train-price"),
        read=machine(serves, input_mfu, "--inference-price"),
        write=machine(serves, rent.output_mfu or input_mfu, "--inference-price"),
        unit="currency",
    )


def _print(made: InferencePlan) -> None:
    law_source.print_sample(made.sample, made.level)
    served = (
        f"{scaled_number(made.demand.input_tokens)} tokens read, "
        f"{scaled_number(made.demand.output_tokens)} written"
    )
    output.echo(f"served over its life: {served}; costs in {made.costs.unit}")
    output.echo()
    law_source.print_quantities("cheapest", made.table, made.sample, law_source.row_doubts(made))
    law_source.print_unreachable(made, "sizes, tokens and costs", "tokens per parameter, saved and saving")
    output.print_boundary(made.boundary, made.sample.boundary)
    if made.boundary is not None:
        output.echo()
    output.echo(f"first-order condition met to {made.residual:.1g}")
