"""Laws along the budgets of another cost than 6 N D, with the interface of laws along 6 N D."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from chinchilla_jax.laws.compute import Cost
from chinchilla_jax.laws.drawn_cost import CostDraws
from chinchilla_jax.laws.fitted import FittedLaws

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.laws.scaling_law import Values


@dataclasses.dataclass(frozen=True, repr=False)
class PricedLaws:
    """`FittedLaws` whose budgets are those of a cost.

    Attributes:
        laws: the laws.
        cost: what training costs.
    """

    laws: FittedLaws
    cost: Cost

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the laws."""
        return self.laws.shape

    def __len__(self) -> int:
        """Number of laws along the first axis."""
        return len(self.laws)

    def __getitem__(self, index: Any) -> PricedLaws:
        """The laws at `index`."""
        cost = self.cost[index] if isinstance(self.cost, CostDraws) else self.cost
        return dataclasses.replace(self, laws=self.laws[index], cost=cost)

    def where(self, kept: NDArray[np.bool_]) -> PricedLaws:
        """These laws, NaN where they are not `kept`."""
        return dataclasses.replace(self, laws=self.laws.where(kept))

    def as_dict(self) -> dict[str, Values]:
        """The natural parameters by name."""
        return self.laws.as_dict()

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Values:
        """Predicted loss (nats per token)."""
        return self.laws.loss(params, tokens)

    def optimal(self, flops: ArrayLike, cost: Cost | None = None) -> tuple[Values, Values]:
        """The parameters and tokens that give the lowest loss for a budget."""
        return self.laws.optimal(flops, cost or self.cost)

    def tokens_per_param(self, flops: ArrayLike, cost: Cost | None = None) -> Values:
        """D_opt / N_opt at each budget."""
        return self.laws.tokens_per_param(flops, cost or self.cost)

    def log_ratio_line(self) -> None:
        """None: the ratio is asked for at each budget."""
        return
