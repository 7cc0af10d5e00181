"""The lifetime cost of a model: training and inference, in FLOP or in money.

| code          | symbol | unit                                                                     |
|---------------|--------|--------------------------------------------------------------------------|
| params        | N      | parameters                                                               |
| tokens        | D      | training tokens                                                          |
| input_tokens  | D_in   | tokens that the model reads over its life                                |
| output_tokens | D_out  | tokens that it writes                                                    |
| train, read, write | p | cost per FLOP: 1 in FLOP; price / (3600 s x peak rate x utilisation) in money |

    cost = N (6 p_train D + 2 p_read D_in + 2 p_write D_out)      Sardana & Frankle 2023, arXiv:2401.00448

Where training costs c N^a D, serving a token costs a third of that per token, as here: c N^a / 3. The optimum
depends only on v/u of cost = N^a (u D + v): the demand in units of training tokens.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import non_negative_number, positive_number
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.planning.hardware import SECONDS_PER_HOUR, utilisation

FORWARD = 1 / 3  # of the FLOP of training on a token: 2 N of 6 N


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
        positive_number("peak_flops", self.peak_flops, remedy="give FLOP per second such as 989e12")
        positive_number("price_per_hour", self.price_per_hour, remedy="give the price of one device per hour")
        utilisation("utilisation", self.utilisation)

    @property
    def price_per_flop(self) -> float:
        """Price of one FLOP at this utilisation."""
        with beyond_float64():
            return float(
                np.divide(self.price_per_hour, SECONDS_PER_HOUR * self.peak_flops * self.utilisation)
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Cost per FLOP of training, of reading input and of writing output.

    Attributes:
        train: per FLOP of training.
        read: per FLOP of input tokens.
        write: per FLOP of output tokens.
        unit: unit of the costs: "FLOP" or a currency.
        compute: FLOP of training, with no power of D other than 1: serving costs what the model costs.

    Raises:
        UsageError: training is free, or a cost is negative or not finite.
    """

    train: float = 1.0
    read: float = 1.0
    write: float = 1.0
    unit: str = "FLOP"
    compute: Cost = SIX_ND

    def __post_init__(self) -> None:
        """Check the three costs."""
        positive_number("train", self.train, remedy="give the cost per FLOP of training")
        for name in ("read", "write"):
            non_negative_number(name, getattr(self, name), remedy="give a cost per FLOP, 0 or more")
        if np.any(self.compute.tokens_power != 1.0):
            raise UsageError(
                f"Costs: compute is {self.compute.formula}; give a cost in proportion to D (`Cost.per_token`)"
            )

    @classmethod
    def rented(cls, *, train: Machine, read: Machine, write: Machine, unit: str = "USD") -> Costs:
        """Prices per FLOP of three machines."""
        return cls(
            train=train.price_per_flop, read=read.price_per_flop, write=write.price_per_flop, unit=unit
        )

    def training(self, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """Cost of training."""
        return np.asarray(self.train * self.compute.flops(params, tokens))

    def inference(self, params: ArrayLike, demand: Demand) -> NDArray[np.float64]:
        """Lifetime cost of inference."""
        return np.asarray(FORWARD * self.compute.flops(params, 1.0) * self._priced(demand))

    def demand_in_training_tokens(self, demand: Demand) -> float:
        """v/u: how many training tokens cost as much as the demand, at any size of the model."""
        return FORWARD * self._priced(demand) / self.train

    def _priced(self, demand: Demand) -> float:
        return self.read * demand.input_tokens + self.write * demand.output_tokens


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
            remedy = "give how many tokens will be served, 0 or more"
            non_negative_number(name, getattr(self, name), remedy=remedy)


FLOP_COSTS = Costs()
"""Training and inference in FLOP, each token of inference at 2 N."""
