"""How many times the compute one law saves over another: arithmetic on arrays of laws.

| code      | symbol  | shape | meaning                                                                      |
|-----------|---------|-------|------------------------------------------------------------------------------|
| flops     | C       | (q,)  | training FLOP                                                                |
| frontier  | L*(C)   | s     | lowest loss for a budget: E + K C^-gamma, or what searched_frontier.py finds |
| log ratio | ln m    | s + q | L_a*(m C) = L_b*(C): how many times the compute a needs for the loss of b    |
| params    | N       | (k,)  | parameters of a fixed run                                                    |
| tokens    | D       | (k,)  | its training tokens                                                          |

m is above 1 where b is the better recipe, and +inf where a never reaches the loss of b. Laws are paired: lane
r of a with lane r of b.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import list_text
from chinchilla_jax.laws.best_allocation import ACTIVE
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.compute_only import ComputeOnly
from chinchilla_jax.laws.fitted import FittedLaw
from chinchilla_jax.laws.optimum import has_optimum
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw, log_terms
from chinchilla_jax.planning.frontier import frontier_line
from chinchilla_jax.planning.searched_frontier import SearchedFrontier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws import Law

    Floats = NDArray[np.float64]

_HALVINGS = 60
_FIVE = frozenset(PARAMETERS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frontier:
    """Lowest losses for a budget, E + exp(log_k) C^-gamma; fields of the laws' shape s, NaN without a law.

    Attributes:
        E: irreducible loss (nats per token).
        log_k: ln(L* - E) at one FLOP.
        gamma: exponent of compute.
    """

    E: Floats
    log_k: Floats
    gamma: Floats

    @classmethod
    def of(cls, laws: Any) -> AnyFrontier:
        """The frontier of fitted laws, in closed form or by search; NaN without a compute-optimal point."""
        if isinstance(laws, FittedLaw) and isinstance(laws.model, ComputeOnly):
            fields = {name: np.asarray(values) for name, values in laws.as_dict().items()}
            with np.errstate(divide="ignore", invalid="ignore"):
                return cls(E=fields["E"], log_k=np.log(fields["K"]), gamma=fields["gamma"])
        same = five_parameter(laws)
        if same is None:
            return SearchedFrontier(laws=laws)
        sound = has_optimum(same)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_k, gamma = frontier_line(same.where(sound) if same.shape else same)
        log_k = np.where(sound, log_k + gamma * math.log(FLOPS_PER_PARAM_TOKEN), np.nan)
        return cls(E=np.where(sound, same.E, np.nan), log_k=log_k, gamma=np.where(sound, gamma, np.nan))

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Whether each law has a compute-optimal point."""
        return np.isfinite(self.gamma)

    def take(self, kept: NDArray[np.intp]) -> Frontier:
        """The laws at these positions."""
        return Frontier(E=self.E[kept], log_k=self.log_k[kept], gamma=self.gamma[kept])

    @beyond_float64()
    def loss(self, log_flops: Floats) -> Floats:
        """L* (nats per token) at each ln C, s + (q,)."""
        E, log_k, gamma = (np.asarray(each)[..., None] for each in (self.E, self.log_k, self.gamma))
        return np.asarray(E + np.exp(log_k - gamma * log_flops))

    @beyond_float64()
    def log_budget(self, losses: Floats) -> Floats:
        """Ln of the least budget that reaches losses (s + (q,)); +inf at or below E."""
        E, log_k, gamma = (np.asarray(each)[..., None] for each in (self.E, self.log_k, self.gamma))
        excess = losses - E
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(excess <= 0, np.inf, (log_k - np.log(np.maximum(excess, 0.0))) / gamma)


AnyFrontier = Frontier | SearchedFrontier


def require_frontier(law: Law) -> None:
    """Refuse a law that has no lowest loss for a budget.

    Raises:
        UsageError: it says nothing of how a budget is divided, or needs a variable without a default.
    """
    if isinstance(law, ComputeOnly):
        return
    if not law.has_optimum:
        raise UsageError(
            f"compare: law {law.name} says nothing of how a budget is best divided; use chinchilla, or "
            "another law of params and tokens"
        )
    own = {*law.defaults, ACTIVE, "flops"}
    lacking = [name for name in law.variables[2:] if name not in own]
    if lacking:
        raise UsageError(
            f"compare: law {law.name} needs {list_text(lacking)} of the model that a budget buys; give the "
            f"law a default of {lacking[0]}, or compare by another"
        )


