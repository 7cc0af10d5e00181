"""The documented miscount: how wrong published parameter counts are known to be, as a size of each family.

The standard formula misses the reported count of a Chinchilla model by up to 15.2% (Schaeffer et al. 2025,
arXiv:2509.23963; `datasets.architectures.relative_error_summary`). With N the counts and mu the centre of
a bias, a perturbation amounts to that when it changes

| form             | what                                          | size                                    |
|------------------|-----------------------------------------------|-----------------------------------------|
| multiplicative   | every count by a factor of 1.152, up or down  | c = 1/1.152 or 1.152                    |
| additive         | the smallest count, by 15.2% of it            | c = -0.152 min N or 0.152 min N         |
| systematic_bias  | the count farthest from mu, by a factor 1.152 | s = 1 +- ln 1.152 / max abs ln(N/mu)    |
| log_normal_noise | a typical count: one standard deviation       | sigma = ln 1.152 = 0.1415               |

Tokens have no documented miscount of their own. Where they were derived from the compute, a factor in the
parameters is a factor in the tokens, so theirs is the same. None is documented for losses.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.perturbations.families import FAMILIES
from chinchilla_jax.perturbations.sized import bias_centre, geometric_mean

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

DOCUMENTED_MISCOUNT = 0.152
"""Largest relative error of the standard formula on the Chinchilla models."""


def documented_sizes(runs: Runs, family: str) -> tuple[float, float] | None:
    """Lowest and highest size that amount to the documented miscount.

    Args:
        runs: unperturbed, counts positive.
        family: name in `FAMILIES`.

    Returns:
        In the unit of the family's size; the lowest noise is none, 0. None for a family of the losses.

    Raises:
        UsageError: an unknown family, or counts that are not positive.
    """
    if family not in FAMILIES:
        raise unknown_name("family", family, FAMILIES)
    of, form = FAMILIES[family].of, FAMILIES[family].form
    if of == "loss":
        return None
    counts = getattr(runs, of)
    mu = geometric_mean(counts)
    if math.isnan(mu):
        raise UsageError(f"documented miscount: {runs.name or 'runs'}: counts of {of} are not all positive")
    log_factor = math.log1p(DOCUMENTED_MISCOUNT)
    if form == "multiplicative":
        return 1.0 / (1.0 + DOCUMENTED_MISCOUNT), 1.0 + DOCUMENTED_MISCOUNT
    if form == "additive":
        amount = DOCUMENTED_MISCOUNT * float(counts.min())
        return -amount, amount
    if form == "systematic_bias":
        mu = bias_centre(runs)
        with np.errstate(divide="ignore"):
            farthest = float(np.abs(np.log(counts / mu)).max())
        reach = log_factor / farthest if farthest > 0 else math.inf
        return max(1.0 - reach, 0.0), 1.0 + reach
    return 0.0, log_factor
