"""The cheapest model against the compute-optimal one of the same loss, over maps of loss and demand.

| code   | symbol | shape  | unit                                                                        |
|--------|--------|--------|-----------------------------------------------------------------------------|
| loss   | L      | (k,)   | nats per token                                                              |
| demand | D_inf  | (m,)   | tokens of inference                                                         |
| served | T      | (m, 1) | the demand in training tokens (`Costs.demand_in_training_tokens`)           |
| ratios |        | (m, k) | 1, cheapest over compute-optimal                                            |

These are the published maps of Sardana & Frankle 2023 (arXiv:2401.00448).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import non_negative_number
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.costs import FLOP_COSTS, Costs, Demand
from chinchilla_jax.planning.inference import served_optimum

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatioMap:
    """What `ratio_map` returns.

    Attributes:
        loss: (k,) nats per token.
        demand: (m,) inference tokens.
        params_ratio, tokens_ratio, cost_ratio: (m, k), cheapest over compute-optimal.
        residual: largest residual of the first-order condition.
    """

    loss: Array
    demand: Array
    params_ratio: Array
    tokens_ratio: Array
    cost_ratio: Array
    residual: float


@beyond_float64()
def ratio_map(
    law: ScalingLaw,
    loss: ArrayLike,
    demand: ArrayLike,
    *,
    costs: Costs = FLOP_COSTS,
    output_share: float = 0.0,
) -> RatioMap:
    """Ratios of size, tokens and cost, cheapest over compute-optimal, for one law.

    Args:
        law: a single law.
        loss: (k,) losses, all above E.
        demand: (m,) inference tokens, 0 or more.
        costs: per FLOP.
        output_share: share of the demand that is output.

    Raises:
        UsageError: a loss is not above E, the law is not a single one, or a demand is negative or infinite.
    """
    losses, tokens = np.atleast_1d(np.asarray(loss, float)), np.atleast_1d(np.asarray(demand, float))
    if law.shape or not (losses > law.E).all():
        raise UsageError(f"ratio_map: give a single law and losses above its E = {law.E}")
    if not ((tokens >= 0) & np.isfinite(tokens)).all():
        raise UsageError("ratio_map: demand: give finite numbers of tokens, 0 or more")
    remedy = "give a share of the demand, 0 to 1"
    if non_negative_number("ratio_map: output_share", output_share, remedy=remedy) > 1:
        raise UsageError(f"ratio_map: output_share is {output_share:g}; {remedy}")
    per_token = costs.demand_in_training_tokens(
        Demand(input_tokens=1.0 - output_share, output_tokens=output_share)
    )
    served = per_token * tokens[:, None]
    best = served_optimum(law, losses[None, :], served, costs.compute)
    base = served_optimum(law, losses[None, :], 0.0, costs.compute)
    power = costs.compute.params_power
    cost = best.params**power * (best.tokens + served)
    base_cost = base.params**power * (base.tokens + served)
    return RatioMap(
        loss=losses,
        demand=tokens,
        params_ratio=best.params / base.params,
        tokens_ratio=best.tokens / base.tokens,
        cost_ratio=cost / base_cost,
        residual=float(max(best.residual.max(), base.residual.max())),
    )
