"""Laws written as their papers print them: the loss as a function of natural parameters and plain variables.

Notation
    p    natural parameters by name; scalars
    x    variables by name, in plain units: params, tokens, and what else the law names; scalars
    q    the coordinates of the parameters, see laws/parameters.py; theta holds them in the order of `kinds`

Nothing is standardised. Newton's method does not depend on that, up to rounding: on the 240 runs of Hoffmann
et al. the five-parameter law in these coordinates ends every one of 2,000 resamples at the optimum that its
own coordinates find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chinchilla_jax.laws.law import Floats, Law, Place
from chinchilla_jax.laws.parameters import Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.scaling_law import Values

Predict = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


class NaturalLaw(Law):
    """A law by its formula; subclasses say what it predicts, from which parameters and which variables.

    Attributes:
        kinds: the natural parameters in order, and what values each may have.
    """

    kinds: ClassVar[Mapping[str, Parameter]]
    exponents: ClassVar[tuple[int, ...]] = ()
    least: ClassVar[tuple[int, int, int]] = (1, 1, 2)
    additive: ClassVar[bool] = False
    exchangeable: ClassVar[bool] = False

    def __init_subclass__(cls, **settings: Any) -> None:
        """What follows from `kinds`."""
        super().__init_subclass__(**settings)
        if "kinds" in cls.__dict__:
            cls.parameters = tuple(cls.kinds)
            kinds = [kind.kind for kind in cls.kinds.values()]
            # The derivative of ln L by ln p is the share of what p multiplies.
            cls.amplitudes = tuple(j for j, kind in enumerate(kinds) if kind == "positive")
            cls.bounded = tuple(j for j, kind in enumerate(kinds) if kind == "non_negative")

    def __eq__(self, other: object) -> bool:
        """The same law."""
        return type(other) is type(self)

    def __hash__(self) -> int:
        """Agrees with `==`."""
        return hash(type(self))

    @staticmethod
    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """The loss (nats per token) of one run, written with `jax.numpy`."""
        raise NotImplementedError

    @classmethod
    def log_loss(cls, theta: Array, place: Place, constants: Array) -> Array:
        """See `Law.log_loss`."""
        import jax.numpy as jnp

        u, v, *further = place
        x = {
            "params": jnp.exp(constants[0] + constants[1] * u),
            "tokens": jnp.exp(constants[2] + constants[3] * v),
            **dict(zip(cls.variables[2:], further, strict=True)),
        }
        p = {name: kind.natural(theta[j], jnp) for j, (name, kind) in enumerate(cls.kinds.items())}
        return jnp.log(cls.predict(p, x))

    def constants(self, design: Design) -> Floats:
        """Mean and sd of ln N and of ln D, (4,)."""
        return np.array(design.units)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """The natural parameters."""
        with np.errstate(over="ignore"):
            return {
                name: np.asarray(kind.natural(theta[..., j]))
                for j, (name, kind) in enumerate(self.kinds.items())
            }

    def internal(self, natural: Mapping[str, Values], design: Design) -> Floats:
        """See `Law.internal`."""
        return np.stack(
            [np.asarray(kind.coordinate(natural[name])) for name, kind in self.kinds.items()], axis=-1
        )

    def starts(self, design: Design, count: int) -> Floats:
        """The guesses, then points spread evenly over the ranges."""
        kinds = list(self.kinds.values())
        shares = _spread(count, len(kinds))
        points = np.stack([kind.spread(shares[:, j]) for j, kind in enumerate(kinds)], axis=1)
        points[0] = [kind.coordinate(kind.guess) for kind in kinds]
        return points

    def embed(self, theta: Floats, design: Design) -> Floats | None:
        """See `Law.embed`."""
        from chinchilla_jax.laws.chinchilla import CHINCHILLA

        five = CHINCHILLA.fitted(theta, design).as_dict()
        natural = self.embedded({name: float(value) for name, value in five.items()})
        if natural is None:
            return None
        with np.errstate(all="ignore"):
            found = self.internal(natural, design)
        return found if np.isfinite(found).all() else None

    @staticmethod
    def embedded(five: dict[str, float]) -> dict[str, float] | None:
        """The natural parameters at which this law is that five-parameter one; None if there are none."""
        return None


def _spread(count: int, dimensions: int) -> Floats:
    """Points (count, dimensions) that fill the unit cube evenly, the same ones first however many.

    The additive recurrence of the generalised golden ratio (Roberts 2018, "The unreasonable effectiveness of
    quasirandom sequences"), the root above 1 of r^(d+1) = r + 1.
    """
    ratio = 1.5
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1)
    return np.asarray((0.5 + np.arange(count)[:, None] * steps) % 1.0)
