"""One meaning of N for all answers: a count by one counting, stated in another.

| code   | symbol | shape | unit                                                          |
|--------|--------|-------|---------------------------------------------------------------|
| counts | N_k    | (m,)  | parameters of the table's models, as an analysis counts them  |
| plain  | N      | (m,)  | the same models, by the plain counting                        |

An analysis that counts without the embedding prescribes a model of so many parameters without the embedding.
Its tokens per parameter are no answer to the question of one that counts them all. So every answer is stated
in the plain counting, the first of the table: the model that is prescribed is the same, and what its N is
called is not. Of N - N_k, where that has one sign, a power of N_k is taken (an embedding grows as the width,
about the cube root of the rest: Pearce & Song 2024, arXiv:2406.12907, eq. 4); otherwise N / N_k is constant.
Tokens, budget and loss need no such change. The budget is spent as the analysis counts: 6 N_k D.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FEWEST = 3  # different models for a power


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restated:
    """N = N_k + c N_k^p, or N = c N_k where p is 1.

    Attributes:
        coefficient: c; 0 where the two countings are one.
        power: p.
        miss: the largest relative error on the models that it was fitted to.
    """

    coefficient: float = 0.0
    power: float = 1.0
    miss: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether the two countings agree on every model."""
        return self.coefficient == 0.0

    def __call__(self, counts: Floats) -> Floats:
        """The plain counts of models that have these counts; 0 and infinity stay."""
        if self.is_same:
            return counts
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(counts * (1.0 + self.coefficient * np.power(counts, self.power - 1.0)))


def restated(counts: Floats, plain: Floats) -> Restated:
    """How counts are stated in the plain counting.

    Args:
        counts: of the runs, (n,), positive and finite.
        plain: of the same runs, (n,).
    """
    pairs = np.unique(np.stack([counts, plain]), axis=1)
    k, n = pairs
    apart = n - k
    if not apart.any():
        return Restated()
    constant = float(np.exp(np.mean(np.log(n / k)))) - 1.0
    found = [Restated(coefficient=constant, power=1.0)]
    if len(k) >= _FEWEST and len(np.unique(k)) >= _FEWEST and (np.all(apart > 0) or np.all(apart < 0)):
        power, level = np.polyfit(np.log(k), np.log(np.abs(apart)), 1)
        if power <= 1.0:  # above, the difference would outgrow the count
            found.append(Restated(coefficient=float(np.sign(apart[0]) * np.exp(level)), power=float(power)))
    misses = [float(np.max(np.abs(each(k) / n - 1.0))) for each in found]
    best = int(np.argmin(misses))
    return dataclasses.replace(found[best], miss=misses[best])
