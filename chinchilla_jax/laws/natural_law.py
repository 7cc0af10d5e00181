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

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax._util.validation import require_type
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


def from_function(
    predict: Predict,
    parameters: Mapping[str, Parameter],
    *,
    variables: Sequence[str] = ("params", "tokens"),
    name: str | None = None,
    formula: str = "",
    source: str = "",
    defaults: Mapping[str, float] | None = None,
    exchangeable: bool = False,
) -> Law:
    """A law from a function of your own: `fit`, `bootstrap` and what follows from them take it as any other.

    Derivatives, starts, certificates and intervals follow from the function; nothing else need be given.

    Args:
        predict: predict(p, x) returns the loss (nats per token) of one run. p holds the parameters and x the
            variables, by name, as JAX scalars in plain units; write it with `jax.numpy`, twice
            differentiable.
        parameters: by name, in the order of tables: `positive(1.7)`, `non_negative(1.7)`, `real(0.3)` or
            `between(0, 1)`, each with a guess and if need be a range for the starts.
        variables: what x holds; params and tokens first.
        name: in tables; None for that of the function.
        formula: the law in a line, for tables.
        source: the paper and the equation.
        defaults: values of further variables where a prediction or a plan does not give them, such as
            {"unique_tokens": math.inf}.
        exchangeable: whether two terms of the law exchange places where runs are on a line of ln D in ln N,
            as those of the five-parameter law do; such runs are then refused.

    Returns:
        The law. The same function with the same arguments gives the same law, compiled once.

    Raises:
        UsageError: a name or a parameter that has no meaning, or a function that JAX cannot trace or that
            does not return one number.
    """
    if not callable(predict):
        raise UsageError(f"from_function: predict is {short(predict)}; give a function predict(p, x)")
    require_type("from_function: parameters", parameters, Mapping, "give {'E': positive(1.7), ...}")
    for key, kind in parameters.items():
        if not isinstance(kind, Parameter):
            raise UsageError(
                f"from_function: parameter {short(str(key))} is {short(kind)}; give positive(...), "
                "non_negative(...), real(...) or between(...)"
            )
    if not parameters:
        raise UsageError("from_function: no parameters; give at least one, such as {'E': positive(1.7)}")
    names = tuple(variables)
    if names[:2] != ("params", "tokens") or len(set(names)) < len(names):
        raise UsageError(
            f"from_function: variables are {list_text(names) or 'none'}; give params and tokens first and "
            "each name once"
        )
    law = _made(
        predict,
        tuple(parameters.items()),
        names,
        name or getattr(predict, "__name__", "own"),
        formula,
        source,
        tuple((defaults or {}).items()),
        bool(exchangeable),
    )
    _try(law)
    return law


class _OwnLaw(NaturalLaw):
    """A law from a function, which pickles as the arguments that made it."""

    recipe: ClassVar[tuple[Any, ...]]

    def __repr__(self) -> str:
        return f"<law {self.name}: {', '.join(self.parameters)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, self.recipe


@functools.cache
def _made(
    predict: Predict,
    parameters: tuple[tuple[str, Parameter], ...],
    variables: tuple[str, ...],
    name: str,
    formula: str,
    source: str,
    defaults: tuple[tuple[str, float], ...],
    exchangeable: bool,
) -> NaturalLaw:
    # Engines compile a class, and so each function is one.
    settings: dict[str, Any] = {
        "predict": staticmethod(predict),
        "kinds": dict(parameters),
        "variables": variables,
        "name": name,
        "formula": formula,
        "source": source,
        "defaults": dict(defaults),
        "exchangeable": exchangeable,
        "recipe": (predict, parameters, variables, name, formula, source, defaults, exchangeable),
    }
    law: NaturalLaw = type("OwnLaw", (_OwnLaw,), settings)()
    return law


def _try(law: NaturalLaw) -> None:
    """Trace the function once, so that what is wrong with it is said here and in a line."""
    import jax
    import jax.numpy as jnp

    scalar = jax.ShapeDtypeStruct((), np.float32)
    p, x = dict.fromkeys(law.kinds, scalar), dict.fromkeys(law.variables, scalar)
    remedy = "give predict(p, x) with p and x read by name, written with jax.numpy, that returns the loss"
    try:
        found = jax.eval_shape(lambda p, x: jnp.asarray(law.predict(p, x)), p, x)
    except KeyError as error:
        has = f"p has {list_text(law.parameters)}, x has {list_text(law.variables)}"
        raise UsageError(f"law {law.name}: the function reads {error}, which is not given; {has}") from None
    except Exception as error:
        said = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        raise UsageError(f"law {law.name}: the function raised {short(what, 120)}; {remedy}") from None
    if found.shape != () or not np.issubdtype(found.dtype, np.floating):
        raise UsageError(
            f"law {law.name}: the function returned {found.dtype} of shape {found.shape}, not one number; "
            f"{remedy}"
        )
