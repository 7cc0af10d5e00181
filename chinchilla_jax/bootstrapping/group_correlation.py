"""How strongly residuals are correlated within groups of runs: analysis of variance and a permutation test.

| code    | symbol | shape      | meaning                                                                 |
|---------|--------|------------|-------------------------------------------------------------------------|
| values  | e_i    | (n,)       | residuals, or their means over finer groups                             |
| members |        | (n,)       | number of each one's group, 0 to k - 1                                  |
| n0      | n_0    | ()         | (n - sum n_g^2 / n) / (k - 1): the size of k equal groups that say as much |
| ratio   | F      | ()         | mean square between groups over mean square within                      |
| icc     | rho    | ()         | (F - 1) / (F - 1 + n0), the intraclass correlation                      |
| basis   | Q      | (n, p)     | orthonormal, of the fitted law's derivatives by its parameters          |
| drawn   |        | (n, 1 + B) | the values, then B permutations of them, each less its part along Q     |
| p       | p      | ()         | share of the columns of `drawn` whose F is no smaller than the first's  |

Source: Donner 1986, International Statistical Review 54:67 (one-way analysis of variance with groups drawn at
random). Residuals of a fitted law cannot simply be exchanged, since the fit has taken up part of what groups
have in common. Permuted ones are therefore fitted again, to first order (Freedman & Lane 1983, Journal of
Business & Economic Statistics 1:292), which leaves p approximate: on simulated independent runs it is below
0.1 in 6 to 12% of the tables, and in up to 20% where the spread of the errors varies much with the size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax._util.blocks import row_blocks
from chinchilla_jax.bootstrapping.column_space import orthonormal_basis
from chinchilla_jax.bootstrapping.weights import PERMUTED, resample_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Members = NDArray[np.int64]

PERMUTATIONS = 2000
# Residuals of all permutations, in entries: those of more than 8,384 runs are made in blocks and not kept.
_MOST_HELD = 2**24
_BLOCK = 2**22


class Correlation(NamedTuple):
    """What values of one group have in common; see the head of this file.

    Attributes:
        n0: runs per group.
        icc: intraclass correlation; negative where a group's values differ more than others.
        F: mean square between groups over that within.
        p: of the permutations.
    """

    n0: float
    icc: float
    F: float
    p: float


class PermutedResiduals:
    """Residuals and their permutations, for tests of any grouping.

    Args:
        values: residuals, (n,).
        derivatives: of the residuals by the law's parameters, (n, p); None to permute without fitting again.
    """

    def __init__(self, values: Floats, derivatives: Floats | None = None) -> None:
        """Project; the permutations are always the same for one n."""
        self.values = values
        self._centred = values - values.mean()
        self._basis: Floats | None = None
        if derivatives is not None and derivatives.shape[1] + 1 < len(values):
            self._basis = orthonormal_basis(derivatives)
        small = len(values) * (1 + PERMUTATIONS) <= _MOST_HELD
        self._whole = self._drawn(_all_permutations(len(values))) if small else None

    def _drawn(self, permutations: NDArray[np.unsignedinteger[Any]]) -> tuple[Floats, Floats]:
        """Permuted residuals without what the law could fit of them, by column, and their squared lengths."""
        drawn = self._centred[permutations]
        if self._basis is not None:
            drawn -= self._basis @ (self._basis.T @ drawn)
        return drawn, np.einsum("ij,ij->j", drawn, drawn)

    def _blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """`_drawn` of all permutations, some at a time."""
        if self._whole is not None:
            yield self._whole
            return
        n = len(self.values)
        for some in row_blocks(1 + PERMUTATIONS, n, _BLOCK):
            yield self._drawn(_permutations(n, some.start, some.stop))

    def within(self, members: Members) -> Correlation:
        """The correlation within groups 0 to k - 1, (n,); 2 <= k < n."""
        counts = np.bincount(members)
        n, k = len(members), len(counts)
        order, starts = np.argsort(members, kind="stable"), np.concatenate([[0], np.cumsum(counts)[:-1]])
        found = []
        for drawn, totals in self._blocks():
            sums = np.add.reduceat(drawn[order], starts, axis=0)
            between = np.einsum("ij,ij,i->j", sums, sums, 1 / counts)
            with np.errstate(invalid="ignore", divide="ignore"):
                found.append(between / totals)  # F grows with it
        shares = np.concatenate(found)
        p = float(np.mean(~(shares < shares[0] * (1 - 1e-9))))
        n0 = float((n - np.sum(counts**2) / n) / (k - 1))
        explained = float(np.sum(np.bincount(members, self._centred) ** 2 / counts))
        within = max(float(self._centred @ self._centred) - explained, 0.0) / (n - k)
        if not explained + within > 0:  # no residuals
            return Correlation(n0, 0.0, 1.0, 1.0)
        ratio = explained / (k - 1) / within if within > 0 else math.inf
        return Correlation(n0, (ratio - 1) / (ratio - 1 + n0) if within > 0 else 1.0, ratio, p)


@functools.lru_cache(maxsize=4)
def _all_permutations(n: int) -> NDArray[np.unsignedinteger[Any]]:
    """0 to n - 1 and `PERMUTATIONS` permutations of it, as columns (n, 1 + B)."""
    return _permutations(n, 0, 1 + PERMUTATIONS)


def _permutations(n: int, first: int, stop: int) -> NDArray[np.unsignedinteger[Any]]:
    """The columns of `_all_permutations` from `first` to before `stop`."""
    low = max(n - 1, 1).bit_length()
    mask = np.uint32(2**low - 1)
    found = np.empty((n, stop - first), np.min_scalar_type(n - 1))
    if first == 0:
        found[:, 0] = np.arange(n)
    ids = np.arange(max(first, 1), stop) - 1
    keys = resample_bits(n, ids, 0, stream=PERMUTED) & ~mask | np.arange(n, dtype=np.uint32)
    keys.sort(axis=1)  # of numbers that all differ: faster than an argsort, and the same everywhere
    found[:, stop - first - len(ids) :] = (keys & mask).T
    return found
