"""The law of Li et al. 2025 (arXiv:2506.10972), whose exponent of the tokens depends on the size."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, positive, real


class Farseer(NaturalLaw):
    """L = exp(a3 N^g + b3) + exp(a2 N^b + b2) D^-exp(a1 N^a + b1)."""

    name: ClassVar[str] = "farseer"
    formula: ClassVar[str] = "exp(a3 N^g + b3) + exp(a2 N^b + b2) D^-exp(a1 N^a + b1)"
    source: ClassVar[str] = "Li et al. 2025 (arXiv:2506.10972)"
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "a1": real(-0.1, low=-0.5, high=0.0),
        "b1": real(0.4, low=-1.0, high=1.0),
        "a": positive(0.12, low=0.03, high=0.4),
        "a2": real(80.0, low=20.0, high=200.0),
        "b2": real(-5.0, low=-8.0, high=0.0),
        "b": real(-0.1, low=-0.3, high=-0.03),
        "a3": real(-0.02, low=-0.1, high=0.0),
        "b3": real(0.5, low=-0.5, high=1.5),
        "g": positive(0.15, low=0.03, high=0.4),
    }

    limits: ClassVar[Mapping[tuple[str, float], str]] = MappingProxyType(
        {
            ("a", 0.0): "the exponent of D is a power of N",
            ("b", 0.0): "the term in D has a power of N before it",
            ("g", 0.0): "the loss without limit of tokens is a power of N",
        }
    )

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        import jax.numpy as jnp

        size = x["params"]
        floor = jnp.exp(p["a3"] * size ** p["g"] + p["b3"])
        exponent = jnp.exp(p["a1"] * size ** p["a"] + p["b1"])
        return floor + jnp.exp(p["a2"] * size ** p["b"] + p["b2"]) * x["tokens"] ** -exponent
