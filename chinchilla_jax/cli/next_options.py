"""Options of `chinchilla-jax next`: limits of a run, targets, and what a design from nothing takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from chinchilla_jax._util.text import flops_text, scaled_number
from chinchilla_jax.cli import choices
from chinchilla_jax.cli.hardware import Hardware, machine_options
from chinchilla_jax.cli.options import USUAL_BUDGET, bundle, flops_option

_PAID = "it says in what units runs are paid for"
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSteps:
    """Whole batches of --batch tokens, and whole units of --gpus devices for --hours."""

    batch: float | None
    machines: Hardware

    def read(self) -> dict[str, float]:
        """The fields of `planning.design.Steps` that are given.

        Raises:
            UsageError: part of the machines is missing, or the device is unknown.
        """
        machines = self.machines.read()
        given = {"batch": self.batch, "unit": None if machines is None else machines["flops"]}
        return {name: value for name, value in given.items() if value is not None}

    def fields(self) -> dict[str, Any]:
        """For JSON: the same and the machines."""
        return {**self.read(), "hardware": self.machines.read()}

    @property
    def sentence(self) -> str:
        """In what steps runs come; "" if in none."""
        parts = []
        if self.batch is not None:
            parts.append(f"tokens of a run are whole batches of {scaled_number(self.batch)}")
        machines = self.machines.read()
        if machines is not None:
            parts.append(
                f"runs are paid for in whole units of {machines['gpus']:g} {machines['device']} for "
                f"{machines['hours']:g} h: {flops_text(machines['flops'])} FLOP each "
                f"({machines['precision']}, MFU {machines['mfu']:g})"
            )
        return "; ".join(parts)


step_options = bundle(
    "steps",
    lambda batch, **machines: RunSteps(batch=batch, machines=Hardware(**machines, purpose=_PAID)),
    {
        "batch": click.option(
            "--batch",
            type=choices.POSITIVE,
            metavar="TOKENS",
            help="Tokens of one step of training, of which a run makes whole ones.",
        ),
        "gpus": click.option(
            "--gpus",
            type=choices.POSITIVE,
            metavar="K",
            help="Devices that a run takes; with --hours and --device, runs are paid for in whole units.",
        ),
        "hours": click.option(
            "--hours", type=choices.POSITIVE, metavar="H", help="Hours for which they are paid at once."
        ),
        **machine_options,
    },
)
"""In what steps runs come, as `steps`."""

target_options = bundle(
    "aim",
    lambda **given: {
        "target": list(given["target"]) or "tokens_per_param",
        "flops": given["flops"] or None,
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
        "flops": flops_option(
            "Budget of targets that name none (FLOP)",
            at_several="each is a target at every budget, and the mean of ln(width) over all is narrowed",
            show_default=USUAL_BUDGET,
        ),
        "against": click.option(
            "--against", metavar="TABLE", help="Table to compare with, for the target multiplier."
        ),
    },
)
"""--target, --flops and --against, as `aim`: what `next_runs` takes by these names."""

new_options = bundle(
    "plans",
    lambda **given: given,
    {
        "prior": click.option(
            "--prior",
            metavar="LAW",
            multiple=True,
            default=("hoffmann2022", "besiroglu2024"),
            help="With --new, a law that may be true: five numbers E,A,B,alpha,beta, hoffmann2022 or "
            "besiroglu2024; repeatable.",
        ),
        "noise": click.option(
            "--noise",
            type=choices.POSITIVE,
            metavar="SD",
            default=0.005,
            help="With --new, standard deviation of the log loss of a run.",
        ),
        "sweep": click.option(
            "--sweep",
            metavar="TABLE",
            help="With --new, a plan of your own to judge: params and tokens; several by a column design.",
        ),
        "save": click.option(
            "--save", metavar="FILE", help="With --new, write the runs of all designs as CSV."
        ),
    },
)
"""What a design from nothing takes besides, as `plans`."""
