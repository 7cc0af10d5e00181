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
_NARROW = 1e-3  # of ln C, between a budget that is too small and one whose optimum is flat


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
        law = self.laws
        n, d = (np.broadcast_to(np.asarray(each, np.float64), law.shape) for each in (active, tokens))
        known = (n > 0) & (d > 0) & np.isfinite(n) & np.isfinite(d)
        n, d = np.where(known, n, 1.0), np.where(known, d, 1.0)
        values = log_losses_at(law, law.theta, n, d, self.cost, self.variables)
        return np.where(known, np.exp(values), np.nan)

    def budget(self, target: str, value: ArrayLike) -> Array:
        """The budget (R,) at which `target` is `value`; +inf for what no budget reaches, NaN if unknown.

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

        return rising_root(excess, self.laws.shape)

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
        # The model itself has this loss: where no optimum is found to have it, the least is unknown.
        least = np.where(np.isinf(least), np.nan, least)
        found = np.maximum(flops / least - 1.0, 0.0)
        # At the optimum itself the root is ill-conditioned, and the answer known.
        at_best = np.isclose(n, best, rtol=1e-9) & np.isclose(d, best_tokens, rtol=1e-9)
        return np.where(at_best, 0.0, found)


def log_losses_at(
    laws: FittedLaw,
    theta: Array,
    active: Array,
    tokens: Array,
    cost: Cost,
    variables: Mapping[str, float],
) -> Array:
    """Ln of the loss of each fit at a place of its own, (R,).

    Args:
        laws: what theta is of, and in the units of which runs.
        theta: fits, (R, p).
        active: parameters that a token passes through, (R,).
        tokens: training tokens, (R,).
        cost: what training costs.
        variables: what else the law predicts from.
    """
    model, design = laws.model, laws.design
    own = {ACTIVE: active, "flops": cost.flops(active, tokens)}
    given: dict[str, ArrayLike] = dict(variables)
    given |= {name: each for name, each in own.items() if name in model.variables}
    further = model.further(given, active, tokens)
    u, v = design.standardised(np.log(active / active_share(variables)), np.log(tokens))
    return paired_log_losses(model, theta, (u, v, *further), model.constants(design))


def rising_root(function: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Exp of the root of functions that rise, (R,); +inf above all their values, NaN where it is unknown.

    From a usual budget the places move by decades to where the sign changes; the Illinois method, with a
    bisection now and then, does the rest. A function is NaN where the optimum is flat, which is at large
    budgets: such a place is above the root, or above all that the function is known to reach.
    """
    low, high, below, above, beyond = _bracket(function, shape)
    lost = np.isnan(low) | np.isnan(high)
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
        value = np.where(lost, 0.0, np.where(np.isnan(value), 1.0, value))  # flat: above the root
        left = ~(value > 0)
        # Illinois: an end that stays for a second time counts for half.
        above = np.where(left & (side < 0), above / 2, above)
        below = np.where(~left & (side > 0), below / 2, below)
        low, below = np.where(left, x, low), np.where(left, np.where(value == 0, -1e-300, value), below)
        high, above = np.where(left, high, x), np.where(left, above, value)
        side = np.where(left, -1.0, 1.0)
    with np.errstate(over="ignore"):
        return np.where(lost, np.where(beyond, np.inf, np.nan), np.exp(x))


def _bracket(
    function: Callable[[Array], Array], shape: tuple[int, ...]
) -> tuple[Array, Array, Array, Array, NDArray[np.bool_]]:
    """Places around the root and the values there, NaN where there are none; whether all values are below."""
    x = np.full(shape, _USUAL)
    low, high, below, above, flat = (np.full(shape, np.nan) for _ in range(5))
    while True:
        value = function(x)
        value = np.where(np.isinf(value), np.nan, value)  # an optimum at an edge
        under, over = value < 0, value >= 0
        low, below = np.where(under, x, low), np.where(under, value, below)
        high, above = np.where(over, x, high), np.where(over, value, above)
        flat = np.where(np.isnan(value), x, flat)
        end = np.fmin(high, flat)
        new = np.where(
            np.isnan(end), low + _DECADE, np.where(np.isnan(low), end - _DECADE, 0.5 * (low + end))
        )
        narrow = end - low < _NARROW
        too_far = np.abs(new - _USUAL) > (_DECADES + 0.5) * _DECADE
        done = (under | over) & (low < high) | narrow | too_far
        if done.all():
            return low, high, below, above, ~np.isnan(low) & np.isnan(high)
        x = np.where(done, x, new)


def edges(found: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether an optimum is none inside the plane."""
    return np.asarray(~np.isin(found, (Found.INSIDE, Found.KINK)))
