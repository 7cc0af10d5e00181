"""What a model costs over its life: training and inference, in FLOP or in money.

| code          | symbol | unit                                                                     |
|---------------|--------|--------------------------------------------------------------------------|
| params        | N      | parameters                                                               |
| tokens        | D      | training tokens                                                          |
| input_tokens  | D_in   | tokens read by the model over its life                                   |
| output_tokens | D_out  | tokens written by it                                                     |
| train, read, write | p | cost per FLOP: 1 in FLOP; price / (3600 s x peak rate x utilisation) in money |

    cost = N (6 p_train D + 2 p_read D_in + 2 p_write D_out)      Sardana & Frankle 2023, arXiv:2401.00448

Only b/a of cost = N (a D + b) matters for where the optimum is: the demand in units of training tokens.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.planning.hardware import SECONDS_PER_HOUR, utilisation
from chinchilla_jax.planning.law_sample import positive

TRAINING_FLOPS, INFERENCE_FLOPS = 6.0, 2.0  # per parameter and token


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """Rented hardware.

    Attributes:
        peak_flops: FLOP per second at the precision in use (that of an 8-bit format for a quantised model).
        utilisation: share of the peak in use, in (0, 1]; low for output tokens, which come one at a time.
        price_per_hour: in any currency, positive.

    Raises:
        UsageError: a number is not positive, or the utilisation is above 1.
    """

    peak_flops: float
    utilisation: float
    price_per_hour: float

    def __post_init__(self) -> None:
        """Check the three numbers."""
        positive("peak_flops", self.peak_flops, "give FLOP per second such as 989e12")
        positive("price_per_hour", self.price_per_hour, "give the price of one device for one hour")
        utilisation("utilisation", self.utilisation)

    @property
    def price_per_flop(self) -> float:
        """Currency per FLOP that counts."""
        return self.price_per_hour / (SECONDS_PER_HOUR * self.peak_flops * self.utilisation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Cost per FLOP of training, of reading input and of writing output.

    Attributes:
        train: per FLOP of training.
        read: per FLOP of input tokens.
        write: per FLOP of output tokens.
        unit: what a cost is counted in: "FLOP" or a currency.

    Raises:
        UsageError: training costs nothing, or a cost is negative or not finite.
    """

    train: float = 1.0
    read: float = 1.0
    write: float = 1.0
    unit: str = "FLOP"

    def __post_init__(self) -> None:
        """Check the three costs."""
        positive("train", self.train, "give the cost per FLOP of training")
        for name in ("read", "write"):
            cost = getattr(self, name)
            if not 0 <= cost < float("inf"):
                raise UsageError(f"{name} is {cost!r}; give a cost per FLOP, 0 or more")

    @classmethod
    def rented(cls, *, train: Machine, read: Machine, write: Machine, unit: str = "USD") -> Costs:
        """Prices per FLOP of three machines."""
        return cls(
            train=train.price_per_flop, read=read.price_per_flop, write=write.price_per_flop, unit=unit
        )

    def training(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """Cost of training."""
        return np.asarray(TRAINING_FLOPS * self.train * np.asarray(params) * np.asarray(tokens))

    def inference(self, params: ArrayLike, demand: Demand) -> NDArray[np.float64]:
        """Cost of inference over the model's life."""
        return np.asarray(self._per_param(demand) * np.asarray(params))

    def demand_in_training_tokens(self, demand: Demand) -> float:
        """b/a: how many training tokens cost what the demand costs, whatever the size of the model."""
        return self._per_param(demand) / (TRAINING_FLOPS * self.train)

    def _per_param(self, demand: Demand) -> float:
        return INFERENCE_FLOPS * (self.read * demand.input_tokens + self.write * demand.output_tokens)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demand:
    """Tokens that the model will serve over its life.

    Raises:
        UsageError: a number is negative or not finite.
    """

    input_tokens: float = 0.0
    output_tokens: float = 0.0

    def __post_init__(self) -> None:
        """Check the two numbers."""
        for name in ("input_tokens", "output_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise UsageError(f"{name} is {value!r}; give how many tokens will be served, 0 or more")


FLOP_COSTS = Costs()
"""Training and inference in FLOP, each token of inference at 2 N."""
