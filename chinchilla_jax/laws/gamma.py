"""The five-parameter law with a power over both terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw

if TYPE_CHECKING:
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Floats


class Gamma(NaturalLaw):
    """L = E + (A N^-alpha + B D^-beta)^gamma; gamma = 1 is the five-parameter law."""

    name: ClassVar[str] = "gamma"
    formula: ClassVar[str] = "E + (A N^-alpha + B D^-beta)^gamma"
    source: ClassVar[str] = "Busbridge et al. 2025 (arXiv:2502.08606), the supervised law"
    least: ClassVar[tuple[int, int, int]] = (3, 3, 7)
    exchangeable: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "E": non_negative(1.7),
        "A": positive(400.0, low=10.0, high=1e5),
        "B": positive(400.0, low=10.0, high=1e5),
        "alpha": positive(0.35, low=0.1, high=1.0),
        "beta": positive(0.35, low=0.1, high=1.0),
        "gamma": positive(1.0, low=0.3, high=2.0),
    }

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        inside = p["A"] * x["params"] ** -p["alpha"] + p["B"] * x["tokens"] ** -p["beta"]
        return p["E"] + inside ** p["gamma"]

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw:
        """The law with gamma = 1: a power of the terms is least where their sum is."""
        p = self.natural(theta, design)
        return ScalingLaw(**{name: p[name] for name in PARAMETERS})

    @staticmethod
    def embedded(five: dict[str, float]) -> dict[str, float]:
        """The same law, gamma = 1."""
        return {**five, "gamma": 1.0}
