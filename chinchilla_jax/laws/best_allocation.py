"""How a budget is divided best under any law, in closed form or by search, with a certificate.

Notation
    theta     fits; (R, p)
    K         ln(C / c), the budget of the cost C = c N^a D^b; (R, q)
    x         place along it: a ln N = K/2 + x, b ln D = K/2 - x
    g, h      first and second derivative of ln L in x, exact, by automatic differentiation

N are the parameters that a token passes through, which are what training costs. A law of `params_active` is
given them by this name; under a law of `sparsity` S the model has N / (1 - S) parameters in all.

A closed form (`Law.allocation_law`) is used where the law has one. Otherwise x is searched: on a grid over
every plausible ratio, then by Newton's method on g, kept within the bracket of the lowest point by bisection.
Each answer says what it is, see `Found`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.laws.compute import SIX_ND, Cost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Floats, Law

ACTIVE, SPARSITY = "params_active", "sparsity"
_FURTHEST, _GRID = 23.0, 185  # |x|: for 6 N D ratios from e^-46 to e^46, in steps of 0.5
_STEPS = 60
_SETTLED = 1e-12  # of a step in x
_STATIONARY = 1e-7  # error in x that g / h may leave
_BESIDE = 1e-5  # how far from x the sign of g is looked at
_LEVEL = 1e-13  # range of ln L over the grid that rounding may leave
_NONE: Mapping[str, float] = MappingProxyType({})
_FITS = 256  # at a time


class Found(enum.IntEnum):
    """What the best division of a budget is."""

    INSIDE = 0
    """Stationary, and the loss curves upwards."""
    KINK = 1
    """The loss falls towards it from both sides and has no derivative there."""
    ONLY_TOKENS = 2
    """At an edge: the fewest parameters are best."""
    ONLY_PARAMS = 3
    """At an edge: the fewest tokens are best."""
    FLAT = 4
    """The loss does not depend on the division as far as float64 can tell."""
    NONE = 5
    """The law predicts no finite loss, or says nothing of this."""

    @property
    def sentence(self) -> str:
        """What it is and what to do, as a clause."""
        return _SENTENCES[self]


_SENTENCES = {
    Found.INSIDE: "the optimum is inside",
    Found.KINK: "the optimum is at a kink of the loss",
    Found.ONLY_TOKENS: "fewer parameters are better however few there are; check what was fitted",
    Found.ONLY_PARAMS: "fewer tokens are better however few there are; check what was fitted",
    Found.FLAT: "the loss no longer depends on how this budget is divided; ask for a smaller one",
    Found.NONE: "it predicts no finite loss there; check what was fitted",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allocation:
    """The best division of budgets; arrays (R, q).

    Attributes:
        active: parameters that a token passes through; 0, +inf or NaN at an edge and without an optimum.
        tokens: training tokens; +inf or 0 at an edge.
        found: a `Found` each.
        share: active parameters over all of them.
    """

    active: Floats
    tokens: Floats
    found: NDArray[np.int8]
    share: float = 1.0

    @property
    def params(self) -> Floats:
        """All parameters."""
        return self.active / self.share

    @property
    def tokens_per_param(self) -> Floats:
        """D/N, N the active parameters."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.tokens / self.active


def active_share(variables: Mapping[str, float]) -> float:
    """Active parameters over all of them: 1 - S for a sparsity S, otherwise 1.

    Raises:
        UsageError: the sparsity is not from 0 to below 1.
    """
    sparsity = float(variables.get(SPARSITY, 0.0))
    if not 0 <= sparsity < 1:
        raise UsageError(f"sparsity is {sparsity:g}; give the share of idle parameters, from 0 to below 1")
    return 1.0 - sparsity


def best_allocation(
    law: Law,
    design: Design,
    theta: Floats,
    flops: ArrayLike,
    cost: Cost = SIX_ND,
    variables: Mapping[str, float] = _NONE,
) -> Allocation:
    """The parameters and tokens of lowest loss at each budget.

    Args:
        law: the law.
        design: the runs whose units theta is in.
        theta: fits, (R, p).
        flops: budgets (FLOP), (q,) or for each fit its own (R, q).
        cost: what training costs.
        variables: what else the law predicts from, the same at every budget, see `Law.further`.

    Raises:
        UsageError: a budget is not positive and finite, or a variable of the law is missing.
    """
    budgets = np.atleast_1d(positive_array("flops", flops))
    theta = np.asarray(theta, dtype=np.float64)
    shape = (len(theta), budgets.shape[-1])
    if not law.has_optimum:
        nowhere = np.full(shape, np.nan)
        return Allocation(active=nowhere, tokens=nowhere, found=np.full(shape, Found.NONE, np.int8))
    same = law.allocation_law(theta, design)
    if same is None or budgets.ndim > 1:
        return searched_allocation(law, design, theta, budgets, cost, variables)
    law.further(variables, np.ones(()), budgets)
    params, tokens = (np.asarray(each) for each in same.optimal(budgets, cost))
    found = np.select(
        [np.isnan(params), params == 0, np.isinf(params)],
        [Found.NONE, Found.ONLY_TOKENS, Found.ONLY_PARAMS],
        Found.INSIDE,
    )
    return Allocation(active=params, tokens=tokens, found=found.astype(np.int8))


