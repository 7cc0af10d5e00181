"""The best choice of runs for an allowance, by exchange.

| code      | shape | meaning                                                                          |
|-----------|-------|----------------------------------------------------------------------------------|
| views     | (V,)  | what runs say under each of several laws, see information.py                      |
| shares    | (T,)  | weights of the targets, 1 in sum                                                 |
| costs     | (m,)  | of the candidates (FLOP)                                                         |
| chosen    | (k,)  | positions of candidates; one may occur several times                             |
| criterion | ()    | mean over the views of sum_t shares_t ln of the standard error of target t       |

Greedily a run is added at a time, as far as the allowance and the number of runs allow; then every run is
exchanged for the candidate that lowers the criterion most, until none does (Fedorov 1972, Theory of Optimal
Experiments; Atkinson, Donev & Tobias 2007, Optimum Experimental Designs, with SAS, section 12). The criterion
is c-optimality where one law and one target are given, and its mean over laws a robust one (Dette 1997,
Journal of the Royal Statistical Society B 59:97, standardised criteria).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.planning.design.information import View

    Floats = NDArray[np.float64]

_LEAST_GAIN = 1e-6  # of the criterion, for which runs are exchanged
_MOST_ROUNDS = 50
_ROUNDING = 1e-9  # of the allowance
_KEPT = 1024  # choices whose criterion is remembered


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exchange:
    """The choice among m candidates.

    Attributes:
        views: V of them.
        shares: of the targets.
        costs: of the candidates.
        once: whether each candidate can be chosen once only.
    """

    views: Sequence[View]
    shares: Floats
    costs: Floats
    once: bool = False

    def criterion(self, chosen: Sequence[int]) -> float:
        """That of these runs."""
        return self._criterion(tuple(chosen))

    def with_each(self, chosen: Sequence[int]) -> Floats:
        """The criterion of these and one run more at each candidate, (m,)."""
        return self._with_each(tuple(chosen))

    # Searches for several allowances pass through the same choices.
    @functools.cached_property
    def _criterion(self) -> Callable[[tuple[int, ...]], float]:
        return functools.lru_cache(_KEPT)(
            lambda chosen: float(self._mean([view.variances(view.after(chosen)) for view in self.views]))
        )

    @functools.cached_property
    def _with_each(self) -> Callable[[tuple[int, ...]], Floats]:
        return functools.lru_cache(_KEPT)(
            lambda chosen: self._mean([view.variances_with_each(view.after(chosen)) for view in self.views])
        )

    def _mean(self, variances: Sequence[Floats]) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = 0.5 * np.log(np.maximum(np.stack(variances), 1e-300))
        return np.asarray(np.nan_to_num(logs, nan=np.inf).mean(axis=0) @ self.shares)

    def choose(self, allowance: float, most: int) -> tuple[int, ...]:
        """The best of several searches: up to `most` runs that cost no more than the allowance together."""
        room = allowance * (1 + _ROUNDING)
        found = []
        for power, limit in ((0.0, room), (0.0, room / most), (0.5, room)):
            start = self._greedy(room, most, limit, power)
            found.append(self._exchanged(start, room, most))
        return min(found, key=self.criterion)

    def improved(self, start: Sequence[int], allowance: float) -> tuple[int, ...]:
        """These runs, exchanged one by one for better ones within an allowance; no more of them."""
        return self._exchanged(list(start), allowance * (1 + _ROUNDING), len(start))

    def _greedy(self, room: float, most: int, limit: float, power: float) -> list[int]:
        """Runs of up to a limit added one by one, by gain over the cost to a power."""
        chosen: list[int] = []
        while len(chosen) < most:
            left = self._left(room, chosen) & (self.costs <= limit)
            if not left.any():
                break
            gain = self.criterion(chosen) - self.with_each(chosen)
            worth = np.where(left & (gain > 0), gain / self.costs**power, -np.inf)
            best = int(np.argmax(worth))
            if not worth[best] > 0:
                break
            chosen.append(best)
        return chosen

    def _exchanged(self, chosen: list[int], room: float, most: int) -> tuple[int, ...]:
        now = self.criterion(chosen)
        for _ in range(_MOST_ROUNDS):
            before = now
            for slot in range(min(len(chosen) + 1, most)):  # the last may be one run more
                rest = chosen[:slot] + chosen[slot + 1 :]
                left = self._left(room, rest)
                if not left.any():
                    continue
                values = np.where(left, self.with_each(rest), np.inf)
                best = int(np.argmin(values))
                if values[best] < now - _LEAST_GAIN:
                    chosen, now = [*rest[:slot], best, *rest[slot:]], float(values[best])
            if now >= before - _LEAST_GAIN:
                break
        return tuple(sorted(chosen, key=lambda place: (self.costs[place], place)))

    def _left(self, room: float, chosen: list[int]) -> NDArray[np.bool_]:
        """What can be added to these runs."""
        left = self.costs <= room - self.costs[chosen].sum()
        if self.once:
            left[chosen] = False
        return left

    def prices(self, allowance: float, most: int, steps: int = 12) -> list[tuple[int, ...]]:
        """The best choices for ever larger allowances up to this one; none costs more and tells less."""
        least = float(self.costs.min())
        found: list[tuple[int, ...]] = []
        best = self.criterion(())
        for part in np.geomspace(least, max(allowance, least), steps):
            chosen = self.choose(float(part), most)
            value = self.criterion(chosen)
            if chosen and value < best - _LEAST_GAIN:
                found, best = [*found, chosen], value
        return found
