"""The best division of a budget per law, and the budget for a size, for tokens or for a loss.

| code             | symbol      | shape | unit                                             |
|------------------|-------------|-------|--------------------------------------------------|
| flops            | C           | (R,)  | training FLOP                                    |
| params, tokens   | N, D        | (R,)  | counts                                           |
| tokens_per_param | D/N         | (R,)  | 1                                                |
| loss             | L           | (R,)  | nats per token                                   |
| rule_overhead    | C/C' - 1    | (R,)  | 1; C' reaches the loss of the rule of thumb at C |

For the five-parameter law these are the closed forms of `frontier.py` (Hoffmann et al. 2022,
arXiv:2203.15556, eq. 4); where training costs c N^a D^b, those of the law in N^a and D^b. Other laws are
searched, see `any_frontier.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.best_allocation import ACTIVE
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, RULE_OF_THUMB, SIX_ND, Cost
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.any_frontier import Frontier, edges
from chinchilla_jax.planning.frontier import (
    compute_overhead,
    log_budget,
    log_compute_overhead,
    log_optimal_excess,
)
from chinchilla_jax.planning.law_sample import LawSample

Array = NDArray[np.float64]
UNIQUE = "unique_tokens"
QUANTITIES = ("flops", "params", "tokens", "tokens_per_param", "loss", "rule_overhead")


def sampled_allocation(
    sample: LawSample, laws: FittedLaws, target: str, value: float, ratio: float = RULE_OF_THUMB
) -> dict[str, Array]:
    """`allocation` of these laws by the cost and at the variables of the sample, with rows that these add."""
    if isinstance(laws, ScalingLaw):
        return allocation(laws, target, value, ratio, sample.cost_of(laws))
    frontier = frontier_of(sample, laws)
    found = _searched(frontier, target, value, ratio)
    unique = sample.variables.get(UNIQUE, math.inf)
    named = {}
    for name in QUANTITIES:
        named[name] = found[name]
        if name == "params" and frontier.share < 1:
            named[ACTIVE] = found[ACTIVE]
        if name == "tokens" and math.isfinite(unique):
            named["epochs"] = np.maximum(found["tokens"] / unique, 1.0)
    return named if laws.shape else {name: values[0] for name, values in named.items()}


def _searched(frontier: Frontier, target: str, value: float, ratio: float) -> dict[str, Array]:
    """`QUANTITIES` and params_active, (R,); NaN where the optimum is at an edge."""
    asked = value * frontier.share if target == "params" else value
    shape = frontier.laws.shape
    flops = np.full(shape, value) if target == "flops" else frontier.budget(target, asked)
    reachable = np.isfinite(flops)
    budgets = np.where(reachable, flops, 1e21)
    active, tokens, found = frontier.best(budgets)
    inside = reachable & ~edges(found)
    active, tokens = np.where(inside, active, np.nan), np.where(inside, tokens, np.nan)
    cost = frontier.cost
    log_rule = (np.log(budgets) - cost.log_flops(0.0, math.log(ratio))) / (
        cost.params_power + cost.tokens_power
    )
    rule = frontier.overhead(np.exp(log_rule), ratio * np.exp(log_rule))
    beyond = np.where(np.isinf(flops), np.inf, np.nan)
    named = {
        "flops": flops,
        "params": np.where(inside, active / frontier.share, beyond),
        ACTIVE: np.where(inside, active, beyond),
        "tokens": np.where(inside, tokens, beyond),
        "tokens_per_param": tokens / active,
        "loss": frontier.loss(active, tokens),
        "rule_overhead": np.where(inside, rule, np.nan),
    }
    return named | {target: np.full(shape, value)}


def allocation(
    law: ScalingLaw,
    target: str,
    value: ArrayLike,
    ratio: float = RULE_OF_THUMB,
    cost: Cost = SIX_ND,
    quantities: Sequence[str] = QUANTITIES,
) -> dict[str, Array]:
    """Each of these quantities on the frontier, and the target, where `target` is `value`.

    Args:
        law: laws with an optimum, shape s.
        target: one of `TARGETS`.
        value: positive, shape t, broadcast against s (see `frontier.py`).
        ratio: tokens per parameter of the rule of thumb.
        cost: what training costs.
        quantities: out of `QUANTITIES`.

    Returns:
        Arrays of the broadcast shape. Where a loss is not above E, flops, params and tokens are +inf and the
        two ratios NaN. Counts beyond float64 are +inf too.
    """
    a, b = cost.params_power, cost.tokens_power
    along = law.along(cost)
    asked = {"params": a, "tokens": b}.get(target)
    wanted = cost.as_6nd(value) if target == "flops" else value if asked is None else np.power(value, asked)
    log_6nd = log_budget(along, target, wanted)
    intercept, slope = along.log_ratio_line()
    reachable = np.isfinite(log_6nd)
    # In N^a and D^b.
    log_nd = np.where(reachable, log_6nd, 0.0) - math.log(FLOPS_PER_PARAM_TOKEN)
    log_ratio = intercept + slope * log_nd
    log_n, log_d = (log_nd - log_ratio) / 2 / a, (log_nd + log_ratio) / 2 / b
    rule = (log_nd - b * math.log(ratio)) / (a + b)
    with np.errstate(over="ignore", under="ignore"):
        formulas: dict[str, Callable[[], Array]] = {
            "flops": lambda: np.exp(log_6nd - np.log(FLOPS_PER_PARAM_TOKEN / cost.coefficient)),
            "params": lambda: np.exp(log_n),
            "tokens": lambda: np.exp(log_d),
            "tokens_per_param": lambda: np.exp(log_ratio if along is law else log_d - log_n),
            "loss": lambda: law.E + np.exp(log_optimal_excess(along, np.where(reachable, log_6nd, 0.0))),
            "rule_overhead": lambda: log_compute_overhead(along, a * rule, b * (rule + math.log(ratio))),
        }
        found = {name: formulas[name]() for name in quantities}
    shape = np.broadcast_shapes(*(each.shape for each in found.values()))
    lost = {"tokens_per_param": np.nan, "rule_overhead": np.nan}
    found = {name: np.where(reachable, each, lost.get(name, np.inf)) for name, each in found.items()}
    found[target] = np.asarray(value, dtype=np.float64)
    return {name: np.broadcast_to(each, shape) for name, each in found.items()}


def require_reachable(sample: LawSample, loss: float) -> None:
    """Refuse a loss that no amount of compute reaches under the point fit.

    Raises:
        UsageError: the loss is not above the point fit's E.
    """
    floor = float(sample.point.as_dict().get("E", 0.0))
    if loss <= floor:
        raise UsageError(
            f"loss {loss:g} cannot be reached: the irreducible loss E is {floor:.4f} ({sample.source}); "
            "ask for a loss above it"
        )


def require_room(asked: str, point: dict[str, NDArray[np.float64]]) -> None:
    """Refuse a target whose optimum has less than one parameter or token.

    Args:
        asked: the target in words.
        point: "params" and "tokens" of the point fit.

    Raises:
        UsageError: one of them is below 1.
    """
    for name in ("params", "tokens"):
        if point[name] < 1:
            raise UsageError(
                f"{asked} leaves no room: its optimum has {float(point[name]):.3g} {name}; ask for more"
            )


def overhead(sample: LawSample, laws: FittedLaws, active: ArrayLike, tokens: ArrayLike) -> Array:
    """Compute of models over that of the cheapest of the same loss, less 1, by the cost of the sample.

    Args:
        sample: where the laws are from.
        laws: its point, or its laws (R,).
        active: parameters that a token passes through, (m,).
        tokens: training tokens, (m,).

    Returns:
        (m,) for the point, (R, m) for the laws.
    """
    cost = sample.cost_of(laws).outer(1)
    n, d = np.asarray(active, np.float64), np.asarray(tokens, np.float64)
    if isinstance(laws, ScalingLaw):
        along = laws.along(sample.cost_of(laws))
        return compute_overhead(
            along[:, None] if laws.shape else along, n**cost.params_power, d**cost.tokens_power
        )
    frontier, shape = frontier_of(sample, laws), (*laws.shape, len(n))
    return np.stack([frontier.overhead(*place) for place in zip(n, d, strict=True)], axis=-1).reshape(shape)


def frontier_of(sample: LawSample, laws: FittedLaws) -> Frontier:
    """The frontier of laws without a closed form, a single one as (1,), as the sample asks for it."""
    assert isinstance(laws, FittedLaw)
    rows = laws if laws.shape else dataclasses.replace(laws, theta=laws.theta[None])
    return Frontier(laws=rows, cost=sample.cost_of(laws), variables=sample.variables)
