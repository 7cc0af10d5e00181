"""From machines to training FLOP: peak rates with their sources, hours and utilisation.

| code       | unit                                                                     |
|------------|--------------------------------------------------------------------------|
| peak_flops | FLOP per second and device, dense (without structured sparsity)          |
| mfu        | 1, model FLOP utilisation: the share of the peak that goes into 6 N D    |

`tables/devices.csv` has one row per device and precision, with the source of the rate.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
from pathlib import Path

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import positive_number

SECONDS_PER_HOUR = 3600.0
_TRAINING_PRECISIONS = ("bf16", "fp16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """One device at one precision.

    Attributes:
        device: short name, as on the command line.
        precision: number format of the matrix products.
        peak_flops: FLOP per second, dense.
        title: full name.
        source: where the rate is published.
        checked: what it was checked against: "page of the maker", "copy of the data sheet", or only "figures
            of others".
    """

    device: str
    precision: str
    peak_flops: float
    title: str
    source: str
    checked: str


@functools.cache
def devices() -> tuple[Device, ...]:
    """Every row of the table, in its order."""
    text = (Path(__file__).with_name("tables") / "devices.csv").read_text(encoding="utf-8")
    return tuple(
        Device(
            device=row["device"],
            precision=row["precision"],
            peak_flops=float(row["peak_flops"]),
            title=row["title"],
            source=row["source"],
            checked=row["checked"],
        )
        for row in csv.DictReader(io.StringIO(text))
    )


def find_device(name: str, precision: str | None = None) -> Device:
    """The row of a device; by default at the precision of training (bf16, or else fp16).

    Raises:
        UsageError: the table does not have the device, or not at this precision.
    """
    known = list(dict.fromkeys(row.device for row in devices()))
    wanted = name.casefold() if isinstance(name, str) else name
    if wanted not in known:
        raise unknown_name("device", name, known)
    rows = {row.precision: row for row in devices() if row.device == wanted}
    if precision is None:
        precision = next(each for each in _TRAINING_PRECISIONS if each in rows)
    if precision not in rows:
        raise UsageError(f"{wanted} has no {short(precision)} rate in the table; it has {', '.join(rows)}")
    return rows[precision]


def hardware_flops(gpus: float, hours: float, device: Device, mfu: float) -> float:
    """Training FLOP that `gpus` devices deliver in `hours`.

    Raises:
        UsageError: a number is not positive, or `mfu` is above 1.
    """
    count = positive_number("gpus", gpus, remedy="give the number of devices")
    time = positive_number("hours", hours, remedy="give the hours of training")
    return count * time * SECONDS_PER_HOUR * device.peak_flops * utilisation("mfu", mfu)


def utilisation(what: str, value: float) -> float:
    """A share of the peak rate, in (0, 1].

    Raises:
        UsageError: it is not.
    """
    share = positive_number(what, value, remedy="give a share of the peak rate such as 0.4")
    if share > 1:
        raise UsageError(f"{what} is {share:g}, above the peak rate; give a share such as 0.4")
    return share
