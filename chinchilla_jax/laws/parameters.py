"""Kinds of natural parameters: what values one may have, where to begin, and a solver's coordinate for it.

| kind         | values           | coordinate q  | starts                                              |
|--------------|------------------|---------------|-----------------------------------------------------|
| positive     | above zero       | ln p          | log-uniform from `low` to `high`                    |
| non_negative | zero or more     | p             | uniform; a solver holds p at zero where that is best |
| real         | any              | p             | uniform                                             |
| between      | from low to high | logit         | uniform, a little inside                            |
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import finite_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind: TypeAlias = Literal["positive", "non_negative", "real", "between"]
_WIDE = 10.0  # factor either way of the starts of a positive parameter
_INSIDE = 0.02  # of the width that the starts of a bounded one keep from its ends


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A natural parameter of a law; made by `positive`, `non_negative`, `real` or `between`.

    Attributes:
        kind: what values it may have.
        guess: the first start.
        low: lower end of the other starts; of the values, for "between".
        high: upper end.
    """

    kind: Kind
    guess: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a range that has no meaning."""
        name = f"{self.kind}({self.guess:g}, low={self.low:g}, high={self.high:g})"
        if not self.low < self.high:
            raise UsageError(f"{name}: low is not below high; give low < high")
        if not self.low <= self.guess <= self.high:
            raise UsageError(f"{name}: the guess is outside; give one from low to high")
        least = {"positive": "above zero", "non_negative": "zero or more"}.get(self.kind)
        if least and (self.low < 0 or (self.low == 0 and self.kind == "positive")):
            raise UsageError(f"{name}: low is {self.low:g}; give a number {least}")

    def natural(self, q: Any, numpy: Any = np) -> Any:
        """The parameter at coordinate q, by NumPy or by `jax.numpy`."""
        if self.kind == "positive":
            return numpy.exp(q)
        if self.kind == "between":
            return self.low + (self.high - self.low) / (1.0 + numpy.exp(-q))
        return q

    def coordinate(self, value: Any) -> Any:
        """The inverse of `natural`; NaN or infinite where the parameter cannot have this value."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "positive":
                return np.log(value)
            if self.kind == "between":
                return np.log(value - self.low) - np.log(self.high - value)
        return value

    def spread(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates of starts at these shares of the range, from 0 to 1."""
        if self.kind == "positive":
            low, high = math.log(self.low), math.log(self.high)
            return low + (high - low) * shares
        if self.kind == "between":
            shares = _INSIDE + (1 - 2 * _INSIDE) * shares
        return np.asarray(self.coordinate(self.low + (self.high - self.low) * shares))


def positive(guess: float, *, low: float | None = None, high: float | None = None) -> Parameter:
    """A parameter above zero, such as an amplitude or an exponent; starts within a factor of 10 by default.

    Raises:
        UsageError: a number is not positive and finite, or the guess is not within the range.

    Example:
        >>> cj.positive(1.7)
        Parameter(kind='positive', guess=1.7, low=0.16999999999999998, high=17.0)
    """
    value = finite_number("positive: guess", guess)
    if value <= 0:
        raise UsageError(f"positive: guess is {value:g}; give a number above zero")
    return _made("positive", value, low, high, value / _WIDE, value * _WIDE)


def non_negative(guess: float, *, low: float | None = None, high: float | None = None) -> Parameter:
    """A parameter of zero or more, such as an irreducible loss; starts from 0 to twice the guess by default.

    Raises:
        UsageError: a number is negative or not finite, or the guess is not within the range.

    Example:
        >>> cj.non_negative(1.7)
        Parameter(kind='non_negative', guess=1.7, low=0.0, high=3.4)
    """
    value = finite_number("non_negative: guess", guess)
    return _made("non_negative", value, low, high, 0.0, 2.0 * value if value > 0 else 1.0)


def real(guess: float, *, low: float | None = None, high: float | None = None) -> Parameter:
    """Any number; starts from `guess` less to `guess` more its own size, or 1 if that is more, by default.

    Raises:
        UsageError: a number is not finite, or the guess is not within the range.

    Example:
        >>> cj.real(0.3)
        Parameter(kind='real', guess=0.3, low=-0.7, high=1.3)
    """
    value = finite_number("real: guess", guess)
    around = max(abs(value), 1.0)
    return _made("real", value, low, high, value - around, value + around)


def between(low: float, high: float, guess: float | None = None) -> Parameter:
    """A number between two others, such as a share; the first start is in the middle by default.

    Raises:
        UsageError: a number is not finite, low is not below high, or the guess is not between them.

    Example:
        >>> cj.between(0, 1)
        Parameter(kind='between', guess=0.5, low=0.0, high=1.0)
    """
    ends = finite_number("between: low", low), finite_number("between: high", high)
    middle = 0.5 * sum(ends) if guess is None else finite_number("between: guess", guess)
    if not ends[0] < middle < ends[1]:
        raise UsageError(f"between({ends[0]:g}, {ends[1]:g}): {middle:g} is not between them")
    return Parameter("between", middle, *ends)


def _made(
    kind: Kind, guess: float, low: float | None, high: float | None, usual_low: float, usual_high: float
) -> Parameter:
    return Parameter(
        kind,
        guess,
        usual_low if low is None else finite_number(f"{kind}: low", low),
        usual_high if high is None else finite_number(f"{kind}: high", high),
    )
