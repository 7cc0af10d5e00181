"""The efficient frontier of a law in closed form, and the cost of being off it.

| code   | symbol | shape | unit                                                     |
|--------|--------|-------|----------------------------------------------------------|
| flops  | C      | t     | training FLOP, C = 6 N D                                 |
| gamma  | gamma  | s     | 1, alpha beta / (alpha + beta)                           |
| log_k  | ln K   | s     | ln(nats per token times (C/6)^gamma)                     |

With N_opt and D_opt of Hoffmann et al. 2022 (arXiv:2203.15556, eq. 4) put into eq. 2, the loss on the
frontier is itself a power law,

    L_opt(C) - E = K (C/6)^-gamma,   K = A G^-alpha + B G^beta,   G = (alpha A / (beta B))^(1/(alpha+beta)),

so budget, size, tokens and loss determine each other without a search. The shape s of the laws and the shape
t of the argument are broadcast: one value per law for t = s, every law at every value for laws
`law[:, None]`. Laws must have an optimum (`plausibility.has_optimum`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.scaling_law import ScalingLaw, log_terms

Array = NDArray[np.float64]
_LOG_6 = math.log(FLOPS_PER_PARAM_TOKEN)


@beyond_float64()
def frontier_line(law: ScalingLaw) -> tuple[Array, Array]:
    """(ln K, gamma) of the laws, each of their shape: ln(L_opt - E) = ln K - gamma ln(C/6)."""
    intercept, _ = law.log_ratio_line()
    log_g = -intercept / 2
    alpha, beta = np.asarray(law.alpha), np.asarray(law.beta)
    log_k = np.logaddexp(np.log(law.A) - alpha * log_g, np.log(law.B) + beta * log_g)
    return log_k, alpha * beta / (alpha + beta)


@beyond_float64()
def log_budget(law: ScalingLaw, target: str, value: ArrayLike) -> Array:
    """Logarithm of the budget (FLOP) at which `target` is `value` on the frontier.

    In logs, because laws with a small exponent need budgets beyond float64.

    Args:
        law: laws with an optimum, shape s.
        target: "flops", "params", "tokens" (counts) or "loss" (nats per token).
        value: positive, shape t.

    Returns:
        ln C, C in FLOP, broadcast; +inf for a loss at or below E, which no budget reaches.
    """
    wanted = np.asarray(value, dtype=np.float64)
    if target == "flops":
        return np.asarray(np.log(wanted))
    if target == "loss":
        log_k, gamma = frontier_line(law)
        log_excess = np.log(np.maximum(wanted - law.E, 0.0))
        return np.asarray((log_k - log_excess) / gamma + _LOG_6)
    # ln N = (x - i - s x) / 2 and ln D = (x + i + s x) / 2 for x = ln(C/6), with ln(D/N) = i + s x.
    sign = {"params": 1.0, "tokens": -1.0}[target]
    intercept, slope = law.log_ratio_line()
    return np.asarray((2 * np.log(wanted) + sign * intercept) / (1 - sign * slope) + _LOG_6)


@beyond_float64()
def log_optimal_excess(law: ScalingLaw, log_flops: ArrayLike) -> Array:
    """ln(L_opt - E), L in nats per token, at each ln C: the frontier above the irreducible loss."""
    log_k, gamma = frontier_line(law)
    return np.asarray(log_k - gamma * (np.asarray(log_flops) - _LOG_6))


def flops_for_params(law: ScalingLaw, params: ArrayLike) -> Array:
    """Budget (FLOP) at which a model of this many parameters is compute-optimal; +inf beyond float64."""
    return _exp(log_budget(law, "params", params))


def flops_for_tokens(law: ScalingLaw, tokens: ArrayLike) -> Array:
    """Budget (FLOP) at which this many tokens are compute-optimal; +inf beyond float64."""
    return _exp(log_budget(law, "tokens", tokens))


def flops_for_loss(law: ScalingLaw, loss: ArrayLike) -> Array:
    """Least budget (FLOP) that reaches a loss (nats per token); +inf at or below E."""
    return _exp(log_budget(law, "loss", loss))


def compute_overhead(law: ScalingLaw, params: ArrayLike, tokens: ArrayLike) -> Array:
    """Compute of a model (params, tokens) over that of the cheapest with the same loss, less 1.

    0 on the frontier, 0.5 where the frontier reaches the same loss with two thirds of the FLOP. E cancels.
    """
    return log_compute_overhead(law, np.log(params), np.log(tokens))


@beyond_float64()
def log_compute_overhead(law: ScalingLaw, log_params: ArrayLike, log_tokens: ArrayLike) -> Array:
    """`compute_overhead` from ln N and ln D; the overhead itself is not a log."""
    log_n, log_d = np.asarray(log_params), np.asarray(log_tokens)
    terms = log_terms(np.log(law.A), np.log(law.B), law.alpha, law.beta, log_n, log_d)
    log_excess = np.logaddexp(*terms)
    log_k, gamma = frontier_line(law)
    # On the frontier the two budgets agree up to rounding of either sign.
    return np.maximum(np.expm1(log_n + log_d - (log_k - log_excess) / gamma), 0.0)


def _exp(logs: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.exp(logs))
