"""The machines of a training run, in place of its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices
from chinchilla_jax.cli.options import bundle

_MFU = 0.4


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machines that --gpus, --hours, --device, --precision and --mfu describe.

    Attributes:
        gpus: their number.
        hours: of training.
        device: their name.
        precision: number format of the peak rate.
        mfu: fraction of the peak rate in use; None for the usual 0.4.
        purpose: what they are for, as it ends a message.
    """

    gpus: float | None
    hours: float | None
    device: str | None
    precision: str | None
    mfu: float | None
    purpose: str = "it sets the budget"

    @property
    def given(self) -> str:
        """The first of the options that set a budget which was given; "" if none was."""
        options = {"--gpus": self.gpus, "--hours": self.hours, "--device": self.device}
        return next((name for name, value in options.items() if value is not None), "")

    def read(self) -> dict[str, Any] | None:
        """What the machines compute, and at what rate; None if none are given.

        Raises:
            UsageError: one of the three is missing, or the device is unknown.
        """
        given = {"--gpus": self.gpus, "--hours": self.hours, "--device": self.device}
        if all(value is None for value in given.values()):
            for name, value in (("--precision", self.precision), ("--mfu", self.mfu)):
                if value is not None:
                    raise UsageError(
                        f"{name} is of the machines that --gpus, --hours and --device name; give these too, "
                        f"or leave out {name}"
                    )
            return None
        for name, value in given.items():
            if value is None:
                others = " and ".join(other for other in given if other != name)
                raise UsageError(f"{name} is missing: together with {others} {self.purpose}")
        from chinchilla_jax.planning import find_device, hardware_flops

        gpus, hours, device = self.gpus, self.hours, self.device
        assert gpus is not None and hours is not None and device is not None
        found = find_device(device, self.precision)
        mfu = _MFU if self.mfu is None else self.mfu
        return {
            "gpus": gpus,
            "hours": hours,
            "device": found.device,
            "precision": found.precision,
            "peak_flops": found.peak_flops,
            "peak_source": found.source,
            "peak_checked": found.checked,
            "mfu": mfu,
            "flops": hardware_flops(gpus, hours, found, mfu),
        }


machine_options = {
    "device": click.option(
        "--device", metavar="NAME", help="h100, a100, tpu-v5p, ...; an unknown name lists them all."
    ),
    "precision": click.option(
        "--precision",
        metavar="NAME",
        show_default="bf16",
        help="Number format of the device's peak rate.",
    ),
    "mfu": click.option(
        "--mfu",
        type=choices.FRACTION,
        metavar="U",
        show_default=str(_MFU),
        help="Fraction of the peak rate in use.",
    ),
}
"""What a machine is and how well it is used."""

hardware_options = bundle(
    "hardware",
    Hardware,
    {
        "gpus": click.option(
            "--gpus",
            type=choices.POSITIVE,
            metavar="K",
            help="Number of devices; with --hours and --device, instead of --flops.",
        ),
        "hours": click.option("--hours", type=choices.POSITIVE, metavar="H", help="Hours of training."),
        **machine_options,
    },
)
