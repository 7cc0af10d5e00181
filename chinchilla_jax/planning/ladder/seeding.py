"""The first runs of a ladder, and the growth of its budgets."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.limits import ROWS
from chinchilla_jax._util.validation import positive_number, whole_number

LEAST_RUNS = 6  # as many as determine the law


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeding:
    """Seed runs and the factor between budgets; the base of `LadderSettings` and `Scenario`.

    Attributes:
        flops_range: lowest and highest compute of the seed runs (FLOP).
        ratio_range: lowest and highest tokens per parameter of the seed runs.
        seeds: number of seed runs, 6 or more.
        factor: next budget over the largest so far, above 1.

    Raises:
        UsageError: a value is out of range.
    """

    flops_range: tuple[float, float]
    ratio_range: tuple[float, float]
    seeds: int
    factor: float

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("flops_range", "ratio_range"):
            remedy = "give two positive limits"
            low, high = (positive_number(name, limit, remedy=remedy) for limit in getattr(self, name))
            if low >= high:
                raise UsageError(f"{name} is {low:g} to {high:g}; give a lower limit below the upper one")
            object.__setattr__(self, name, (low, high))
        remedy = f"the law has five parameters, give {LEAST_RUNS} or more"
        whole_number("seeds", self.seeds, low=LEAST_RUNS, remedy=remedy)
        ROWS.require("seeds", self.seeds)
        if positive_number("factor", self.factor, remedy="give a number above 1 such as 2") <= 1:
            raise UsageError(f"factor is {self.factor:g}; the next budget is larger, give a number above 1")

    def seed_runs(self, uniform: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(flops, tokens per parameter) of seed runs, (n,) each, from numbers in [0, 1), (n, 2)."""
        low, high = np.log([self.flops_range, self.ratio_range]).T
        flops, ratio = np.exp(low + uniform * (high - low)).T
        return flops, ratio
