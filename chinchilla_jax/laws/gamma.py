"""The five-parameter law with a power over both terms.

Notation
    T, U     A N^-alpha and B D^-beta
    m        (T + U)^gamma, the loss above E, at N of 1e9 parameters and D of 2e10 tokens
    k_N      slope of the loss there: -dL / d ln N = m gamma alpha T / (T + U)
    k_D      likewise -dL / d ln D = m gamma beta U / (T + U)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from chinchilla_jax.laws.frames import Frame
from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.parameters import Parameter, non_negative, positive
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw

if TYPE_CHECKING:
    from jax import Array

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Floats

_LOG_PARAMS, _LOG_TOKENS = 20.7, 23.7  # where level and slopes are taken; any place near the runs will do
_MOST = 100.0  # size of a logarithm up to which no exponential overflows, nor a product of a few


@dataclasses.dataclass(frozen=True)
class LevelSlopes(Frame):
    """(E + m, ln k_N, ln k_D) in the place of (E, ln A, ln B); exponents and gamma stay.

    Runs determine level and slopes, and hardly how A, alpha and gamma share in them: one Newton step in plain
    coordinates follows that valley for a tenth of an exponent. Where gamma runs off to a law that is an
    exponential of a power, alpha falls as 1 / gamma and all others settle: here that is a straight line.
    """

    def applies(self, theta: Sequence[Array]) -> Array:
        """Where E is off its bound and nothing overflows."""
        import jax.numpy as jnp

        found = theta[0] > 0
        for value in (*theta[1:], *self.enter(theta)):
            found &= jnp.abs(value) < _MOST
        return found

    def safe(self, theta: Sequence[Array], applies: Array) -> list[Array]:
        """See `Frame.safe`."""
        import jax.numpy as jnp

        return [jnp.where(applies, value, 1.0) for value in theta]

    def enter(self, theta: Sequence[Array]) -> list[Array]:
        """See `Frame.enter`."""
        import jax.numpy as jnp

        floor, a, b, alpha, beta, gamma = theta
        of_params, of_tokens = a - jnp.exp(alpha) * _LOG_PARAMS, b - jnp.exp(beta) * _LOG_TOKENS
        inside = _log_sum(of_params, of_tokens)
        above = jnp.exp(gamma) * inside
        slopes = (above + gamma + alpha + of_params - inside, above + gamma + beta + of_tokens - inside)
        return [floor + jnp.exp(above), *slopes, alpha, beta, gamma]

    def leave(self, phi: Sequence[Array]) -> list[Array]:
        """See `Frame.leave`."""
        import jax.numpy as jnp

        level, of_params, of_tokens, alpha, beta, gamma = phi
        # m T / (T + U) and m U / (T + U)
        of_params, of_tokens = of_params - alpha - gamma, of_tokens - beta - gamma
        above = _log_sum(of_params, of_tokens)
        less = above - above * jnp.exp(-gamma)
        a = of_params - less + jnp.exp(alpha) * _LOG_PARAMS
        b = of_tokens - less + jnp.exp(beta) * _LOG_TOKENS
        return [level - jnp.exp(above), a, b, alpha, beta, gamma]

    def step_limits(self, theta: Sequence[Array]) -> dict[int, Array]:
        """None but those of every step."""
        return {}

    def longest(self, theta: Sequence[Array], step: Sequence[Array]) -> Array:
        """Any length has a meaning."""
        import jax.numpy as jnp

        return jnp.full_like(theta[0], jnp.inf)


def _log_sum(x: Array, y: Array) -> Array:
    """Ln(e^x + e^y); the shift has no part in the derivatives."""
    import jax.numpy as jnp
    from jax import lax

    most = lax.stop_gradient(jnp.maximum(x, y))
    return most + jnp.log(jnp.exp(x - most) + jnp.exp(y - most))


class Gamma(NaturalLaw):
    """L = E + (A N^-alpha + B D^-beta)^gamma; gamma = 1 is the five-parameter law."""

    name: ClassVar[str] = "gamma"
    formula: ClassVar[str] = "E + (A N^-alpha + B D^-beta)^gamma"
    source: ClassVar[str] = "Busbridge et al. 2025 (arXiv:2502.08606), the supervised law"
    least: ClassVar[tuple[int, int, int]] = (3, 3, 7)
    exchangeable: ClassVar[bool] = True
    exponents: ClassVar[tuple[int, ...]] = (3, 4, 5)  # their logarithms; beyond e^12 no table tells
    frame: ClassVar[Frame | None] = LevelSlopes()
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
