"""What an interval can be asked for: fitted parameters and what is derived from them, each with a scale.

| code    | symbol       | shape  | unit                                                                |
|---------|--------------|--------|---------------------------------------------------------------------|
| laws    |              | s      | any array of fitted laws (see `laws/fitted.py`)                     |
| flops   | C            | (k,)   | training FLOP                                                       |
| values  | g(law)       | s      | unit of the quantity                                                |
| scaled  | h(g(law))    | s      | ln of it where it is a positive size, the quantity itself elsewhere |

Methods that add and subtract (basic, studentised, Gaussian, highest density) do so on the scale h: counts,
their ratios and coefficients such as A and B range over decades and have no negative values. Quantile methods
(percentile, BCa) give the same limits on every scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.laws.compute import params_times_tokens
from chinchilla_jax.laws.fitted import COEFFICIENTS, FittedLaws
from chinchilla_jax.laws.scaling_law import PARAMETERS

EXPONENTS = ("exponent_a", "exponent_b", "ratio_slope")
PRESCRIPTIONS = ("optimal_params", "optimal_tokens", "tokens_per_param")
LOSS = "loss"
_IN_LOGS = (*COEFFICIENTS, *PRESCRIPTIONS)
_DEPENDING_ON = {"flops": PRESCRIPTIONS, "params": (LOSS,), "tokens": (LOSS,)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """One number that a law determines.

    Attributes:
        name: a parameter of the law (such as E, A, B, alpha, beta); "exponent_a", "exponent_b" (of N_opt ~
            C^a, D_opt ~ C^b); "ratio_slope", the slope of ln tokens per parameter in ln compute, (alpha -
            beta)/(alpha + beta); "optimal_params", "optimal_tokens", "tokens_per_param" at `flops`; "loss" at
            (`params`, `tokens`).
        flops: training compute (FLOP) of a prescription, else NaN.
        params: parameters (count) of a predicted loss, else NaN.
        tokens: training tokens (count) of a predicted loss, else NaN.

    Raises:
        UsageError: a place is missing, not positive, or of no use to the quantity.
    """

    name: str
    flops: float = math.nan
    params: float = math.nan
    tokens: float = math.nan

    def __post_init__(self) -> None:
        """Check that the quantity has exactly the places that it needs."""
        for place, names in _DEPENDING_ON.items():
            value = getattr(self, place)
            if self.name in names:
                positive_number(f"quantity {self.name}: {place}", value)
            elif not math.isnan(value):
                raise unknown_name(f"quantity that depends on {place}", self.name, names)

    def __eq__(self, other: object) -> bool:
        """The same name and places, a place that neither has equal to itself."""
        return self._key() == other._key() if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        """Agrees with `==`."""
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        places = (self.flops, self.params, self.tokens)
        return (self.name, *(None if math.isnan(place) else place for place in places))

    @property
    def in_logs(self) -> bool:
        """Whether sums and differences are taken in logarithms."""
        return self.name in _IN_LOGS

    def scaled(self, laws: FittedLaws) -> NDArray[np.float64]:
        """The quantity of every law on its scale: infinite where the optimum is at an edge, NaN without one.

        Raises:
            UsageError: laws of this kind have no such quantity.
        """
        if self.name == LOSS:
            return np.asarray(laws.loss(self.params, self.tokens))
        if self.name in EXPONENTS:
            return self._exponent(laws)
        if self.name in PRESCRIPTIONS:
            return self._log_prescription(laws)
        parameters = laws.as_dict()
        if self.name not in parameters:
            raise unknown_name("quantity", self.name, (*parameters, *EXPONENTS, *PRESCRIPTIONS, LOSS))
        values = np.asarray(parameters[self.name])
        with np.errstate(divide="ignore"):
            return np.log(values) if self.in_logs else values.copy()

    def _exponent(self, laws: FittedLaws) -> NDArray[np.float64]:
        line = laws.log_ratio_line()
        if line is None:
            raise UsageError(
                f"quantity {self.name}: the optimum of this law is not a power of compute; "
                "ask for 'tokens_per_param' at several budgets instead"
            )
        intercept, slope = line
        slope = np.where(np.isfinite(intercept), slope, np.nan)  # nothing grows at an edge
        a, b = (1 - slope) / 2, (1 + slope) / 2
        return {"exponent_a": a, "exponent_b": b, "ratio_slope": b - a}[self.name]

    def _log_prescription(self, laws: FittedLaws) -> NDArray[np.float64]:
        line = laws.log_ratio_line()
        if line is None:
            params, tokens = laws.optimal(self.flops)
            natural = {"optimal_params": params, "optimal_tokens": tokens}
            if self.name == "tokens_per_param":
                natural[self.name] = laws.tokens_per_param(self.flops)
            with np.errstate(divide="ignore"):
                return np.log(np.asarray(natural[self.name]))
        # From the line itself: exact in logs, where N or D may overflow.
        intercept, slope = line
        log_nd = math.log(params_times_tokens(self.flops))
        log_ratio = intercept + slope * log_nd
        if self.name == "tokens_per_param":
            return log_ratio
        return 0.5 * (log_nd - log_ratio if self.name == "optimal_params" else log_nd + log_ratio)

    def unscaled(self, scaled: ArrayLike) -> NDArray[np.float64]:
        """From the scale back to the quantity."""
        with np.errstate(over="ignore"):
            return np.exp(np.asarray(scaled, float)) if self.in_logs else np.asarray(scaled, float)


def parameter_quantities(names: Iterable[str] = PARAMETERS) -> list[Quantity]:
    """The parameters of a law: by default of the five-parameter law."""
    return [Quantity(name=name) for name in names]


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


def scaled_matrix(quantities: Sequence[Quantity], laws: FittedLaws) -> NDArray[np.float64]:
    """Every quantity of every law on its scale; shape s + (q,)."""
    return np.stack([quantity.scaled(laws) for quantity in quantities], axis=-1)
