"""Steps in which runs come: whole batches of tokens, and whole units of machine time.

| code  | shape | unit                                                                                    |
|-------|-------|-----------------------------------------------------------------------------------------|
| batch | ()    | tokens of one step of training                                                          |
| unit  | ()    | training FLOP of the least machine time that is paid for, see `planning.hardware_flops` |
| paid  | (m,)  | FLOP of the units that each run takes, the last of which it may leave partly unused     |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.planning.prediction_places import Places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws import Cost

    Floats = NDArray[np.float64]

_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """In what steps runs come.

    Attributes:
        batch: tokens of one step of training, of which a run makes whole ones; None for any number.
        unit: FLOP that are paid for at once, such as an hour of a node; None for what a run costs.

    Raises:
        UsageError: one of them is not a positive number.
    """

    batch: float | None = None
    unit: float | None = None

    def __post_init__(self) -> None:
        """Check them."""
        for name in ("batch", "unit"):
            if getattr(self, name) is not None:
                positive_number(f"steps: {name}", getattr(self, name))

    def filled(self, places: Places, cost: Cost) -> Places:
        """Places of a grid with the tokens that fill the nearest whole number of units, each once."""
        if self.unit is None:
            return self.whole(places, cost)
        flops = np.maximum(np.round(places.flops / self.unit), 1.0) * self.unit
        filled = dataclasses.replace(places, tokens=cost.tokens(flops, places.params), flops=flops)
        found = self.whole(filled, cost, down=True)
        return found.take(np.unique(np.stack([found.params, found.tokens]), axis=1, return_index=True)[1])

    def whole(self, places: Places, cost: Cost, *, down: bool = False) -> Places:
        """Places with whole batches of tokens: the nearest number, or the next below; one at least."""
        if self.batch is None:
            return places
        steps = places.tokens / self.batch
        steps = np.maximum(np.floor(steps + _ROUNDING) if down else np.round(steps), 1.0)
        tokens = steps * self.batch
        flops = places.flops * (tokens / places.tokens) ** cost.tokens_power
        return dataclasses.replace(places, tokens=tokens, flops=flops)

    def paid(self, flops: Floats) -> Floats:
        """What runs of so many FLOP are paid for with, (m,)."""
        return flops if self.unit is None else np.ceil(flops / self.unit - _ROUNDING) * self.unit


def read_steps(given: Steps | Mapping[str, object] | None) -> Steps:
    """Steps from themselves, from their fields by name, or none.

    Raises:
        UsageError: there is no such step.
    """
    if isinstance(given, Steps):
        return given
    for name in given or {}:
        if name not in ("batch", "unit"):
            raise unknown_name("step", name, ["batch", "unit"])
    return Steps(**(given or {}))  # type: ignore[arg-type]
