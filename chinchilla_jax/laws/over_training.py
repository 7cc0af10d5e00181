"""The law of Gadre et al. 2024 (arXiv:2403.08540), in compute and tokens per parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Floats


class OverTraining(NaturalLaw):
    """L = E + (a M^eta + b M^-eta) C^-eta, M = D/N and C = 6 N D: the loss at any excess of tokens.

    The five-parameter law with alpha = beta = 2 eta, A = a 6^-eta and B = b 6^-eta.
    """

    name: ClassVar[str] = "over_training"
    formula: ClassVar[str] = "E + (a M^eta + b M^-eta) C^-eta, M = D/N, C = 6ND"
    source: ClassVar[str] = "Gadre et al. 2024 (arXiv:2403.08540)"
    least: ClassVar[tuple[int, int, int]] = (2, 2, 5)
    exchangeable: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "E": non_negative(1.7),
        "a": positive(200.0, low=5.0, high=1e4),
        "b": positive(200.0, low=5.0, high=1e4),
        "eta": positive(0.15, low=0.05, high=0.5),
    }

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        ratio = x["tokens"] / x["params"]
        flops = FLOPS_PER_PARAM_TOKEN * x["params"] * x["tokens"]
        eta = p["eta"]
        return p["E"] + (p["a"] * ratio**eta + p["b"] * ratio**-eta) * flops**-eta

    @staticmethod
    def embedded(five: dict[str, float]) -> dict[str, float]:
        """With the mean of both exponents."""
        eta = (five["alpha"] + five["beta"]) / 4
        unit = FLOPS_PER_PARAM_TOKEN**eta
        return {"E": five["E"], "a": five["A"] * unit, "b": five["B"] * unit, "eta": eta}

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw:
        """The same law as a five-parameter one."""
        p = self.natural(theta, design)
        unit = FLOPS_PER_PARAM_TOKEN ** -p["eta"]
        exponent = 2 * p["eta"]
        return ScalingLaw(E=p["E"], A=p["a"] * unit, B=p["b"] * unit, alpha=exponent, beta=exponent)