def five_parameter(laws: Any) -> ScalingLaw | None:
    """The same laws as five-parameter ones; None where they are none."""
    if isinstance(laws, ScalingLaw):
        return laws
    if isinstance(laws, FittedLaw) and _FIVE.issuperset(laws.model.parameters):
        return laws.model.allocation_law(laws.theta, laws.design)
    return None


def log_multiplier(a: AnyFrontier, b: AnyFrontier, log_flops: Floats) -> Floats:
    """Ln m of b over a at each ln C, s + (q,)."""
    return np.asarray(a.log_budget(b.loss(log_flops)) - log_flops)


def first_crossing(curves: Floats, log_flops: Floats) -> Floats:
    """Ln C at which curves (R, q) of ln m first change their sign, (R,); NaN where they never do."""
    # Infinite values have a sign, and no place between them and the next.
    values = np.clip(np.nan_to_num(curves, nan=0.0, posinf=1e6, neginf=-1e6), -1e6, 1e6)
    signs = np.sign(values)
    # A curve that is 0 at a budget crosses there.
    change = (signs[:, :-1] * signs[:, 1:] <= 0) & (signs[:, :-1] != 0)
    change &= ~np.isnan(curves[:, :-1]) & ~np.isnan(curves[:, 1:])
    first = change.argmax(axis=1)
    rows = np.arange(len(values))
    left, right = values[rows, first], values[rows, first + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = left / (left - right)
    at = log_flops[first] + share * (log_flops[first + 1] - log_flops[first])
    return np.where(change.any(axis=1), at, np.nan)


@beyond_float64()
def log_multiplier_at_ratio(a: ScalingLaw, b: ScalingLaw, params: Floats, tokens: Floats) -> Floats:
    """Ln m where a keeps tokens per parameter: L_a(N sqrt m, D sqrt m) = L_b(N, D); s + (k,)."""
    (of_params, of_tokens), target = _log_parts(a, params, tokens), _excess(a, b, params, tokens)
    slopes = [np.asarray(each)[..., None] / 2 for each in (a.alpha, a.beta)]
    with np.errstate(divide="ignore", invalid="ignore"):
        goal = np.log(np.maximum(target, 0.0))
        # Either term alone must be below the goal, and both are once each is below half of it.
        least = np.maximum((of_params - goal) / slopes[0], (of_tokens - goal) / slopes[1])
        most = np.maximum(
            (of_params - goal + math.log(2)) / slopes[0], (of_tokens - goal + math.log(2)) / slopes[1]
        )
        for _ in range(_HALVINGS):
            middle = (least + most) / 2
            above = np.logaddexp(of_params - slopes[0] * middle, of_tokens - slopes[1] * middle) > goal
            least, most = np.where(above, middle, least), np.where(above, most, middle)
    return np.where(target <= 0, np.inf, (least + most) / 2)


@beyond_float64()
def log_multiplier_at_size(a: ScalingLaw, b: ScalingLaw, params: Floats, tokens: Floats) -> Floats:
    """Ln m where a keeps the size of the run: L_a(N, m D) = L_b(N, D); s + (k,)."""
    of_params, of_tokens = _log_parts(a, params, tokens)
    left = _excess(a, b, params, tokens) - np.exp(of_params)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (of_tokens - np.log(np.maximum(left, 0.0))) / np.asarray(a.beta)[..., None]
    return np.where(left <= 0, np.inf, found)


def _log_parts(law: ScalingLaw, params: Floats, tokens: Floats) -> tuple[Floats, Floats]:
    fields = {name: np.asarray(values)[..., None] for name, values in law.as_dict().items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = log_terms(
            np.log(fields["A"]), np.log(fields["B"]), fields["alpha"], fields["beta"], np.log(params),
            np.log(tokens),
        )  # fmt: skip
    return np.asarray(parts[0]), np.asarray(parts[1])


def _excess(a: ScalingLaw, b: ScalingLaw, params: Floats, tokens: Floats) -> Floats:
    """L_b(N, D) - E_a."""
    return np.asarray(b.loss(params, tokens) - np.asarray(a.E)[..., None])
