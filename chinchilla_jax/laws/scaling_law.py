"""The scaling law: one frozen value, its predictions, and the allocation of compute that it prescribes.

| code   | symbol | shape    | unit                                     |
|--------|--------|----------|------------------------------------------|
| E      | E      | s        | nats per token, the irreducible loss     |
| A      | A      | s        | nats per token times parameters^alpha    |
| B      | B      | s        | nats per token times tokens^beta         |
| alpha  | alpha  | s        | 1                                        |
| beta   | beta   | s        | 1                                        |
| params | N      | t        | parameters (count)                       |
| tokens | D      | t        | training tokens (count)                  |
| flops  | C      | t        | training FLOP, C = 6 N D                 |

Hoffmann et al. 2022 (arXiv:2203.15556):

    L(N, D) = E + A N^-alpha + B D^-beta                                                        (eq. 2)
    N_opt = G (C/6)^(beta/(alpha+beta)),  D_opt = (C/6) / N_opt                                 (eq. 4)
    G = (alpha A / (beta B))^(1/(alpha+beta))

s is the shape of the laws (() for a single one), t the shape of the argument; results have shape s + t. All
powers are taken as exponentials of logs, so A = 1e300 does not overflow on the way.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.blocks import LONG, blocks
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import positive_array, real_array
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, SIX_ND, Cost

if TYPE_CHECKING:
    import pandas as pd

Values: TypeAlias = float | NDArray[np.float64]

PARAMETERS = ("E", "A", "B", "alpha", "beta")
"""Names of the five parameters, in the order of every array of them."""

_NOT_NEGATIVE = ("A", "B")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScalingLaw:
    """One law, or an array of laws such as the resamples of a bootstrap.

    Fields are numbers or arrays that broadcast; they are stored as plain floats (a single law) or as
    read-only float64 arrays of one common shape. NaN is allowed and marks a law that was not found.

    Edges of the optimal allocation along C = 6 N D, which follow from the law itself:

    - beta > 0 but alpha <= 0 (or A = 0): parameters do not help. N_opt = 0, tokens per parameter +inf.
    - alpha > 0 but beta <= 0 (or B = 0): tokens do not help. N_opt = +inf, tokens per parameter 0.
    - neither helps, or a field is NaN: there is no optimum. NaN throughout.

    Attributes:
        E: irreducible loss (nats per token), any real number.
        A: size of the parameter term (nats per token times parameters^alpha), not negative.
        B: size of the token term (nats per token times tokens^beta), not negative.
        alpha: exponent of the parameters.
        beta: exponent of the tokens.

    Raises:
        UsageError: a field is not numeric, A or B is negative, or the shapes do not broadcast.

    Example:
        >>> law = cj.ScalingLaw(E=1.82, A=478.0, B=2143.0, alpha=0.347, beta=0.367)
        >>> round(float(law.loss(1e9, 2e10)), 3)
        2.535
        >>> round(float(law.tokens_per_param(1e21)), 1)
        21.2
    """

    E: Values
    A: Values
    B: Values
    alpha: Values
    beta: Values

    def __post_init__(self) -> None:
        """Convert, check and broadcast the fields."""
        arrays = {name: real_array(f"ScalingLaw: {name}", getattr(self, name)) for name in PARAMETERS}
        for name in _NOT_NEGATIVE:
            if np.any(arrays[name] < 0):
                lowest = float(np.nanmin(arrays[name]))
                raise UsageError(
                    f"ScalingLaw: {name} = {lowest!r} is negative; give {name} in natural units, >= 0"
                )
        shapes = {array.shape for array in arrays.values()}
        try:
            shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
        except ValueError:
            found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise UsageError(
                f"ScalingLaw: the shapes do not fit together ({found}); give arrays of one length"
            ) from None
        for name, array in arrays.items():
            if shape == ():
                object.__setattr__(self, name, float(array))
                continue
            # Read-only arrays are kept without a copy: ten million laws are 400 MB.
            shared = array.shape == shape and array.flags.owndata and not array.flags.writeable
            full = array if shared else np.array(np.broadcast_to(array, shape))
            full.setflags(write=False)
            object.__setattr__(self, name, full)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the laws: () for a single one."""
        return self.alpha.shape if isinstance(self.alpha, np.ndarray) else ()

    def __len__(self) -> int:
        """Number of laws along the first axis."""
        if not self.shape:
            raise TypeError("this ScalingLaw is a single law and has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> ScalingLaw:
        """The laws at `index` (an integer, a slice, a mask or an index array, as numpy understands it)."""
        if not self.shape:
            raise TypeError("this ScalingLaw is a single law and cannot be indexed")
        return self.map(lambda values: np.asarray(values)[index])

    def as_dict(self) -> dict[str, Values]:
        """The parameters by name, in the order E, A, B, alpha, beta."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def map(self, function: Callable[[Values], Values]) -> ScalingLaw:
        """The law(s) whose fields are `function` of these."""
        return ScalingLaw(**{name: function(values) for name, values in self.as_dict().items()})

    def where(self, kept: NDArray[np.bool_]) -> ScalingLaw:
        """These laws, NaN where they are not `kept`."""
        return self.map(lambda values: np.where(kept, values, np.nan))

    def __iter__(self) -> Iterator[ScalingLaw]:
        """The laws along the first axis, one by one."""
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Same shape and the same numbers, NaN equal to NaN."""
        if not isinstance(other, ScalingLaw):
            return NotImplemented
        return self.shape == other.shape and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in PARAMETERS
        )

    def __hash__(self) -> int:
        """Agrees with `==` (adding 0.0 makes one zero of the two)."""
        return hash(
            (self.shape, *(hash((np.asarray(getattr(self, name)) + 0.0).tobytes()) for name in PARAMETERS))
        )

    def __repr__(self) -> str:
        """The numbers of a single law; the ranges of many."""
        if not self.shape:
            return f"ScalingLaw({', '.join(f'{name}={getattr(self, name)!r}' for name in PARAMETERS)})"
        ranges = "".join(f", {name} {_range(getattr(self, name))}" for name in PARAMETERS)
        return f"<ScalingLaw: laws of shape {self.shape}{ranges}>"

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Values:
        """Predicted loss (nats per token), shape s + t, where t is `params` and `tokens` broadcast.

        Args:
            params: parameters N (count), positive and finite.
            tokens: training tokens D (count), positive and finite.

        Raises:
            UsageError: a count is not positive and finite, or the two shapes do not broadcast.
        """
        log_n, log_d = log_counts("loss", params, tokens)
        E = self._outer("E", log_n.ndim)
        of_params, of_tokens = self._terms(log_n, log_d, log_n.ndim)
        with np.errstate(over="ignore", invalid="ignore"):
            return plain(E + of_params + of_tokens)

    def terms(self, params: ArrayLike, tokens: ArrayLike) -> tuple[Values, Values]:
        """The two terms of `loss` above E (nats per token), A N^-alpha and B D^-beta.

        Each has the shape of `loss`.

        Raises:
            UsageError: a count is not positive and finite, or the two shapes do not broadcast.
        """
        log_n, log_d = log_counts("terms", params, tokens)
        of_params, of_tokens = self._terms(log_n, log_d, log_n.ndim)
        return plain(of_params), plain(of_tokens)

    def optimal(self, flops: ArrayLike, cost: Cost = SIX_ND) -> tuple[Values, Values]:
        """The parameters and tokens that give the lowest loss for a budget.

        Args:
            flops: training compute C (FLOP), positive and finite, shape t.
            cost: what training costs, C = 6 N D by default.

        Returns:
            (params, tokens), counts, each of shape s + t; the class docstring says what happens at the edges.

        Raises:
            UsageError: a budget is not positive and finite.
        """
        if not cost.is_6nd:
            return self._optimal_along(positive_array("optimal: flops", flops), cost)
        log_nd = _log_positive("optimal: flops", flops) - math.log(FLOPS_PER_PARAM_TOKEN)
        intercept, slope = (line.reshape(line.shape + (1,) * log_nd.ndim) for line in self.log_ratio_line())
        log_ratio = intercept + slope * log_nd
        with np.errstate(over="ignore"):
            return plain(np.exp((log_nd - log_ratio) / 2)), plain(np.exp((log_nd + log_ratio) / 2))

    def _optimal_along(self, flops: NDArray[np.float64], cost: Cost) -> tuple[Values, Values]:
        """`optimal` by another cost, which may be one for each law (`CostDraws`)."""
        along, cost = self.along(cost), cost.outer(flops.ndim)
        log_nd = np.log(cost.as_6nd(flops)) - math.log(FLOPS_PER_PARAM_TOKEN)
        intercept, slope = (line.reshape(line.shape + (1,) * flops.ndim) for line in along.log_ratio_line())
        log_ratio = intercept + slope * log_nd
        with np.errstate(over="ignore"):
            return (
                plain(np.exp((log_nd - log_ratio) / 2) ** (1 / cost.params_power)),
                plain(np.exp((log_nd + log_ratio) / 2) ** (1 / cost.tokens_power)),
            )

    def along(self, cost: Cost) -> ScalingLaw:
        """The same law in the coordinates N^a and D^b, in which the budgets of `cost` are those of 6 N D."""
        if np.all(cost.params_power == 1.0) and np.all(cost.tokens_power == 1.0):
            return self
        alpha, beta = self.alpha / cost.params_power, self.beta / cost.tokens_power
        return dataclasses.replace(self, alpha=alpha, beta=beta)

    def tokens_per_param(self, flops: ArrayLike, cost: Cost = SIX_ND) -> Values:
        """D_opt / N_opt at each budget, shape s + t; edges as in the class docstring.

        Args:
            flops: training compute C (FLOP), positive and finite, shape t.
            cost: what training costs, C = 6 N D by default.

        Raises:
            UsageError: a budget is not positive and finite.
        """
        if not cost.is_6nd:
            params, tokens = self.optimal(flops, cost)
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                return plain(np.asarray(np.divide(tokens, params)))
        log_nd = _log_positive("tokens_per_param: flops", flops) - math.log(FLOPS_PER_PARAM_TOKEN)
        intercept, slope = (line.reshape(line.shape + (1,) * log_nd.ndim) for line in self.log_ratio_line())
        with np.errstate(over="ignore"):
            return plain(np.exp(intercept + slope * log_nd))

    def log_ratio_line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """ln(D_opt / N_opt) as a line in ln(C / 6): (intercept, slope), each of the laws' shape.

        Exact, since the optimum is a power law: slope (alpha - beta)/(alpha + beta), intercept -2 ln G. At
        the edges the slope is 0 and the intercept +inf or -inf; without an optimum both are NaN.
        """
        if len(self.shape) == 1 and len(self) > LONG:
            line = np.empty((2, len(self)))
            for lanes in blocks(len(self)):
                line[:, lanes] = self[lanes].log_ratio_line()
            return line[0], line[1]
        A, B, alpha, beta = (np.asarray(getattr(self, name)) for name in PARAMETERS[1:])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            total = alpha + beta
            slope = (alpha - beta) / total
            # Logs apart, so that neither alpha A nor the ratio of the terms can overflow.
            intercept = -2 * (np.log(A) + np.log(alpha) - np.log(B) - np.log(beta)) / total
        params_help, tokens_help = (alpha > 0) & (A > 0), (beta > 0) & (B > 0)
        if (params_help & tokens_help).all():  # as usual; no NaN helps
            return np.asarray(intercept), np.asarray(slope)
        known = ~np.isnan(A) & ~np.isnan(B) & ~np.isnan(alpha) & ~np.isnan(beta)
        only_one = known & (params_help != tokens_help)
        none = ~known | (~params_help & ~tokens_help)
        intercept = np.where(
            only_one, np.where(tokens_help, np.inf, -np.inf), np.where(none, np.nan, intercept)
        )
        return intercept, np.where(only_one, 0.0, np.where(none, np.nan, slope))

    @property
    def exponents(self) -> tuple[Values, Values]:
        """(a, b) of N_opt ~ C^a and D_opt ~ C^b: a = beta/(alpha+beta), b = alpha/(alpha+beta).

        NaN where the optimum is at an edge or absent, since nothing grows there.
        """
        intercept, slope = self.log_ratio_line()
        slope = np.where(np.isfinite(intercept), slope, np.nan)
        return plain((1 - slope) / 2), plain((1 + slope) / 2)

    @property
    def slope_per_decade(self) -> Values:
        """Decades of tokens per parameter per decade of compute: (alpha - beta)/(alpha + beta).

        Exact and unitless. It is not the published slope, a linear regression of tokens per parameter itself,
        which is `chinchilla_jax.analysis.slope_per_decade`. NaN where `exponents` is.
        """
        a, b = self.exponents
        return plain(np.asarray(b) - np.asarray(a))

    def to_frame(self) -> pd.DataFrame:
        """A new DataFrame, one row per law in C order, columns E, A, B, alpha, beta (float64)."""
        import pandas as pd

        return pd.DataFrame({name: np.ravel(values).copy() for name, values in self.as_dict().items()})

    def _terms(
        self, log_n: NDArray[np.float64], log_d: NDArray[np.float64], ndim: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        A, B, alpha, beta = (self._outer(name, ndim) for name in PARAMETERS[1:])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            of_params, of_tokens = log_terms(np.log(A), np.log(B), alpha, beta, log_n, log_d)
            return np.exp(of_params), np.exp(of_tokens)

    def _outer(self, name: str, ndim: int) -> NDArray[np.float64]:
        return np.reshape(getattr(self, name), self.shape + (1,) * ndim)


def log_terms(log_a: Any, log_b: Any, alpha: Any, beta: Any, log_n: Any, log_d: Any) -> tuple[Any, Any]:
    """Logs of the parameter term and of the token term, of which L - E is the sum; NumPy and JAX alike.

    In natural or standardised units, as long as all six are in the same.
    """
    return log_a - alpha * log_n, log_b - beta * log_d


def log_counts(
    caller: str, params: ArrayLike, tokens: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ln of params and of tokens, broadcast against each other.

    Raises:
        UsageError: a count is not positive and finite, or the two shapes do not broadcast.
    """
    log_n, log_d = _log_positive(f"{caller}: params", params), _log_positive(f"{caller}: tokens", tokens)
    try:
        broadcast = np.broadcast_arrays(log_n, log_d)
    except ValueError:
        raise UsageError(
            f"{caller}: params {log_n.shape} and tokens {log_d.shape} do not broadcast; give one of each"
        ) from None
    return broadcast[0], broadcast[1]


def _log_positive(what: str, value: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.log(positive_array(what, value)))


def plain(array: NDArray[np.float64]) -> Values:
    """A float for an array without axes."""
    return float(array) if np.ndim(array) == 0 else array


def _range(values: NDArray[np.float64]) -> str:
    known = values[~np.isnan(values)]
    return f"{known.min():.4g} to {known.max():.4g}" if known.size else "unknown"


HOFFMANN_2022 = ScalingLaw(
    E=math.exp(0.5267228), A=math.exp(6.0073404), B=math.exp(6.0179186), alpha=0.33917084, beta=0.2849083
)
"""Hoffmann et al. 2022 (arXiv:2203.15556), Approach 3, unrounded; in print 1.69, 406.4, 410.7, 0.34, 0.28."""

BESIROGLU_2024 = ScalingLaw(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
"""Besiroglu et al. 2024 (arXiv:2404.10102), as printed; the exact `HuberScale` fit rounds nearly to it."""
