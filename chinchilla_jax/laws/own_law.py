"""Laws from a function of the user's own, in this process, in others, and in what a study keeps of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax._util.validation import require_type
from chinchilla_jax.laws.fingerprint import Fingerprint, is_installed, pickled_with
from chinchilla_jax.laws.natural_law import NaturalLaw, Predict
from chinchilla_jax.laws.parameters import Parameter
from chinchilla_jax.laws.traced import require_traceable


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
) -> OwnLaw:
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
        UsageError: a name or a parameter that has no meaning, or a function that JAX cannot differentiate
            twice or that does not return one number; one line that says where.
    """
    if not callable(predict):
        raise UsageError(f"from_function: predict is {short(predict)}; give a function predict(p, x)")
    require_type("from_function: parameters", parameters, Mapping, "give {'E': positive(1.7), ...}")
    for key, kind in parameters.items():
        if not isinstance(key, str):
            raise UsageError(
                f"from_function: parameter {short(key)} is no name; give {{'E': positive(1.7), ...}}"
            )
        if not isinstance(kind, Parameter):
            raise UsageError(
                f"from_function: parameter {short(key)} is {short(kind)}; give positive(...), "
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
    try:
        hash(predict)
    except TypeError:
        raise UsageError(
            f"from_function: predict is {short(predict)}, which cannot be hashed; give a plain function"
        ) from None
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
    require_traceable(law)
    return law


class OwnLaw(NaturalLaw):
    """A law from a function; made by `from_function`, or by `recorded` without its function.

    Attributes:
        recipe: the arguments that made it.
        kept_fingerprint: of one that was recorded, which has no function; "" for others.
    """

    recipe: ClassVar[tuple[Any, ...]]
    kept_fingerprint: ClassVar[str] = ""

    def __repr__(self) -> str:
        """Its name and parameters."""
        return f"<law {self.name}: {', '.join(self.parameters)}>"

    def __deepcopy__(self, memo: object) -> OwnLaw:
        """Itself, as it never changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """With its code, unless another process can import that."""
        if self.kept_fingerprint or self._sent is None:
            return _made, self.recipe
        _HERE[self.fingerprint, self.name] = self
        return _received, (self.fingerprint, self.name, self._sent)

    @functools.cached_property
    def _sent(self) -> bytes | None:
        """The recipe with the code of its function; None if another process can import that, or it must."""
        predict = self.recipe[0]
        name = getattr(predict, "__qualname__", "<>")
        if "<" not in name and is_installed(getattr(predict, "__module__", None)):
            return None
        try:
            return pickled_with(self._looked.modules, self.recipe)
        except UsageError:
            return None

    @functools.cached_property
    def _looked(self) -> Fingerprint:
        predict, parameters, variables, _, _, _, defaults, exchangeable = self.recipe
        kinds = [(key, kind.kind, kind.guess, kind.low, kind.high) for key, kind in parameters]
        return Fingerprint(f"law {self.name}", predict, kinds, variables, defaults, exchangeable)

    @property
    def fingerprint(self) -> str:
        """What the function and its parameters are, 32 hex digits; see laws/fingerprint.py.

        Raises:
            UsageError: no fingerprint can be taken of something that the function reads.
        """
        return self.kept_fingerprint or self._looked.digits

    @property
    def predicts(self) -> bool:
        """Whether its function is here."""
        return not self.kept_fingerprint

    def require_function(self) -> None:
        """Refuse a law that was recorded, where its function is needed.

        Raises:
            UsageError: this is one.
        """
        if not self.predicts:
            raise _absent(self.name)

    def to_dict(self) -> dict[str, Any]:
        """What a study keeps of it: all but the function, of which it keeps the fingerprint."""
        _, parameters, variables, name, formula, source, defaults, exchangeable = self.recipe
        return {
            "name": name,
            "fingerprint": self.fingerprint,
            "parameters": {
                key: {"kind": kind.kind, "guess": kind.guess, "low": kind.low, "high": kind.high}
                for key, kind in parameters
            },
            "variables": list(variables),
            "formula": formula,
            "source": source,
            # As texts, since JSON has no infinity.
            "defaults": {key: repr(float(value)) for key, value in defaults},
            "exchangeable": exchangeable,
        }


def recorded(fields: Mapping[str, Any]) -> OwnLaw:
    """The law of `OwnLaw.to_dict`: everything that its tables need, and no function.

    Raises:
        UsageError: these are not its fields.
    """
    try:
        text = {key: fields[key] for key in ("name", "fingerprint", "formula", "source")}
        if not all(isinstance(each, str) for each in text.values()):
            raise TypeError("a text is none")
        kinds = tuple(
            (str(key), Parameter(each["kind"], *(float(each[name]) for name in ("guess", "low", "high"))))
            for key, each in fields["parameters"].items()
        )
        variables = tuple(str(each) for each in fields["variables"])
        defaults = tuple((str(key), float(value)) for key, value in fields["defaults"].items())
        exchangeable = bool(fields["exchangeable"])
        if not kinds or variables[:2] != ("params", "tokens") or not int(text["fingerprint"], 16):
            raise ValueError("no parameters, variables or fingerprint")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"law {short(fields)} is not what a study keeps of one ({error})") from None
    return _made(
        _Absent(text["name"], text["fingerprint"]), kinds, variables, text["name"], text["formula"],
        text["source"], defaults, exchangeable,
    )  # fmt: skip


class _Absent:
    """In place of a function that a study's directory does not hold."""

    def __init__(self, name: str, fingerprint: str) -> None:
        self.key = name, fingerprint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Absent) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __call__(self, p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        raise _absent(self.key[0])


def _absent(name: str) -> UsageError:
    """The error where the function of a recorded law is needed."""
    return UsageError(
        f"law {name} is a function of whoever ran the study, which its directory does not hold; give the law "
        "too: --law FILE.py:NAME, or law= in Python"
    )


_HERE: dict[tuple[str, str], OwnLaw] = {}
"""Laws of this process by fingerprint and name: one that comes back is the same, and compiled already."""


def _received(fingerprint: str, name: str, sent: bytes) -> OwnLaw:
    """The law in a pickle of another process.

    Raises:
        UsageError: something that its function needs is not here, or is another.
    """
    import pickle

    if (fingerprint, name) not in _HERE:
        try:
            law = _made(*pickle.loads(sent))
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"law {name} cannot be read by a worker ({short(said, 120)})") from None
        if law.fingerprint != fingerprint:
            raise UsageError(
                f"law {name} reads other code on a worker than here ({law.fingerprint[:12]}, not "
                f"{fingerprint[:12]}); install the same on all"
            )
        law.__dict__["_sent"] = sent
        _HERE[fingerprint, name] = law
    return _HERE[fingerprint, name]


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
) -> OwnLaw:
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
    if isinstance(predict, _Absent):
        settings["kept_fingerprint"] = predict.key[1]
    law: OwnLaw = type("OwnLaw", (OwnLaw,), settings)()
    return law
