"""One search of a breakdown: sizes on the way out, then a bisection for each criterion.

| code      | symbol | shape | meaning                                                               |
|-----------|--------|-------|-----------------------------------------------------------------------|
| distance  | x      | ()    | how far a perturbation is from none, >= 0: |ln c|, |c|, |ln s|, sigma |
| own       |        | (r,)  | the distance at which each single resample meets a criterion          |
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.analysis.breakdown_criteria import Criterion, Fitted, Place, Sizes
from chinchilla_jax.analysis.miscount_paths import Path

Floats = NDArray[np.float64]
_SCAN = 22  # sizes fitted on the way out, before the bisection
_FEWEST = 0.5  # share of the resamples that must converge for a size to be judged


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        distances: by criterion (its key), the smallest at which all resamples together meet it; NaN where
            none does.
        own: by criterion, the distance at which each single resample meets it: inf where it never does.
        searched_to: the largest distance that was judged.
        n_sizes: how many sizes were fitted.
    """

    distances: dict[str, float]
    own: dict[str, Floats]
    searched_to: float
    n_sizes: int


def search(path: Path, sizes: Sizes, none: Fitted, criteria: Sequence[Criterion], tolerance: float) -> Found:
    """Search one path, from `none`, the fits of the runs as they are."""
    done = _Search(path, sizes, none, criteria, tolerance)
    return Found(
        distances=done.distances,
        own={each.key: done.own(each) for each in criteria},
        searched_to=done.scanned[-1],
        n_sizes=len(done.fitted) - 1,
    )


class _Search:
    """One path: sizes on the way out, then bisection for each criterion. Each size is fitted once."""

    def __init__(
        self, path: Path, sizes: Sizes, none: Fitted, criteria: Sequence[Criterion], tolerance: float
    ) -> None:
        self.path, self.sizes = path, sizes
        self.fitted: dict[float, Fitted] = {0.0: none}
        # From well inside the documented miscount to the limit, evenly in the logarithm.
        first = min(0.3 * path.documented, 0.1 * path.limit)
        self.scanned = [0.0]
        for distance in np.geomspace(first, path.limit, _SCAN):
            if not self._usable(float(distance)):
                break
            self.scanned.append(float(distance))
        self.places: dict[str, Place] = {}
        self.distances = {each.key: self._bisect(each, tolerance) for each in criteria}

    def _usable(self, distance: float) -> bool:
        if distance not in self.fitted:
            self.fitted[distance] = self.sizes.at(self.path.at(distance))
        return bool(self.fitted[distance].known.mean() >= _FEWEST)

    def _bisect(self, criterion: Criterion, tolerance: float) -> float:
        """The smallest distance at which the criterion is met; NaN if it is at none."""
        met = [criterion.met(self.fitted[distance]) for distance in self.scanned]
        first = met.index(True) if any(met) else len(met) - 1
        self.places[criterion.key] = criterion.place(self.fitted[self.scanned[first]])
        if not any(met):
            return math.nan
        if first == 0:
            return 0.0
        low, high = self.scanned[first - 1], self.scanned[first]
        while high - low > tolerance * high:
            middle = 0.5 * (low + high)
            if not self._usable(middle):
                return math.nan
            if criterion.met(self.fitted[middle]):
                high = middle
            else:
                low = middle
        self.places[criterion.key] = criterion.place(self.fitted[high])
        return 0.5 * (low + high)

    def own(self, criterion: Criterion) -> Floats:
        """The distance at which each single resample meets the criterion: inf where it never does."""
        distances = sorted(distance for distance in self.fitted if distance <= self.scanned[-1])
        place = self.places[criterion.key]
        excess = np.stack([criterion.excess(self.fitted[each], place) for each in distances])
        found = np.full(excess.shape[1], np.inf)
        for r, column in enumerate(excess.T):
            known = ~np.isnan(column)
            x, y = np.array(distances)[known], column[known]
            beyond = np.flatnonzero(y > 0)
            if known[0] and beyond.size:
                i = int(beyond[0])
                found[r] = x[0] if i == 0 else x[i - 1] - y[i - 1] * (x[i] - x[i - 1]) / (y[i] - y[i - 1])
        return found[~np.isnan(excess[0])]
