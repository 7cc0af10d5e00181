"""The cheapest model of a given quality that will also be served, for whole batches of laws at once.

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

h increases strictly, because D(t) does, so there is one root. h(t_0) <= 0 at the compute optimum
t_0 = ln(beta/alpha), and h(t_1) >= 0 at t_1 = t_0 + ln(1 + T / D(t_0)): a bracket in closed form, with
t_0 = t_1 for T = 0. Newton steps stay inside it; a step that would leave it, or does not halve |h|, becomes a
bisection. The last |h| is the certificate.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.labels import HEADLINE
from chinchilla_jax._util.validation import positive_number, real_array
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.fitted import FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.allocation import require_reachable, require_room
from chinchilla_jax.planning.costs import FLOP_COSTS, Costs, Demand
from chinchilla_jax.planning.frontier import log_budget, log_optimal_excess
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS, LawSample, boundary_table, summary
from chinchilla_jax.planning.plausibility import compute_doubt, cost_doubt, plan_doubts
from chinchilla_jax.solvers.xla_options import padded

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-11  # of |h|, in units of ln s
_BLOCKS = (32, 1024, 4096)  # laws that are solved at a time, padded; of more, a multiple of the last
_STEPS = 120  # enough for bisection at every other step, from the widest bracket of float64 laws
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedOptimum:
    """The cheapest model per law; arrays of the broadcast shape of laws, excess and demand.

    Attributes:
        params: N; +inf where the loss is not above E.
        tokens: D; +inf there too.
        residual: |h|, the error in the first-order condition; 0 where there is nothing to solve.
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
            columns quantity, estimate (of the point fit), low, high, median.
        demand: tokens served.
        costs: per FLOP; `costs.unit` is the unit of the cost rows.
        level: mass of the intervals.
        residual: largest residual of the first-order condition over the laws.
        n_unreachable: laws whose E is at or above the loss asked for. Their sizes, tokens and costs are
            +inf; tokens_per_param, saved and saving are over the other laws.
        boundary: intervals with and without the laws whose E is 0, see `boundary_table`; None where few are
            concerned.
        sample: the laws behind it.
    """

    table: pd.DataFrame
    demand: Demand
    costs: Costs
    level: float
    residual: float
    n_unreachable: int
    boundary: pd.DataFrame | None
    sample: LawSample

    @property
    def doubts(self) -> dict[str, str]:
        """What makes a row of `table` hard to believe, by quantity; see `plausibility.py`.

        The compute of its training is that of the row of the point fit, whatever the unit of the costs.
        """
        found = plan_doubts(self.table, self.sample.largest_flops)
        point = self.table.set_index("quantity")[HEADLINE]
        compute, sample = self.costs.compute, self.sample
        drawn = None
        if sample.costs is not None and compute.is_as_measured(sample.cost):
            drawn = sample.costs, self.level
        flops = float(compute.flops(point["params"], point["tokens"]))
        far = compute_doubt(flops, self.sample.largest_flops)
        said = "; ".join(
            filter(None, (far, cost_doubt(compute, point["params"], point["tokens"], costs=drawn)))
        )
        for quantity in ("params", "tokens", "training_cost") if said else ():
            found[quantity] = "; ".join(filter(None, (said, found.get(quantity))))
        return found


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
        loss: quality as a loss (nats per token). Give either this or `like_params`.
        like_params: quality as that of the compute-optimal model of this size: a different loss under each
            law.
        costs: per FLOP; by default cost is counted in FLOP. Where their compute is 6 N D, that of the sample
            takes its place.
        level: mass of the central percentile intervals.

    Raises:
        UsageError: not exactly one quality, a loss that the point fit cannot reach or whose model has less
            than one parameter, or a demand whose cost exceeds float64.
        ChinchillaError: a root is not certified (not known to happen).
    """
    import pandas as pd

    central_tails(level)  # a wrong level fails before any work
    target, value = _one_quality(loss, like_params)
    one, laws = sample.five_parameter("inference")
    given = costs.compute.is_6nd
    if given:
        costs = dataclasses.replace(costs, compute=sample.cost.per_token)

    def costs_of(law: FittedLaws) -> Costs:
        """With the cost of each resample, where that is in proportion to tokens."""
        own = sample.cost_of(law)
        usable = given and np.all(np.asarray(own.tokens_power) == 1.0)
        return dataclasses.replace(costs, compute=own) if usable else costs

    if target == "loss":
        require_reachable(sample, value)
    point = _plan_of(one, target, value, demand, costs)
    require_room(f"{target} {value:g} with this demand", point)
    if not np.isfinite(point["baseline_cost"]):
        raise UsageError(
            f"inference plan: the cost of serving {demand.input_tokens + demand.output_tokens:g} tokens "
            "exceeds float64; give a demand such as 2e12 tokens"
        )
    every = _plan_of(laws, target, value, demand, costs_of(laws))
    residual = float(max(np.max(point["residual"]), np.max(every["residual"])))
    if not residual <= TOLERANCE:
        raise ChinchillaError(
            f"inference plan: the first-order condition is off by {residual:.2g} (tolerance {TOLERANCE:g})"
        )
    rows = [
        (name, *summary(point[name], values, level)) for name, values in every.items() if name != "residual"
    ]
    return InferencePlan(
        table=pd.DataFrame(rows, columns=["quantity", *SUMMARY_COLUMNS]),
        demand=demand,
        costs=costs,
        level=float(level),
        residual=residual,
        n_unreachable=int((value <= np.asarray(laws.E)).sum()) if target == "loss" else 0,
        boundary=boundary_table(
            sample,
            level,
            {
                ("tokens_per_param", np.nan): lambda law: _plan_of(
                    cast("ScalingLaw", law), target, value, demand, costs_of(law)
                )["tokens_per_param"]
            },
        ),
        sample=sample,
    )


