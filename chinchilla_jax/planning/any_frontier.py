"""The efficient frontier of any law and any cost by search, where frontier.py has no closed form.

| code         | symbol | shape | unit                                                         |
|--------------|--------|-------|--------------------------------------------------------------|
| laws         |        | (R,)  | laws of one kind, any                                        |
| flops        | C      | (R,)  | training FLOP by the cost                                    |
| found        |        | (R,)  | what each optimum is, see `best_allocation.Found`            |

Size, tokens and loss at the best division of a budget follow from laws/best_allocation.py. The budget for a
size, for tokens or for a loss is the root of a function that rises with ln C.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax.laws.best_allocation import ACTIVE, Found, active_share, best_allocation
from chinchilla_jax.laws.compute import Cost
from chinchilla_jax.laws.fitted import FittedLaw
from chinchilla_jax.laws.prediction import paired_log_losses
from chinchilla_jax.planning.frontier import compute_overhead

Array = NDArray[np.float64]
_USUAL, _DECADE, _DECADES = math.log(1e21), math.log(10.0), 30
_STEPS, _SETTLED = 80, 1e-11  # of ln C


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frontier:
    """Laws (R,) with a cost and their further variables, and what they prescribe.

    Attributes:
        laws: the laws.
        cost: what training costs.
        variables: what else the laws predict from.
    """

    laws: FittedLaw
    cost: Cost
    variables: Mapping[str, float]

    @property
    def share(self) -> float:
        """Active parameters over all of them."""
        return active_share(self.variables)

    def best(self, flops: ArrayLike) -> tuple[Array, Array, NDArray[np.int8]]:
        """Active parameters, tokens and `Found` at a budget each, (R,)."""
        law, budgets = self.laws, np.broadcast_to(np.asarray(flops, np.float64), self.laws.shape)
        same = np.all(budgets == budgets[:1])
        asked = budgets[:1] if same else budgets[:, None]
        found = best_allocation(law.model, law.design, law.theta, asked, self.cost, self.variables)
        return found.active[:, 0], found.tokens[:, 0], found.found[:, 0]

    def loss(self, active: ArrayLike, tokens: ArrayLike) -> Array:
        """The loss of each law at a place each, (R,); NaN where the place is no number."""
        law, model, design = self.laws, self.laws.model, self.laws.design
        n, d = (np.broadcast_to(np.asarray(each, np.float64), law.shape) for each in (active, tokens))
        known = (n > 0) & (d > 0) & np.isfinite(n) & np.isfinite(d)
        n, d = np.where(known, n, 1.0), np.where(known, d, 1.0)
        given = dict(self.variables)
        own = {ACTIVE: n, "flops": self.cost.flops(n, d)}
        further = model.further({**given, **{k: v for k, v in own.items() if k in model.variables}}, n, d)
        u = (np.log(n / self.share) - design.params_location) / design.params_scale
        v = (np.log(d) - design.tokens_location) / design.tokens_scale
        values = paired_log_losses(model, law.theta, (u, v, *further), model.constants(design))
        return np.where(known, np.exp(values), np.nan)

    def budget(self, target: str, value: ArrayLike) -> Array:
        """The budget (R,) at which `target` is `value`; +inf for what no budget reaches.

        Args:
            target: "params" (active), "tokens" (counts) or "loss" (nats per token).
            value: one, or one for each law.
        """
        wanted = np.log(np.broadcast_to(np.asarray(value, np.float64), self.laws.shape))

        def excess(log_flops: Array) -> Array:
            active, tokens, _ = self.best(np.exp(log_flops))
            with np.errstate(divide="ignore"):
                if target == "loss":
                    return wanted - np.log(self.loss(active, tokens))
                return np.log(active if target == "params" else tokens) - wanted

        return _rising_root(excess, self.laws.shape)

    def overhead(self, active: ArrayLike, tokens: ArrayLike) -> Array:
        """Compute of a model over that of the cheapest with the same loss, less 1, (R,)."""
        law, cost = self.laws, self.cost
        n, d = (np.broadcast_to(np.asarray(each, np.float64), law.shape) for each in (active, tokens))
        same = law.model.allocation_law(law.theta, law.design)
        if same is not None:  # the same contours
            return compute_overhead(same.along(cost), n**cost.params_power, d**cost.tokens_power)
        flops = cost.flops(n, d)
        best, best_tokens, _ = self.best(flops)
        least = self.budget("loss", self.loss(n, d))
        found = np.maximum(flops / least - 1.0, 0.0)
        # At the optimum itself the root is ill-conditioned, and the answer known.
        at_best = np.isclose(n, best, rtol=1e-9) & np.isclose(d, best_tokens, rtol=1e-9)
        return np.where(at_best, 0.0, found)


def _rising_root(function: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Exp of the root of functions that rise, (R,); +inf where none is within reach.

    From a usual budget a bracket is widened, by decades, to where the sign changes; the Illinois method, with
    a bisection now and then, does the rest.
    """
    low = high = np.full(shape, _USUAL)
    below = above = function(low)
    for step in range(1, _DECADES + 1):
        down, up = below >= 0, above < 0
        if not (down | up).any():
            break
        lower, upper = (
            np.where(down, _USUAL - step * _DECADE, low),
            np.where(up, _USUAL + step * _DECADE, high),
        )
        # What was the end before is now the other one: the root is between the last two places.
        high, above = np.where(down, low, high), np.where(down, below, above)
        low, below = np.where(up, high, low), np.where(up, above, below)
        below, above = np.where(down, function(lower), below), np.where(up, function(upper), above)
        low, high = np.where(down, lower, low), np.where(up, upper, high)
    lost = ~((below < 0) & (above >= 0))
    low, high = np.where(lost, _USUAL, low), np.where(lost, _USUAL, high)
    below, above = np.where(lost, -1.0, below), np.where(lost, 1.0, above)
    side, before = np.zeros(shape), np.full(shape, np.nan)
    x = low
    for step in range(_STEPS):
        bisects = step % 4 == 3
        x = 0.5 * (low + high) if bisects else low + (high - low) * below / (below - above)
        settled = lost | (high - low < _SETTLED) | (np.abs(x - before) < _SETTLED)
        if settled.all():
            break
        before = before if bisects else x
        value = function(x)
        value = np.where(lost, 0.0, value)
        left = ~(value > 0)
        # Illinois: an end that stays for a second time counts for half.
        above = np.where(left & (side < 0), above / 2, above)
        below = np.where(~left & (side > 0), below / 2, below)
        low, below = np.where(left, x, low), np.where(left, np.where(value == 0, -1e-300, value), below)
        high, above = np.where(left, high, x), np.where(left, above, value)
        side = np.where(left, -1.0, 1.0)
    with np.errstate(over="ignore"):
        return np.where(lost, np.inf, np.exp(x))


def edges(found: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether an optimum is none inside the plane."""
    return np.asarray(~np.isin(found, (Found.INSIDE, Found.KINK)))
