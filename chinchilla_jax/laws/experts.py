"""Laws of mixtures of experts in the active parameters and the number of experts.

Notation
    N_a     active parameters: what one token passes through
    n       experts of a routed layer; 1 for a dense model
    n_hat   their saturating number: 1/n_hat = 1/(n - 1 + 1/(1/n_start - 1/n_max)) + 1/n_max, which is n_start
            for a dense model and n_max at most (Clark et al. 2022, arXiv:2202.01169)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive, real

_VARIABLES = ("params", "tokens", "params_active", "n_experts")
_DENSE: Mapping[str, float] = MappingProxyType({"n_experts": 1.0})


def saturating(n: Any, start: Any, beyond: Any) -> Any:
    """n_hat of n experts, with n_max = n_start (1 + beyond)."""
    # In this form n_start < n_max whatever the two positive parameters are.
    most = start * (1.0 + beyond)
    return 1.0 / (1.0 / (n - 1.0 + most * start / (most - start)) + 1.0 / most)


class RoutedExperts(NaturalLaw):
    """ln L = a ln N_a + b ln n_hat + c ln N_a ln n_hat + d, at one number of tokens.

    The source writes logarithms to base 10: its a and b are these, its c is c ln 10, its d is d / ln 10.
    """

    name: ClassVar[str] = "routed_experts"
    variables: ClassVar[tuple[str, ...]] = _VARIABLES
    defaults: ClassVar[Mapping[str, float]] = _DENSE
    formula: ClassVar[str] = "ln L = a ln N_a + b ln n_hat + c ln N_a ln n_hat + d"
    source: ClassVar[str] = "Clark et al. 2022 (arXiv:2202.01169)"
    has_optimum: ClassVar[bool] = False  # says nothing of tokens
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "a": real(-0.08, low=-0.2, high=0.0),
        "b": real(-0.1, low=-0.4, high=0.1),
        "c": real(0.004, low=-0.02, high=0.02),
        "d": real(2.5, low=1.0, high=4.0),
        "n_start": positive(2.0, low=0.5, high=5.0),
        "n_beyond": positive(150.0, low=10.0, high=3000.0),
    }

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        import jax.numpy as jnp

        size = jnp.log(x["params_active"])
        experts = jnp.log(saturating(x["n_experts"], p["n_start"], p["n_beyond"]))
        return jnp.exp(p["a"] * size + p["b"] * experts + p["c"] * size * experts + p["d"])


class JointExperts(NaturalLaw):
    """L = a n_hat^delta N_a^(-alpha + gamma ln n_hat) + b n_hat^omega D^(-beta + zeta ln n_hat) + c.

    The guesses are the source's constants as a reader of it transcribes them, who gives none for n_hat:
    these are as in Clark et al. 2022.
    """

    name: ClassVar[str] = "joint_experts"
    variables: ClassVar[tuple[str, ...]] = _VARIABLES
    defaults: ClassVar[Mapping[str, float]] = _DENSE
    formula: ClassVar[str] = (
        "a n_hat^delta N_a^(-alpha + gamma ln n_hat) + b n_hat^omega D^(-beta + zeta ln n_hat) + c"
    )
    source: ClassVar[str] = "Ludziejewski et al. 2025 (arXiv:2502.05172)"
    kinds: ClassVar[Mapping[str, Parameter]] = {
        "c": non_negative(1.3637, high=3.0),
        "a": positive(35.91, low=3.0, high=1000.0),
        "delta": real(0.2285, low=-0.5, high=0.5),
        "alpha": positive(0.1889, low=0.05, high=0.6),
        "gamma": real(-0.0098, low=-0.05, high=0.05),
        "b": positive(35.98, low=3.0, high=1000.0),
        "omega": real(-0.5529, low=-1.0, high=0.5),
        "beta": positive(0.1775, low=0.05, high=0.6),
        "zeta": real(0.0259, low=-0.05, high=0.1),
        "n_start": positive(2.0, low=0.5, high=5.0),
        "n_beyond": positive(150.0, low=10.0, high=3000.0),
    }

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """See `NaturalLaw.predict`."""
        import jax.numpy as jnp

        experts = jnp.log(saturating(x["n_experts"], p["n_start"], p["n_beyond"]))
        size, tokens = jnp.log(x["params_active"]), jnp.log(x["tokens"])
        of_size = p["delta"] * experts + (-p["alpha"] + p["gamma"] * experts) * size
        of_tokens = p["omega"] * experts + (-p["beta"] + p["zeta"] * experts) * tokens
        return p["a"] * jnp.exp(of_size) + p["b"] * jnp.exp(of_tokens) + p["c"]
