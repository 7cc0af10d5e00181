"""What every fitted law offers, one law or an array of them, whatever its formula.

| code   | symbol | shape | unit                                                       |
|--------|--------|-------|------------------------------------------------------------|
| laws   |        | s     | () for one law, (R,) for the laws of R resamples           |
| theta  |        | s + p | internal coordinates, see `Law`                            |
| params | N      | t     | parameters (count)                                         |
| tokens | D      | t     | training tokens (count)                                    |
| flops  | C      | t     | training FLOP, C = 6 N D                                   |
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.blocks import LONG, blocks
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw, Values, log_counts, plain

if TYPE_CHECKING:
    from chinchilla_jax.laws.best_allocation import Allocation
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Law

COEFFICIENTS = ("A", "B", "N_c", "D_c")
"""Parameters that are positive and range over decades; normal approximations take their logarithms."""


@runtime_checkable
class FittedLaws(Protocol):
    """One fitted law, or an array of them; `ScalingLaw` and `FittedLaw` are.

    Results of `loss`, `optimal` and `tokens_per_param` have shape s + t and follow the conventions of
    `ScalingLaw`: +inf or 0 where the optimum is at an edge, NaN where there is no optimum or no law.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the laws: () for a single one."""
        ...

    def __len__(self) -> int:
        """Number of laws along the first axis."""
        ...

    def __getitem__(self, index: Any) -> Self:
        """The laws at `index`, as NumPy understands it."""
        ...

    def as_dict(self) -> dict[str, Values]:
        """The natural parameters by name, in order; each of the laws' shape."""
        ...

    def where(self, kept: NDArray[np.bool_]) -> Self:
        """These laws, NaN where they are not `kept`."""
        ...

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Values:
        """Predicted loss (nats per token)."""
        ...

    def optimal(self, flops: ArrayLike, cost: Cost = SIX_ND) -> tuple[Values, Values]:
        """The parameters and tokens that give the lowest loss for a budget."""
        ...

    def tokens_per_param(self, flops: ArrayLike, cost: Cost = SIX_ND) -> Values:
        """D_opt / N_opt at each budget."""
        ...

    def log_ratio_line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """ln(D_opt / N_opt) as a line in ln(C / 6): (intercept, slope), each of the laws' shape.

        None where the optimum of such a law is not a power of compute.
        """
        ...


def parameter_names(laws: FittedLaws) -> tuple[str, ...]:
    """The natural parameters of fitted laws by name, in order."""
    if isinstance(laws, ScalingLaw):
        return PARAMETERS
    return laws.model.parameters if isinstance(laws, FittedLaw) else tuple(laws.as_dict())


