"""How each family of perturbation is shown: its axis, its names, and which sizes of it are realistic.

| code     | symbol | unit                                    |
|----------|--------|-----------------------------------------|
| value    | c, s   | size of a perturbation (c: parameters   |
|          | sigma  | for "additive", else a pure number)     |
| neutral  |        | the size that changes nothing           |
| params   | N      | parameters (count), shape (n,)          |
| factor   | f      | 1.15: a count wrong by up to 15%        |

What is realistic. The documented miscount of the Chinchilla models is at most 15.2% (standard formula against
reported counts, `counting.relative_error_summary`). So a perturbation is called realistic while it changes
counts by no more than a factor of 1.15 up or down. For each family that means
- multiplicative: c in [1/f, f];
- additive: the smallest model, which it changes most, stays within the factor:
  c in [N_min (1/f - 1), N_min (f - 1)];
- systematic bias: so do the models at the ends of the range: |s - 1| max |ln(N/mu)| <= ln f, with mu the
  geometric mean;
- log-normal noise: one standard deviation is the factor: sigma <= ln f = 0.14.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax.errors import unknown_name
from chinchilla_jax.plots.style import ARROW, MU, ORANGE, SIGMA
from chinchilla_jax.plots.ticks import number

REALISTIC_FACTOR = 1.15
REALISTIC_STYLE: Mapping[str, Any] = MappingProxyType(
    {"color": ORANGE, "alpha": 0.3, "linewidth": 0, "zorder": 0}
)
REALISTIC_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "multiplicative": "realistic: counts\nwithin a factor of 1.15",
        "additive": "realistic: smallest model\nwithin a factor of 1.15",
        "systematic_bias": "realistic: all models\nwithin a factor of 1.15",
        "log_normal_noise": "realistic: typical count\nwithin a factor of 1.15",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepAxis:
    """One family on an axis.

    Attributes:
        family: name in the tables.
        title: name in words, with the formula (z is standard normal, mu the geometric mean of the counts).
        symbol: of the size, as text.
        label: axis label, with its unit.
        scale: "log" or "linear".
        unit: what one step of the axis stands for: 1e6 for counts shown in millions.
        neutral: the size that changes nothing.
    """

    family: str
    title: str
    symbol: str
    label: str
    scale: str
    unit: float
    neutral: float

    def shown(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sizes in the unit of the axis, any shape."""
        return np.asarray(values, dtype=np.float64) / self.unit

    @property
    def symbol_with_unit(self) -> str:
        """Title of a legend that lists sizes."""
        return f"{self.symbol} (millions)" if self.unit == 1e6 else self.symbol

    def coordinate(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where sizes stand along the axis, any shape: their logarithm if it is logarithmic.

        NaN for a size that the axis cannot show.
        """
        shown = self.shown(values)
        if self.scale == "linear":
            return shown
        return np.log(np.where(shown > 0, shown, np.nan))

    def text(self, value: float) -> str:
        """One size with as many digits as a legend needs."""
        shown = float(self.shown(value))
        return number(float(f"{shown:.2g}"))


SWEEPS: Mapping[str, SweepAxis] = MappingProxyType(
    {
        "multiplicative": SweepAxis(
            family="multiplicative",
            title=f"multiplicative: N {ARROW} c N",
            symbol="c",
            label="factor c",
            scale="log",
            unit=1.0,
            neutral=1.0,
        ),
        "additive": SweepAxis(
            family="additive",
            title=f"additive: N {ARROW} N + c",
            symbol="c",
            label="c (million parameters)",
            scale="linear",
            unit=1e6,
            neutral=0.0,
        ),
        "systematic_bias": SweepAxis(
            family="systematic_bias",
            title=f"systematic bias: N {ARROW} {MU} (N/{MU})\u02e2",
            symbol="s",
            label="exponent s",
            scale="log",
            unit=1.0,
            neutral=1.0,
        ),
        "log_normal_noise": SweepAxis(
            family="log_normal_noise",
            title=f"log-normal noise: N {ARROW} N exp({SIGMA} z)",
            symbol=SIGMA,
            label=f"noise {SIGMA} in ln N",
            scale="linear",
            unit=1.0,
            neutral=0.0,
        ),
    }
)


def sweep_of(family: str) -> SweepAxis:
    """How this family is shown.

    Raises:
        UsageError: there is no such family.
    """
    if family not in SWEEPS:
        raise unknown_name("family", family, SWEEPS)
    return SWEEPS[family]


def realistic_range(family: str, params: ArrayLike) -> tuple[float, float]:
    """Sizes of a perturbation that change counts by no more than a factor of 1.15 (see the top of this file).

    Args:
        family: name in the tables.
        params: unperturbed counts, positive, shape (n,).

    Returns:
        Lowest and highest such size, in the unit of the table's `value`.

    Raises:
        UsageError: there is no such family.
    """
    sweep_of(family)
    counts = np.asarray(params, dtype=np.float64)
    log_factor = math.log(REALISTIC_FACTOR)
    if family == "multiplicative":
        return 1.0 / REALISTIC_FACTOR, REALISTIC_FACTOR
    if family == "additive":
        smallest = float(counts.min())
        return smallest * (1.0 / REALISTIC_FACTOR - 1.0), smallest * (REALISTIC_FACTOR - 1.0)
    if family == "systematic_bias":
        logs = np.log(counts)
        half_width = log_factor / float(np.abs(logs - logs.mean()).max())
        return 1.0 - half_width, 1.0 + half_width
    return 0.0, log_factor


def spread(sweep: SweepAxis, values: ArrayLike, n: int) -> list[float]:
    """Up to n of the sizes, ascending: the ends, the neutral one, and others between, evenly by rank."""
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    if len(distinct) <= n:
        return [float(value) for value in distinct]
    ranks = np.rint(np.linspace(0, len(distinct) - 1, n)).astype(int)
    neutral = np.flatnonzero(distinct == sweep.neutral)
    if neutral.size and neutral[0] not in ranks:
        ranks[np.argmin(np.abs(ranks[1:-1] - neutral[0])) + 1] = neutral[0]
    return [float(distinct[rank]) for rank in np.unique(ranks)]
