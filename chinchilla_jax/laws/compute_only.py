"""The loss as a function of training compute alone, for the best run of each budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive


class ComputeOnly(NaturalLaw):
    """L = E + K C^-gamma: of runs that are best for their budget (`best_of=("flops",)` keeps these)."""

    name: ClassVar[str] = "compute_only"
    variables: ClassVar[tuple[str, ...]] = ("params", "tokens", "flops")
    formula: ClassVar[str] = "E + K C^-gamma"
    source: ClassVar[str] = "Kaplan et al. 2020 (arXiv:2001.08361); Hoffmann et al. 2022, approach 1"
    has_optimum: ClassVar[bool] = False
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "E": non_negative(1.7),
        "K": positive(1000.0, low=10.0, high=1e6),
        "gamma": positive(0.15, low=0.03, high=0.4),
    }

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        return p["E"] + p["K"] * x["flops"] ** -p["gamma"]
