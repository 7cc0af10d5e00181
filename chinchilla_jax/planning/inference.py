"""The cheapest model of a given quality when it will also be served, for whole batches of laws at once.

| code     | symbol  | shape | unit                                                                  |
|----------|---------|-------|-----------------------------------------------------------------------|
| excess   | g       | s     | nats per token, loss to reach minus E                                 |
| served   | T       | t     | demand in training tokens: T = D_inf / 3 when both cost the same      |
| split    | t       | s     | ln(s / (1 - s)), s = A N^-alpha / g the parameters' share of g        |
| params   | N       | s     | parameters                                                            |
| tokens   | D       | s     | training tokens                                                       |

Minimise N (D + T) subject to A N^-alpha + B D^-beta = g (Sardana & Frankle 2023, arXiv:2401.00448).
With s as above, N = (A / (g s))^(1/alpha), D = (B / (g (1 - s)))^(1/beta), and the first-order condition
alpha s = beta (1 - s) (1 + T/D) reads, in logs,

    h(t) = t - ln(beta / alpha) - ln(1 + T / D(t)) = 0.

h increases strictly, since D(t) does, so there is one root. h(t_0) <= 0 at the compute optimum
t_0 = ln(beta/alpha), and h(t_1) >= 0 at t_1 = t_0 + ln(1 + T / D(t_0)): a bracket in closed form, with
t_0 = t_1 for T = 0. Newton steps inside it, a bisection where one would leave it or does not halve |h|; the
last |h| is the certificate.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.allocation import require_reachable, require_room
from chinchilla_jax.planning.costs import FLOP_COSTS, Costs, Demand
from chinchilla_jax.planning.frontier import log_budget, log_optimal_excess
from chinchilla_jax.planning.law_sample import LawSample, positive, summary

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-11  # of |h|, in units of ln s
_STEPS = 120  # enough for bisection alone, at every other step, from the widest bracket of float64 laws
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedOptimum:
    """The cheapest model per law; arrays of the broadcast shape of laws, excess and demand.

    Attributes:
        params: N; +inf where the loss is not above E.
        tokens: D; +inf there too.
        residual: |h|, by how much the first-order condition is missed; 0 where there is nothing to solve.
    """

    params: Array
    tokens: Array
    residual: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferencePlan:
    """The cheapest model for a quality and a demand, beside the compute-optimal one of the same quality.

    Attributes:
        table: rows loss, params, tokens, tokens_per_param, training_cost, inference_cost, total_cost,
            baseline_params, baseline_tokens, baseline_cost, saved (cost), saving (share of baseline_cost);
            columns quantity, point, low, median, high.
        demand: what is served.
        costs: what it costs; `costs.unit` is the unit of the cost rows.
        level: mass of the intervals.
        residual: largest residual of the first-order condition over the laws.
        n_unreachable: laws under which the loss asked for is not above E. Sizes, tokens and costs of theirs
            are +inf; tokens_per_param, saved and saving are over the other laws.
        sample: what it rests on.
    """

    table: pd.DataFrame
    demand: Demand
    costs: Costs
    level: float
    residual: float
    n_unreachable: int
    sample: LawSample


def inference_plan(
    sample: LawSample,
    *,
    demand: Demand,
    loss: float | None = None,
    like_params: float | None = None,
    costs: Costs = FLOP_COSTS,
    level: float = 0.8,
) -> InferencePlan:
    """The cheapest model over training and inference.

    Args:
        sample: the laws to decide by.
        demand: tokens served over the model's life.
        loss: quality as a loss (nats per token), or
        like_params: quality as that of the compute-optimal model of this size, which under each law is
            another loss. Give one of the two.
        costs: per FLOP; FLOP themselves by default.
        level: mass of the central percentile intervals.

    Raises:
        UsageError: not one quality, a loss that the point fit cannot reach or that asks for less than one
            parameter, or a demand that costs more than float64 counts.
        ChinchillaError: a root is not certified (no law is known for which that happens).
    """
    import pandas as pd

    low_median_high(np.zeros(1), level)
    target, value = _one_quality(loss, like_params)
    if target == "loss":
        require_reachable(sample, value)
    point = _plan_of(sample.point, target, value, demand, costs)
    require_room(f"{target} {value:g} with this demand", point)
    if not np.isfinite(point["baseline_cost"]):
        raise UsageError(
            f"inference plan: serving {demand.input_tokens + demand.output_tokens:g} tokens costs more than "
            "can be counted; give a demand such as 2e12 tokens"
        )
    every = _plan_of(sample.laws, target, value, demand, costs)
    residual = float(max(np.max(point["residual"]), np.max(every["residual"])))
    if not residual <= TOLERANCE:
        raise ChinchillaError(
            f"inference plan: the first-order condition is missed by {residual:.2g} (tolerance {TOLERANCE:g})"
        )
    rows = [
        (name, *summary(point[name], values, level)) for name, values in every.items() if name != "residual"
    ]
    return InferencePlan(
        table=pd.DataFrame(rows, columns=["quantity", "point", "low", "median", "high"]),
        demand=demand,
        costs=costs,
        level=float(level),
        residual=residual,
        n_unreachable=int((value <= np.asarray(sample.laws.E)).sum()) if target == "loss" else 0,
        sample=sample,
    )


def served_optimum(law: ScalingLaw, loss: ArrayLike, served: ArrayLike) -> ServedOptimum:
    """Minimise N (D + T) at a given loss.

    Args:
        law: laws with an optimum, shape s.
        loss: nats per token, shape t, broadcast against s.
        served: T, demand in training tokens (`Costs.demand_in_training_tokens`), 0 or more, broadcast too.

    Raises:
        UsageError: a loss is not finite, or a demand not finite and 0 or more.
    """
    wanted, demand = np.asarray(loss, dtype=np.float64), np.asarray(served, dtype=np.float64)
    if not (np.isfinite(wanted).all() and np.isfinite(demand).all() and (demand >= 0).all()):
        raise UsageError("served_optimum: give finite losses, and demands of 0 or more tokens")
    with np.errstate(divide="ignore"):
        log_excess = np.log(np.maximum(wanted - law.E, 0.0))
    return _served(law, log_excess, demand)


def _served(law: ScalingLaw, log_excess: Array, served: ArrayLike) -> ServedOptimum:
    """`served_optimum` for ln(loss - E), in which a small excess keeps its digits; -inf is unreachable."""
    with np.errstate(divide="ignore"):
        log_a, log_b, log_served = np.log(law.A), np.log(law.B), np.log(served)
    fields = np.broadcast_arrays(log_a - log_excess, log_b - log_excess, law.alpha, law.beta, log_served)
    shape = fields[0].shape
    reachable = np.isfinite(fields[0])
    # Lanes with nothing to solve go through the same program on harmless numbers.
    lanes = [np.where(reachable, field, 1.0).ravel() for field in fields]
    with float64_scope():
        found = _solve(*(jnp.asarray(lane) for lane in lanes))
        log_n, log_d, residual = (np.asarray(each).reshape(shape) for each in found)
    with np.errstate(over="ignore", under="ignore"):
        return ServedOptimum(
            params=np.where(reachable, np.exp(log_n), np.inf),
            tokens=np.where(reachable, np.exp(log_d), np.inf),
            residual=np.where(reachable, residual, 0.0),
        )


@functools.partial(jax.jit)
@jax.vmap
def _solve(log_a: Any, log_b: Any, alpha: Any, beta: Any, log_served: Any) -> tuple[Any, Any, Any]:
    """Ln N, ln D and |h| of one law; log_a and log_b are ln(A/g) and ln(B/g), log_served may be -inf."""
    start = jnp.log(beta) - jnp.log(alpha)

    def log_tokens(split: Any) -> Any:
        return (log_b + jax.nn.softplus(split)) / beta

    def condition(split: Any) -> Any:
        return split - start - jax.nn.softplus(log_served - log_tokens(split))

    def step(_: int, state: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
        split, low, high, before = state
        value = condition(split)
        low, high = jnp.where(value <= 0, split, low), jnp.where(value >= 0, split, high)
        weight = jax.nn.sigmoid(log_served - log_tokens(split))
        newton = split - value / (1.0 + weight * jax.nn.sigmoid(split) / beta)
        # Newton alone can jump back and forth over the bend of h for ever.
        trusted = (newton >= low) & (newton <= high) & (2.0 * jnp.abs(value) <= before)
        # After a bisection the next step may be Newton's again, so that at most every other one is lost.
        before = jnp.where(trusted, jnp.abs(value), jnp.inf)
        return jnp.where(trusted, newton, 0.5 * (low + high)), low, high, before

    last = start + jax.nn.softplus(log_served - log_tokens(start))
    split, _, _, _ = jax.lax.fori_loop(0, _STEPS, step, (start, start, last, jnp.full_like(start, jnp.inf)))
    log_n = (log_a + jax.nn.softplus(-split)) / alpha
    return log_n, log_tokens(split), jnp.abs(condition(split))


def loss_like(law: ScalingLaw, params: ArrayLike) -> Array:
    """Loss of the compute-optimal model of this size under each law (nats per token)."""
    return np.asarray(law.E + np.exp(_log_excess_like(law, params)))


def _log_excess_like(law: ScalingLaw, params: ArrayLike) -> Array:
    return log_optimal_excess(law, log_budget(law, "params", params))


def _plan_of(law: ScalingLaw, target: str, value: float, demand: Demand, costs: Costs) -> dict[str, Array]:
    if target == "loss":
        loss = np.full(law.shape, value)
        with np.errstate(divide="ignore"):
            log_excess = np.log(np.maximum(loss - law.E, 0.0))
    else:
        loss, log_excess = loss_like(law, value), _log_excess_like(law, value)
    best = _served(law, log_excess, costs.demand_in_training_tokens(demand))
    base = _served(law, log_excess, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        training, serving = costs.training(best.params, best.tokens), costs.inference(best.params, demand)
        baseline = costs.training(base.params, base.tokens) + costs.inference(base.params, demand)
        saved = baseline - (training + serving)
        return {
            "loss": loss,
            "params": best.params,
            "tokens": best.tokens,
            "tokens_per_param": best.tokens / best.params,
            "training_cost": training,
            "inference_cost": serving,
            "total_cost": training + serving,
            "baseline_params": base.params,
            "baseline_tokens": base.tokens,
            "baseline_cost": baseline,
            "saved": saved,
            "saving": saved / baseline,
            "residual": best.residual,
        }


def _one_quality(loss: float | None, like_params: float | None) -> tuple[str, float]:
    if (loss is None) == (like_params is None):
        raise UsageError("inference plan: give the quality once, as loss or as like_params")
    if loss is not None:
        return "loss", positive("loss", loss, "give nats per token such as 2.1")
    assert like_params is not None
    return "like_params", positive("like_params", like_params, "give a size such as 13e9")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatioMap:
    """The cheapest model against the compute-optimal one of the same loss, over loss and demand.

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


