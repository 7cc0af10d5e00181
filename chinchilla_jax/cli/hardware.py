"""The machines of a training run, in place of its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices
from chinchilla_jax.cli.options import bundle


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machines that --gpus, --hours, --device, --precision and --mfu describe."""

    gpus: float | None
    hours: float | None
    device: str | None
    precision: str | None
    mfu: float

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
            return None
        for name, value in given.items():
            if value is None:
                others = " and ".join(other for other in given if other != name)
                raise UsageError(f"{name} is missing: together with {others} it sets the budget")
        from chinchilla_jax.planning import find_device, hardware_flops

        gpus, hours, device = self.gpus, self.hours, self.device
        assert gpus is not None and hours is not None and device is not None
        found = find_device(device, self.precision)
        return {
            "gpus": gpus,
            "hours": hours,
            "device": found.device,
            "precision": found.precision,
            "peak_flops": found.peak_flops,
            "peak_source": found.source,
            "peak_checked": found.checked,
            "mfu": self.mfu,
            "flops": hardware_flops(gpus, hours, found, self.mfu),
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
        "--mfu", type=choices.FRACTION, metavar="U", default=0.4, help="Fraction of the peak rate in use."
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
