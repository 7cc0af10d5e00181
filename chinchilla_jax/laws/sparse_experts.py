"""The law of Abnar et al. 2025 (arXiv:2501.12370) for mixtures of experts, in all parameters and sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive, real


class SparseExperts(NaturalLaw):
    """L = a N^-alpha + b D^-beta + c (1-S)^-lambda + d (1-S)^-delta N^-gamma + e.

    S is the sparsity, the share of experts that a token does not pass through; N counts all parameters. The
    guesses are the constants of the source's table 3, as two readers of it transcribe them.
    """

    name: ClassVar[str] = "sparse_experts"
    variables: ClassVar[tuple[str, ...]] = ("params", "tokens", "sparsity")
    defaults: ClassVar[Mapping[str, float]] = MappingProxyType({"sparsity": 0.0})
    formula: ClassVar[str] = "a N^-alpha + b D^-beta + c (1-S)^-lambda + d (1-S)^-delta N^-gamma + e"
    source: ClassVar[str] = "Abnar et al. 2025 (arXiv:2501.12370), eq. 6 and table 3"
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "e": non_negative(0.94, high=3.0),
        "a": positive(16612.5, low=100.0, high=1e6),
        "alpha": positive(0.5962, low=0.2, high=1.0),
        "b": positive(5455.67, low=100.0, high=1e5),
        "beta": positive(0.3954, low=0.2, high=0.8),
        "c": positive(0.4598, low=0.01, high=3.0),
        "lambda": real(-0.1666, low=-1.0, high=1.0),
        "d": positive(17.26, low=1.0, high=300.0),
        "delta": real(0.1603, low=-1.0, high=1.0),
        "gamma": positive(0.1595, low=0.03, high=0.6),
    }

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        active, size = 1.0 - x["sparsity"], x["params"]
        return (
            p["a"] * size ** -p["alpha"]
            + p["b"] * x["tokens"] ** -p["beta"]
            + p["c"] * active ** -p["lambda"]
            + p["d"] * active ** -p["delta"] * size ** -p["gamma"]
            + p["e"]
        )