def ratio_map(
    law: ScalingLaw,
    loss: ArrayLike,
    demand: ArrayLike,
    *,
    costs: Costs = FLOP_COSTS,
    output_share: float = 0.0,
) -> RatioMap:
    """The published maps (Sardana & Frankle 2023, arXiv:2401.00448), for one law.

    Args:
        law: a single law.
        loss: (k,) losses, all above E.
        demand: (m,) inference tokens, 0 or more.
        costs: per FLOP.
        output_share: share of the demand that the model writes.

    Raises:
        UsageError: a loss is not above E, the law is not a single one, or the demand is no demand.
    """
    losses, tokens = np.atleast_1d(np.asarray(loss, float)), np.atleast_1d(np.asarray(demand, float))
    if law.shape or not (losses > law.E).all():
        raise UsageError(f"ratio_map: give a single law and losses above its E = {law.E}")
    if not ((tokens >= 0) & np.isfinite(tokens)).all():
        raise UsageError("ratio_map: demand: give tokens, 0 or more, finite")
    if not 0 <= output_share <= 1:
        raise UsageError(f"ratio_map: output_share is {output_share:g}; give a share of the demand, 0 to 1")
    per_token = costs.demand_in_training_tokens(
        Demand(input_tokens=1.0 - output_share, output_tokens=output_share)
    )
    served = per_token * tokens[:, None]
    best = served_optimum(law, losses[None, :], served)
    base = served_optimum(law, losses[None, :], 0.0)
    cost, base_cost = best.params * (best.tokens + served), base.params * (base.tokens + served)
    return RatioMap(
        loss=losses,
        demand=tokens,
        params_ratio=best.params / base.params,
        tokens_ratio=best.tokens / base.tokens,
        cost_ratio=cost / base_cost,
        residual=float(max(best.residual.max(), base.residual.max())),
    )


SARDANA_2023 = ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=0.336, beta=0.283)
"""The law as Sardana & Frankle 2023 (arXiv:2401.00448) use it."""