def searched_allocation(
    law: Law,
    design: Design,
    theta: Floats,
    flops: Floats,
    cost: Cost = SIX_ND,
    variables: Mapping[str, float] = _NONE,
) -> Allocation:
    """`best_allocation` by search, whatever the law."""
    share = active_share(variables) if SPARSITY in law.variables else 1.0
    log_c = np.broadcast_to(np.log(flops), (len(theta), np.shape(flops)[-1]))
    # What follows from the place itself is filled in where the loss is traced.
    ones = {name: 1.0 for name in (ACTIVE, "flops") if name in law.variables}
    further = [float(each) for each in law.further({**variables, **ones}, np.ones(()), np.ones(()))]
    frame = np.array(design.units)
    prices = np.empty((len(theta), 4))  # the same in each row, but for a `CostDraws`
    prices[:, 0], prices[:, 1], prices[:, 2] = np.log(cost.coefficient), cost.params_power, cost.tokens_power
    prices[:, 3] = math.log(share)
    search = _searcher(type(law))
    results = []
    with float64_scope():
        for first in range(0, len(theta), _FITS):
            rows, budgets, costs = (
                np.resize(each[first : first + _FITS], (_FITS, each.shape[1]))
                for each in (theta, log_c, prices)
            )
            results.append(
                np.asarray(search(rows, budgets, np.array(further), law.constants(design), frame, costs))
            )
    x, edge, step, below, above = np.moveaxis(np.concatenate(results)[: len(theta)], -1, 0)
    stationary = np.abs(step) <= _STATIONARY
    found = np.select(
        [
            ~np.isfinite(x),
            edge < 0,
            edge > 0,
            (below < 0) & (above > 0) & stationary,
            (below < 0) & (above > 0),
        ],
        [Found.NONE, Found.ONLY_TOKENS, Found.ONLY_PARAMS, Found.INSIDE, Found.KINK],
        Found.FLAT,
    )
    half = (log_c - prices[:, :1]) / 2
    with np.errstate(over="ignore", under="ignore"):
        active, tokens = np.exp((half + x) / prices[:, 1:2]), np.exp((half - x) / prices[:, 2:3])
    ends = [found == Found.ONLY_TOKENS, found == Found.ONLY_PARAMS, found >= Found.FLAT]
    return Allocation(
        active=np.select(ends, [0.0, np.inf, np.nan], active),
        tokens=np.select(ends, [np.inf, 0.0, np.nan], tokens),
        found=found.astype(np.int8),
        share=share,
    )


@functools.cache
def _searcher(law: type[Law]) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import Array, lax

    grid = np.linspace(-_FURTHEST, _FURTHEST, _GRID)
    names = law.variables[2:]

    def one(
        theta: Array, log_c: Array, further: Array, constants: Array, frame: Array, prices: Array
    ) -> Array:
        half = (log_c - prices[0]) / 2

        def loss(x: Array) -> Array:
            log_active, log_tokens = (half + x) / prices[1], (half - x) / prices[2]
            own = {ACTIVE: jnp.exp(log_active), "flops": jnp.exp(log_c)}
            u = (log_active - prices[3] - frame[0]) / frame[1]
            v = (log_tokens - frame[2]) / frame[3]
            place = (u, v, *(own.get(name, further[i]) for i, name in enumerate(names)))
            return law.log_loss(theta, place, constants)

        bend = jax.value_and_grad(jax.grad(loss))  # g and h
        points = jnp.asarray(grid)
        values = jax.vmap(loss)(points)
        lowest = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))
        # An end that is no better than the place beside it is flat, and no edge.
        fewest, most = (
            (lowest == 0) & (values[0] < values[1]),
            (lowest == _GRID - 1) & (values[-1] < values[-2]),
        )
        edge = jnp.where(fewest, -1.0, jnp.where(most, 1.0, 0.0))
        inside = jnp.clip(lowest, 1, _GRID - 2)

        def unsettled(state: Any) -> Array:
            step, low, high, moved = state[0], state[2], state[3], state[4]
            return (step < _STEPS) & (high - low > _SETTLED) & (moved > _SETTLED)

        def improve(state: Any) -> Any:
            step, x, low, high, moved = state
            g, h = bend(x)
            low, high = jnp.where(g <= 0, x, low), jnp.where(g >= 0, x, high)
            newton = x - g / h
            # A Newton step that does not halve the one before it gives way to a bisection.
            trusted = (newton > low) & (newton < high) & (2 * jnp.abs(newton - x) <= moved)
            new = jnp.where(trusted, newton, 0.5 * (low + high))
            return step + 1, new, low, high, jnp.where(trusted | (g == 0), jnp.abs(new - x), high - low)

        start = (0, points[inside], points[inside - 1], points[inside + 1], jnp.asarray(jnp.inf))
        x = lax.while_loop(unsettled, improve, start)[1]
        (below, g, above), (_, h, _) = jax.vmap(bend)(x + jnp.array([-_BESIDE, 0.0, _BESIDE]))
        found = jnp.where(jnp.isfinite(values[lowest]), x, jnp.nan)
        # The same everywhere: the signs of g are those of rounding, and so is which place is lowest.
        level = jnp.max(jnp.where(jnp.isfinite(values), values, -jnp.inf)) - values[lowest] <= _LEVEL
        edge, below, above = (jnp.where(level, 0.0, each) for each in (edge, below, above))
        return jnp.stack([found, edge, g / h, below, above])

    over_budgets = jax.vmap(one, in_axes=(None, 0, None, None, None, None))
    return jax.jit(jax.vmap(over_budgets, in_axes=(0, 0, None, None, None, 0)))