def parameter_values(laws: FittedLaws, name: str) -> NDArray[np.float64]:
    """One natural parameter of the laws (R,); of `FittedLaw` without the others in memory."""
    if isinstance(laws, ScalingLaw):
        return np.asarray(getattr(laws, name))
    if not isinstance(laws, FittedLaw) or len(laws) <= LONG:
        return np.asarray(laws.as_dict()[name])
    values = np.empty(len(laws))
    for lanes in blocks(len(laws)):
        values[lanes] = laws[lanes].as_dict()[name]
    return values


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedLaw:
    """One law of any kind, or an array of them, at fitted parameters.

    Attributes:
        model: which law.
        design: the runs whose standardised units `theta` is in.
        theta: internal coordinates, s + (p,); NaN for a law that was not found.
    """

    model: Law
    design: Design
    theta: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the laws: () for a single one."""
        return self.theta.shape[:-1]

    def __len__(self) -> int:
        """Number of laws along the first axis."""
        if not self.shape:
            raise TypeError("this FittedLaw is a single law and has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> FittedLaw:
        """The laws at `index` (an integer, a slice, a mask or an index array, as NumPy understands it)."""
        if not self.shape:
            raise TypeError("this FittedLaw is a single law and cannot be indexed")
        if isinstance(index, slice) and len(self.shape) == 1:
            return dataclasses.replace(self, theta=self.theta[index])
        # Positions are indexed and not theta, whose last axis is none of the laws'.
        chosen = np.arange(math.prod(self.shape)).reshape(self.shape)[index]
        return dataclasses.replace(self, theta=self.theta.reshape(-1, self.theta.shape[-1])[chosen])

    def __repr__(self) -> str:
        """The numbers of a single law; the shape of many."""
        if self.shape:
            return f"<FittedLaw {self.model.name}: laws of shape {self.shape}>"
        numbers = ", ".join(f"{name}={value:.6g}" for name, value in self.as_dict().items())
        return f"FittedLaw({self.model.name}: {numbers})"

    def as_dict(self) -> dict[str, Values]:
        """The natural parameters by name; floats for a single law, arrays for many."""
        natural = self.model.natural(self.theta, self.design)
        return {name: values if self.shape else float(values) for name, values in natural.items()}

    def where(self, kept: NDArray[np.bool_]) -> FittedLaw:
        """These laws, NaN where they are not `kept`."""
        return dataclasses.replace(self, theta=np.where(np.asarray(kept)[..., None], self.theta, np.nan))

    def loss(self, params: ArrayLike, tokens: ArrayLike, **variables: ArrayLike) -> Values:
        """Predicted loss (nats per token), shape s + t, t the shape of `params` and `tokens` broadcast.

        Args:
            params: parameters (count).
            tokens: training tokens (count).
            **variables: what else the law predicts from, see `Law.further`.

        Raises:
            UsageError: a count is not positive and finite, the two shapes do not broadcast, or a variable of
                the law is missing.
        """
        log_n, log_d = log_counts("loss", params, tokens)
        design = self.design
        further = self.model.further(variables, np.exp(log_n), np.exp(log_d))
        u, v = design.standardised(log_n.ravel(), log_d.ravel())
        found = np.exp(self.model.log_losses(self.theta, (u, v, *(x.ravel() for x in further)), design))
        return plain(found.reshape(self.shape + log_n.shape))

    def tokens_per_param(self, flops: ArrayLike, cost: Cost = SIX_ND, **variables: float) -> Values:
        """D_opt / N_opt at each budget, shape s + t; N are the parameters that a token passes through.

        +inf where only tokens help, 0 where only parameters do, NaN where there is no optimum.

        Args:
            flops: training compute (FLOP).
            cost: what training costs, C = 6 N D by default.
            **variables: what else the law predicts from, the same at every budget, see `Law.further`.

        Raises:
            UsageError: a budget is not positive and finite, or a variable of the law is missing.
        """
        found = self.allocate(flops, cost, **variables)
        return plain(found.tokens_per_param.reshape(self.shape + np.shape(flops)))

    def optimal(self, flops: ArrayLike, cost: Cost = SIX_ND, **variables: float) -> tuple[Values, Values]:
        """The parameters and tokens of lowest loss for a budget, each of shape s + t.

        Raises:
            UsageError: a budget is not positive and finite, or a variable of the law is missing.
        """
        found, shape = self.allocate(flops, cost, **variables), self.shape + np.shape(flops)
        return plain(found.params.reshape(shape)), plain(found.tokens.reshape(shape))

    def allocate(self, flops: ArrayLike, cost: Cost = SIX_ND, **variables: float) -> Allocation:
        """`optimal` with what each optimum is, for laws (R,) and budgets (q,) in rows and columns.

        Raises:
            UsageError: a budget is not positive and finite, or a variable of the law is missing.
        """
        from chinchilla_jax.laws.best_allocation import best_allocation

        rows = self.theta.reshape(-1, self.model.size)
        return best_allocation(self.model, self.design, rows, np.ravel(flops), cost, variables)

    def log_ratio_line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """ln(D_opt / N_opt) as a line in ln(C / 6): (intercept, slope), each of the laws' shape.

        None where the optimum of such a law is not a power of compute.
        """
        first = self[:1] if len(self.shape) == 1 and len(self) > LONG else self
        same = self.model.allocation_law(first.theta, self.design)
        if same is None or first is self:
            return None if same is None else same.log_ratio_line()
        line = np.empty((2, len(self)))
        for lanes in blocks(len(self)):
            line[:, lanes] = self[lanes].log_ratio_line()
        return line[0], line[1]

    @property
    def exponents(self) -> tuple[Values, Values] | None:
        """(a, b) of N_opt ~ C^a and D_opt ~ C^b; None where the optimum is not a power of compute."""
        same = self.model.allocation_law(self.theta, self.design)
        return None if same is None else same.exponents