def served_optimum(
    law: ScalingLaw, loss: ArrayLike, served: ArrayLike, compute: Cost = SIX_ND
) -> ServedOptimum:
    """Minimise N (D + T) at a given loss; N^a (D + T) where training costs c N^a D.

    Args:
        law: laws with an optimum, shape s.
        loss: nats per token, shape t, broadcast against s.
        served: T, demand in training tokens (`Costs.demand_in_training_tokens`), 0 or more, broadcast too.
        compute: what training costs.

    Raises:
        UsageError: a loss is not finite, or a demand not finite and 0 or more.
    """
    wanted, demand = real_array("served_optimum: loss", loss), real_array("served_optimum: served", served)
    if not (np.isfinite(wanted).all() and np.isfinite(demand).all() and (demand >= 0).all()):
        raise UsageError("served_optimum: give finite losses, and demands of 0 or more tokens")
    with np.errstate(divide="ignore"):
        log_excess = np.log(np.maximum(wanted - law.E, 0.0))
    return _served(law, log_excess, demand, compute)


def _served(law: ScalingLaw, log_excess: Array, served: ArrayLike, compute: Cost) -> ServedOptimum:
    """`served_optimum` from ln(loss - E), which keeps the digits of a small excess; -inf is unreachable."""
    law = law.along(compute)
    with np.errstate(divide="ignore"):
        log_a, log_b, log_served = np.log(law.A), np.log(law.B), np.log(served)
    fields = np.broadcast_arrays(log_a - log_excess, log_b - log_excess, law.alpha, law.beta, log_served)
    shape = fields[0].shape
    reachable = np.isfinite(fields[0])
    # Unreachable lanes run through the same program with harmless numbers.
    lanes = [np.where(reachable, field, 1.0).ravel() for field in fields]
    count = lanes[0].size
    # Whole blocks, so that another number of laws compiles nothing.
    length = padded(count, (*_BLOCKS, -(-count // _BLOCKS[-1]) * _BLOCKS[-1]))
    with float64_scope():
        found = _solve(*(jnp.asarray(np.resize(lane, length)) for lane in lanes))
        log_n, log_d, residual = (np.asarray(each)[:count].reshape(shape) for each in found)
    with np.errstate(over="ignore", under="ignore"):
        return ServedOptimum(
            params=np.where(reachable, np.exp(log_n / compute.params_power), np.inf),
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
        # Newton alone can jump back and forth over the bend of h without end.
        trusted = (newton >= low) & (newton <= high) & (2.0 * jnp.abs(value) <= before)
        # After a bisection the next step may be Newton's again, so at most every other step is a bisection.
        before = jnp.where(trusted, jnp.abs(value), jnp.inf)
        return jnp.where(trusted, newton, 0.5 * (low + high)), low, high, before

    last = start + jax.nn.softplus(log_served - log_tokens(start))
    split, _, _, _ = jax.lax.fori_loop(0, _STEPS, step, (start, start, last, jnp.full_like(start, jnp.inf)))
    log_n = (log_a + jax.nn.softplus(-split)) / alpha
    return log_n, log_tokens(split), jnp.abs(condition(split))


@beyond_float64()
def loss_like(law: ScalingLaw, params: ArrayLike, compute: Cost = SIX_ND) -> Array:
    """Loss of the compute-optimal model of this size under each law (nats per token)."""
    return np.asarray(law.E + np.exp(_log_excess_like(law, params, compute)))


def _log_excess_like(law: ScalingLaw, params: ArrayLike, compute: Cost) -> Array:
    along = law.along(compute)
    return log_optimal_excess(along, log_budget(along, "params", np.power(params, compute.params_power)))


@beyond_float64()
def _plan_of(law: ScalingLaw, target: str, value: float, demand: Demand, costs: Costs) -> dict[str, Array]:
    compute = costs.compute
    if target == "loss":
        loss = np.full(law.shape, value)
        log_excess = np.log(np.maximum(loss - law.E, 0.0))
    else:
        log_excess = _log_excess_like(law, value, compute)
        loss = law.E + np.exp(log_excess)
    best = _served(law, log_excess, costs.demand_in_training_tokens(demand), compute)
    base = _served(law, log_excess, 0.0, compute)
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
        raise UsageError("inference plan: give the quality either as loss or as like_params")
    if loss is not None:
        return "loss", positive_number("loss", loss, remedy="give nats per token such as 2.1")
    assert like_params is not None
    return "like_params", positive_number("like_params", like_params, remedy="give a size such as 13e9")


SARDANA_2023 = ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=0.336, beta=0.283)
"""The law used by Sardana & Frankle 2023 (arXiv:2401.00448)."""
