"""Published prescriptions: the law of Hoffmann et al. 2022, and Kaplan et al. 2020.

| code   | symbol | unit                                                              |
|--------|--------|-------------------------------------------------------------------|
| params | N      | parameters; those of Kaplan et al. leave out the embedding        |
| tokens | D      | training tokens                                                   |
| flops  | C      | training FLOP, C = 6 N D unless a plan's cost is another          |

Kaplan et al. 2020 (arXiv:2001.08361): N_opt = 1.3e9 (C_min / PF-day)^0.73 (appendix A). C_min is what the
training would have cost with a small batch; with a batch of B it costs C = C_min (1 + B/B_crit) (eq. 5.5).
Here B = B_crit, so that half of C counts. That gives two printed figures: their own 2e10 tokens at
C_min = 1 PF-day (appendix A), and the 4.68 billion parameters that Hoffmann et al. 2022 (arXiv:2203.15556,
section D.4) get from them at 1e21 FLOP. Tokens follow from C = 6 N D, hence grow as C^0.27.

The loss is their L(N, D) = ((N_c/N)^(a_N/a_D) + D_c/D)^a_D with N_c 6.4e13, D_c 1.8e13, a_N 0.076, a_D 0.103
(eq. 1.5, table 2), for training to convergence. It is in nats per token of another tokenizer and another
text, and cannot be compared with the losses of other laws.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, SIX_ND, Cost
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022, ScalingLaw
from chinchilla_jax.planning.frontier import flops_for_loss, flops_for_params, flops_for_tokens

PF_DAY = 1e15 * 86_400  # FLOP
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KaplanLaw:
    """Kaplan et al. 2020; the defaults are the published values.

    Attributes:
        params_at_pf_day: N at C_min = 1 PF-day.
        exponent: of N in C_min.
        batch_ratio: batch over critical batch; 1 as they train, 0 for the limit C = C_min.
        n_c, d_c, a_n, a_d: constants of the loss.
    """

    params_at_pf_day: float = 1.3e9
    exponent: float = 0.73
    batch_ratio: float = 1.0
    n_c: float = 6.4e13
    d_c: float = 1.8e13
    a_n: float = 0.076
    a_d: float = 0.103

    @beyond_float64()
    def optimal(self, flops: ArrayLike, cost: Cost = SIX_ND) -> tuple[Array, Array]:
        """(params, tokens) at each budget (FLOP): their size for it, and the tokens that the cost leaves."""
        budget = np.asarray(flops, dtype=np.float64)
        params = self.params_at_pf_day * (budget / self._flops_of_a_pf_day) ** self.exponent
        return params, cost.tokens(budget, params)

    @beyond_float64()
    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Array:
        """L(N, D), nats per token of their data."""
        n, d = np.asarray(params, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
        return np.asarray(((self.n_c / n) ** (self.a_n / self.a_d) + self.d_c / d) ** self.a_d)

    @beyond_float64()
    def flops_for_params(self, params: ArrayLike) -> Array:
        """The budget (FLOP) whose optimum has this many parameters."""
        n = np.asarray(params, dtype=np.float64)
        return np.asarray(self._flops_of_a_pf_day * (n / self.params_at_pf_day) ** (1 / self.exponent))

    @beyond_float64()
    def flops_for_tokens(self, tokens: ArrayLike, cost: Cost = SIX_ND) -> Array:
        """The budget (FLOP) whose optimum has this many tokens; NaN where tokens do not grow with it."""
        at_pf_day = cost.tokens(self._flops_of_a_pf_day, self.params_at_pf_day)
        d = np.asarray(tokens, dtype=np.float64)
        left = 1 - cost.params_power * self.exponent  # the power of C in D^b
        if left <= 0:
            return np.full(d.shape, np.nan)
        return np.asarray(self._flops_of_a_pf_day * (d / at_pf_day) ** (cost.tokens_power / left))

    @property
    def _flops_of_a_pf_day(self) -> float:
        """The budget C (FLOP) for a C_min of one PF-day."""
        return PF_DAY * (1.0 + self.batch_ratio)


KAPLAN_2020 = KaplanLaw()
"""Kaplan et al. 2020 (arXiv:2001.08361), as published."""


def reference_flops(law: ScalingLaw | KaplanLaw, target: str, value: float, cost: Cost = SIX_ND) -> float:
    """Budget (FLOP) at which `law` gives `value` of `target`: flops, params, tokens or loss.

    NaN for a loss under Kaplan et al., whose unit differs.
    """
    if target == "flops":
        return value
    if isinstance(law, KaplanLaw):
        if target == "params":
            return float(law.flops_for_params(value))
        return float(law.flops_for_tokens(value, cost)) if target == "tokens" else float("nan")
    power = {"params": cost.params_power, "tokens": cost.tokens_power}.get(target, 1.0)
    solve = {"params": flops_for_params, "tokens": flops_for_tokens, "loss": flops_for_loss}[target]
    return float(solve(law.along(cost), value**power)) * (cost.coefficient / FLOPS_PER_PARAM_TOKEN)


REFERENCES: dict[str, ScalingLaw | KaplanLaw] = {"hoffmann2022": HOFFMANN_2022, "kaplan2020": KAPLAN_2020}
"""The published prescriptions shown beside every plan, by name."""
