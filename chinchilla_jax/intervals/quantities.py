"""What an interval can be asked for: fitted parameters and what is derived from them, each with a scale.

| code    | symbol       | shape  | unit                                                                |
|---------|--------------|--------|---------------------------------------------------------------------|
| laws    |              | s      | any array of laws                                                   |
| flops   | C            | (k,)   | training FLOP                                                       |
| values  | g(law)       | s      | unit of the quantity                                                |
| scaled  | h(g(law))    | s      | ln of it where it is a positive size, the quantity itself elsewhere |

Methods that add and subtract (basic, studentised, Gaussian, highest density) do so on the scale h: counts,
their ratios and the coefficients A and B range over decades and have no negative values. Quantile methods
(percentile, BCa) give the same limits on every scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw

EXPONENTS = ("exponent_a", "exponent_b", "ratio_slope")
PRESCRIPTIONS = ("optimal_params", "optimal_tokens", "tokens_per_param")
LOSS = "loss"
_IN_LOGS = ("A", "B", *PRESCRIPTIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number that a law determines.

    Attributes:
        name: a fitted parameter (E, A, B, alpha, beta); "exponent_a", "exponent_b" (of N_opt ~ C^a, D_opt ~
            C^b); "ratio_slope", the slope of ln tokens per parameter in ln compute, (alpha - beta)/(alpha +
            beta); "optimal_params", "optimal_tokens", "tokens_per_param" at `flops`; "loss" at (`params`,
            `tokens`).
        flops: training compute (FLOP) of a prescription, else NaN.
        params: parameters (count) of a predicted loss, else NaN.
        tokens: training tokens (count) of a predicted loss, else NaN.

    Raises:
        UsageError: an unknown name, or a place that is missing, not positive, or of no use to the quantity.
    """

    name: str
    flops: float = math.nan
    params: float = math.nan
    tokens: float = math.nan

    def __post_init__(self) -> None:
        """Check that the quantity has exactly the places that it needs."""
        known = (*PARAMETERS, *EXPONENTS, *PRESCRIPTIONS, LOSS)
        if self.name not in known:
            raise unknown_name("quantity", self.name, known)
        needed = (
            ("flops",) if self.name in PRESCRIPTIONS else ("params", "tokens") if self.name == LOSS else ()
        )
        for place in ("flops", "params", "tokens"):
            value = getattr(self, place)
            if place in needed:
                if not 0 < value < math.inf:
                    raise UsageError(
                        f"quantity {self.name}: {place} = {short(value)}, give a positive number"
                    )
            elif not math.isnan(value):
                raise UsageError(f"quantity {self.name} does not depend on {place}; leave it out")

    @property
    def in_logs(self) -> bool:
        """Whether sums and differences are taken in logarithms."""
        return self.name in _IN_LOGS

    def scaled(self, laws: ScalingLaw) -> NDArray[np.float64]:
        """The quantity of every law on its scale; an edge of the optimum is an infinity, none NaN."""
        if self.name in PARAMETERS:
            values = np.asarray(getattr(laws, self.name))
            with np.errstate(divide="ignore"):
                return np.log(values) if self.in_logs else values.copy()
        if self.name in EXPONENTS:
            a, b = (np.asarray(each) for each in laws.exponents)
            return {"exponent_a": a, "exponent_b": b, "ratio_slope": b - a}[self.name]
        if self.name == LOSS:
            return np.asarray(laws.loss(self.params, self.tokens))
        # From the line itself: exact in logs, where N or D may overflow.
        intercept, slope = laws.log_ratio_line()
        log_nd = math.log(self.flops / 6.0)
        log_ratio = intercept + slope * log_nd
        if self.name == "tokens_per_param":
            return log_ratio
        return 0.5 * (log_nd - log_ratio if self.name == "optimal_params" else log_nd + log_ratio)

    def unscaled(self, scaled: ArrayLike) -> NDArray[np.float64]:
        """From the scale back to the quantity."""
        with np.errstate(over="ignore"):
            return np.exp(np.asarray(scaled, float)) if self.in_logs else np.asarray(scaled, float)


def parameter_quantities() -> list[Quantity]:
    """The five fitted parameters."""
    return [Quantity(name=name) for name in PARAMETERS]


def exponent_quantities() -> list[Quantity]:
    """The exponents a and b, and the slope of the tokens per parameter."""
    return [Quantity(name=name) for name in EXPONENTS]


def prescription_quantities(flops: ArrayLike, names: Sequence[str] = PRESCRIPTIONS) -> list[Quantity]:
    """Optimal params, tokens and their ratio at each budget (FLOP), all budgets of one name together."""
    budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
    return [Quantity(name=name, flops=float(budget)) for name in names for budget in budgets]


def loss_quantities(places: Iterable[tuple[float, float]]) -> list[Quantity]:
    """Predicted loss at each (params, tokens)."""
    return [Quantity(name=LOSS, params=float(n), tokens=float(d)) for n, d in places]


def scaled_matrix(quantities: Sequence[Quantity], laws: ScalingLaw) -> NDArray[np.float64]:
    """Every quantity of every law on its scale; shape s + (q,)."""
    return np.stack([quantity.scaled(laws) for quantity in quantities], axis=-1)
