"""Runs of a sweep that begins with none: IsoFLOP curves, a grid, a ladder, and candidates for an exchange.

| code      | symbol | shape | unit                                                                    |
|-----------|--------|-------|-------------------------------------------------------------------------|
| largest   | C_max  | ()    | most compute of one run (FLOP)                                          |
| allowance | A      | ()    | compute of all runs together (FLOP)                                     |
| params    | N      | (n,)  | parameters (count)                                                      |
| tokens    | D      | (n,)  | training tokens (count)                                                 |

IsoFLOP: budgets half a decade apart, sizes from a quarter to four times the optimum of each. Grid: sizes by
tokens per parameter. Ladder: budgets of a factor 2 at 20 tokens per parameter, as often as the allowance pays
for. Each spends at most the allowance; where even the least number of runs costs more, the budgets shrink.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, RULE_OF_THUMB, training_flops

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws import ScalingLaw

    Floats = NDArray[np.float64]

_BUDGETS, _APART = 5, 10.0**0.5
_LEAST_OF_BUDGET, _MOST_OF_BUDGET = 3, 12  # runs
_OFF = 4.0  # factor of the sizes of a budget, either way
_SIZES, _MOST_SIZES, _RATIOS = 6, 24, (5.0, 10.0, 20.0, 40.0, 80.0)
_RUNGS, _FACTOR = 6, 2.0
_SPAN = 1e3  # from the largest run to the smallest
_STEPS = 16  # sizes, and ratios, of the candidates for an exchange


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """Runs to train: parameters and tokens, (n,) each."""

    params: Floats
    tokens: Floats

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.params)

    @property
    def flops(self) -> Floats:
        """6 N D of each."""
        return training_flops(self.params, self.tokens)

    @property
    def cost(self) -> float:
        """FLOP of all."""
        return float(self.flops.sum())


def isoflop_sweep(law: ScalingLaw, largest: float, allowance: float) -> Sweep:
    """IsoFLOP curves around the optima of a law."""
    shares = _APART ** -np.arange(float(_BUDGETS))
    each = int(np.clip(allowance // (largest * shares.sum()), _LEAST_OF_BUDGET, _MOST_OF_BUDGET))
    top = min(largest, allowance / (each * shares.sum()))
    flops, off = np.meshgrid(top * shares, np.geomspace(1 / _OFF, _OFF, each), indexing="ij")
    params = np.asarray(law.optimal(flops.ravel())[0]) * off.ravel()
    return Sweep(params, flops.ravel() / FLOPS_PER_PARAM_TOKEN / params)


def grid_sweep(largest: float, allowance: float) -> Sweep:
    """A grid of sizes by tokens per parameter, whose largest run costs what is allowed."""
    ratios = np.array(_RATIOS)
    # Sizes below the largest by a factor; the cost goes as their square.
    for sizes in range(_MOST_SIZES, _SIZES - 1, -1):
        down = np.geomspace(1 / math.sqrt(_SPAN), 1.0, sizes)
        of_square = FLOPS_PER_PARAM_TOKEN * float(np.sum(down**2)) * ratios.sum()
        if largest / (FLOPS_PER_PARAM_TOKEN * ratios.max()) <= allowance / of_square:
            break
    top = math.sqrt(min(largest / (FLOPS_PER_PARAM_TOKEN * ratios.max()), allowance / of_square))
    params, ratio = (each.ravel() for each in np.meshgrid(top * down, ratios, indexing="ij"))
    return Sweep(params, params * ratio)


def ladder_sweep(largest: float, allowance: float) -> Sweep:
    """Runs at 20 tokens per parameter and ever larger budgets."""
    shares = _FACTOR ** -np.arange(float(_RUNGS))
    times = int(np.clip(allowance // (largest * shares.sum()), 1, _MOST_OF_BUDGET))
    top = min(largest, allowance / (times * shares.sum()))
    params = np.sqrt(np.repeat(top * shares, times) / (FLOPS_PER_PARAM_TOKEN * RULE_OF_THUMB))
    return Sweep(params, params * RULE_OF_THUMB)


def candidates_of(law: ScalingLaw, largest: float) -> Sweep:
    """Places for an exchange: budgets up to the largest, as far from a law's optima as IsoFLOP curves."""
    budgets = np.geomspace(largest / _SPAN, largest, _STEPS)
    flops, off = np.meshgrid(budgets, np.geomspace(1 / _OFF, _OFF, _STEPS), indexing="ij")
    params = np.asarray(law.optimal(flops.ravel())[0]) * off.ravel()
    return Sweep(params, flops.ravel() / FLOPS_PER_PARAM_TOKEN / params)
