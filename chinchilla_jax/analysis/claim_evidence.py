"""What the claims of the published study are judged by: the laws fitted to one table under every condition.

| code    | symbol              | shape | unit                                                              |
|---------|---------------------|-------|-------------------------------------------------------------------|
| slope   | s                   | (R,)  | decades of tokens per parameter per decade of compute             |
| ratio   | ln(D_opt / N_opt)   | (R,)  | ln of tokens per parameter at one budget                          |
| largest | C                   | ()    | training compute of the table's largest run, 6 N D (FLOP)         |

The slope of one five-parameter law is (alpha - beta)/(alpha + beta) at every budget (Hoffmann et al. 2022,
arXiv:2203.15556, eq. 4). Resamples are paired: lane r of every condition has the same runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.scaling_law import ScalingLaw

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Fits:
    """The bootstrap fits of one condition.

    Attributes:
        laws: fields (R,).
        counted: which of them count, (R,).
    """

    laws: ScalingLaw
    counted: NDArray[np.bool_]

    @property
    def slope(self) -> Floats:
        """Decades of tokens per parameter per decade of compute, (R,); NaN where a fit does not count."""
        return self._of_counted(self.laws.log_ratio_line()[1])

    def ratio(self, flops: float) -> Floats:
        """Ln of the compute-optimal tokens per parameter at a budget (FLOP), (R,); NaN likewise."""
        intercept, slope = self.laws.log_ratio_line()
        return self._of_counted(intercept + slope * np.log(flops / FLOPS_PER_PARAM_TOKEN))

    def parameter(self, name: str) -> Floats:
        """One of E, A, B, alpha, beta, (R,); NaN likewise."""
        return self._of_counted(np.asarray(getattr(self.laws, name)))

    def _of_counted(self, values: Floats) -> Floats:
        return np.where(self.counted & np.isfinite(values), values, np.nan)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All conditions of one table.

    Attributes:
        plain: the runs as they are, parameters counted by the table's first count.
        countings: the runs as they are by every other count.
        swept: by family and size, the fits of every draw, at the sizes of the published study in the table's
            units; noise has several draws, all others have one.
        documented: by family and size, likewise, at the sizes of the documented miscount.
        largest: compute of the largest run (FLOP).
        centre: mu of a systematic bias (parameters).
    """

    plain: Fits
    countings: Mapping[str, Fits]
    swept: Mapping[str, Mapping[float, Sequence[Fits]]]
    documented: Mapping[str, Mapping[float, Sequence[Fits]]]
    largest: float
    centre: float

    def slope_change(self, fits: Fits) -> Floats:
        """What the slope of a condition is above the plain one, (R,)."""
        return fits.slope - self.plain.slope

    def ratio_change(self, fits: Fits) -> Floats:
        """What ln of tokens per parameter at the largest run's compute is above the plain one, (R,)."""
        return fits.ratio(self.largest) - self.plain.ratio(self.largest)
