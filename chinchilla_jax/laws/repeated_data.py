"""The law of Muennighoff et al. 2023 (arXiv:2305.16264) for data that are seen several times.

Notation
    U       unique tokens, at most D
    R       repetitions, D / U - 1
    U_N     the size that U tokens are best for, at most N: alpha A U_N^-alpha = beta B U^-beta
    R_N     what N is beyond that, N / U_N - 1

A token that is seen again is worth less each time, and after about R*_D epochs nothing; parameters beyond
U_N likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive

_EPOCHS, _SIZES = 15.4, 5.3  # as published


class RepeatedData(NaturalLaw):
    """L = E + A N'^-alpha + B D'^-beta, N' and D' what parameters and repeated tokens are worth."""

    name: ClassVar[str] = "repeated_data"
    variables: ClassVar[tuple[str, ...]] = ("params", "tokens", "unique_tokens")
    defaults: ClassVar[Mapping[str, float]] = MappingProxyType({"unique_tokens": math.inf})
    formula: ClassVar[str] = (
        "E + A N'^-alpha + B D'^-beta, D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)), N' likewise"
    )
    source: ClassVar[str] = "Muennighoff et al. 2023 (arXiv:2305.16264)"
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "E": non_negative(1.8),
        "A": positive(500.0, low=20.0, high=1e5),
        "B": positive(1500.0, low=20.0, high=1e5),
        "alpha": positive(0.35, low=0.15, high=0.8),
        "beta": positive(0.35, low=0.15, high=0.8),
        "R_D": positive(_EPOCHS, low=1.0, high=100.0),
        "R_N": positive(_SIZES, low=0.5, high=100.0),
    }

    limits: ClassVar[Mapping[tuple[str, float], str]] = MappingProxyType(
        {
            ("R_D", math.inf): "a repeated token is worth a new one",
            ("R_D", 0.0): "a repeated token is worth nothing",
            ("R_N", math.inf): "parameters in excess are worth as much as the others",
            ("R_N", 0.0): "parameters in excess are worth nothing",
        }
    )

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        import jax.numpy as jnp

        unique = jnp.minimum(x["unique_tokens"], x["tokens"])
        best = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / p["alpha"])
        best_size = best * unique ** (p["beta"] / p["alpha"])
        size = jnp.minimum(best_size, x["params"])
        tokens = _worth(unique, x["tokens"], p["R_D"])
        params = _worth(size, x["params"], p["R_N"])
        return p["E"] + p["A"] * params ** -p["alpha"] + p["B"] * tokens ** -p["beta"]

    @staticmethod
    def embedded(five: dict[str, float]) -> dict[str, float]:
        """The same law, with repetition as published."""
        return {**five, "R_D": _EPOCHS, "R_N": _SIZES}


def _worth(new: Any, all_of_it: Any, decay: Any) -> Any:
    """What `all_of_it` is worth of which `new` is not repeated."""
    import jax.numpy as jnp

    # By expm1: where the decay is slow, what repetition costs is far below rounding of 1.
    return new * (1.0 - decay * jnp.expm1(-(all_of_it / new - 1.0) / decay))
