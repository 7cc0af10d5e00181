"""Lowest losses for a budget under laws for which they are no power of compute, by search.

| code      | symbol  | shape  | meaning                                                        |
|-----------|---------|--------|----------------------------------------------------------------|
| laws      |         | s      | laws of one kind                                               |
| log_flops | ln C    | (q,)   | budgets of 6 N D                                               |
| curve     | ln L*   | (R, G) | at a grid of budgets; NaN where the optimum is at an edge or flat |

L* is at the optimum that laws/best_allocation.py searches and certifies. Its inverse is bracketed on the grid
and refined by the secant method on L* itself, so that a budget has the loss asked for to `_SETTLED`.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.laws.best_allocation import best_allocation
from chinchilla_jax.laws.compute import SIX_ND
from chinchilla_jax.laws.fitted import FittedLaw
from chinchilla_jax.planning.any_frontier import edges, log_losses_at

Floats = NDArray[np.float64]
_GRID = np.linspace(math.log(1e8), math.log(1e36), 113)  # a quarter of a decade apart
_REFINED, _SETTLED = 12, 1e-12  # steps of the secant method; of ln L


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SearchedFrontier:
    """The frontier of laws without a closed form; the interface is that of `multipliers.Frontier`.

    Attributes:
        laws: the laws, which predict from params, tokens and what has a default.
    """

    laws: FittedLaw

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Whether each law has a compute-optimal point at two neighbouring budgets, of the laws' shape."""
        known = np.isfinite(self._curve)
        return (known[:, 1:] & known[:, :-1]).any(axis=1).reshape(self.laws.shape)

    def take(self, kept: NDArray[np.intp]) -> SearchedFrontier:
        """The laws at these positions."""
        return SearchedFrontier(laws=self.laws[kept])

    def loss(self, log_flops: Floats) -> Floats:
        """L* (nats per token) at each ln C, s + (q,)."""
        every = np.broadcast_to(log_flops, (*self.laws.shape, len(log_flops)))
        return np.exp(self._log_loss(every.reshape(-1, len(log_flops))).reshape(every.shape))

    def log_budget(self, losses: Floats) -> Floats:
        """Ln of the least budget that reaches losses (s + (q,)).

        +inf where none up to 1e36 FLOP is known to, NaN for what 1e8 FLOP reach.
        """
        wanted = np.log(np.broadcast_to(losses, (*self.laws.shape, losses.shape[-1])))
        goal, curve = wanted.reshape(-1, losses.shape[-1]), self._curve
        # L* falls: the first place of the grid that is low enough, beside the last that is not.
        reached = (curve[:, None, :] <= goal[..., None]) & np.isfinite(curve)[:, None, :]
        right = np.clip(reached.argmax(axis=2), 1, None)
        rows = np.arange(len(curve))[:, None]
        low, high = _GRID[right - 1], _GRID[right]
        below, above = curve[rows, right - 1] - goal, curve[rows, right] - goal
        known = reached.any(axis=2) & (below > 0) & (above <= 0)
        at = np.where(known, low, _GRID[len(_GRID) // 2])
        for step in range(_REFINED):
            with np.errstate(divide="ignore", invalid="ignore"):
                secant = low + (high - low) * below / (below - above)
            at = np.where(known, np.where(step % 4 == 3, 0.5 * (low + high), secant), at)
            off = self._log_loss(at) - goal
            if np.all(~known | (np.abs(off) <= _SETTLED)):
                break
            left = off > 0
            low, below = np.where(left, at, low), np.where(left, off, below)
            high, above = np.where(left, high, at), np.where(left, above, off)
        unreached = np.isfinite(goal) & ~reached.any(axis=2)
        return np.where(known, at, np.where(unreached, np.inf, np.nan)).reshape(wanted.shape)

    @functools.cached_property
    def _curve(self) -> Floats:
        count = math.prod(self.laws.shape)
        return self._log_loss(np.broadcast_to(_GRID, (count, len(_GRID))))

    def _log_loss(self, log_flops: Floats) -> Floats:
        """Ln L* of each law at budgets of its own, (R, q)."""
        law, model = self.laws, self.laws.model
        theta = law.theta.reshape(-1, model.size)
        found = best_allocation(model, law.design, theta, np.exp(log_flops))
        inside = ~edges(found.found)
        n, d = (np.where(inside, each, 1.0).ravel() for each in (found.active, found.tokens))
        lanes = np.repeat(theta, log_flops.shape[1], axis=0)
        values = log_losses_at(law, lanes, n, d, SIX_ND, model.defaults)
        return np.where(inside, values.reshape(log_flops.shape), np.nan)
