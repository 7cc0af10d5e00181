"""What every fitted law offers, one law or an array of them, whatever its formula.

| code   | symbol | shape | unit                                                       |
|--------|--------|-------|------------------------------------------------------------|
| laws   |        | s     | () for one law, (R,) for the laws of R resamples           |
| params | N      | t     | parameters (count)                                         |
| tokens | D      | t     | training tokens (count)                                    |
| flops  | C      | t     | training FLOP, C = 6 N D                                   |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax.laws.scaling_law import Values

COEFFICIENTS = ("A", "B", "N_c", "D_c")
"""Parameters that are positive and range over decades; normal approximations take their logarithms."""


@runtime_checkable
class FittedLaws(Protocol):
    """One fitted law, or an array of them; `ScalingLaw` is one.

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

    def map(self, function: Callable[[Values], Values]) -> Self:
        """The law(s) whose parameters are `function` of these."""
        ...

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Values:
        """Predicted loss (nats per token)."""
        ...

    def optimal(self, flops: ArrayLike) -> tuple[Values, Values]:
        """The parameters and tokens that give the lowest loss for a budget."""
        ...

    def tokens_per_param(self, flops: ArrayLike) -> Values:
        """D_opt / N_opt at each budget."""
        ...

    def log_ratio_line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """ln(D_opt / N_opt) as a line in ln(C / 6): (intercept, slope), each of the laws' shape.

        None where the optimum of such a law is not a power of compute.
        """
        ...
