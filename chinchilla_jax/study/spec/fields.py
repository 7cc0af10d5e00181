"""Checks of the fields of a spec. An error carries the place of its field, for the line in a file."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import finite_number


class FieldError(UsageError):
    """A field of a spec that cannot be used.

    Attributes:
        place: keys and indices that lead to the field, such as ("sweeps", 1, "values").
    """

    def __init__(self, text: str, place: tuple[str | int, ...] = ()) -> None:
        """Keep both."""
        super().__init__(text)
        self.place = place


@contextlib.contextmanager
def field(*place: str | int) -> Iterator[None]:
    """Give every `UsageError` of the block its place; blocks inside blocks add up."""
    try:
        yield
    except UsageError as error:
        inner = error.place if isinstance(error, FieldError) else ()
        raise FieldError(str(error), (*place, *inner)) from None


def number_list(
    what: str, values: Any, *, low: float = -math.inf, high: float = math.inf
) -> tuple[float, ...]:
    """`values`, one or more, as finite floats strictly between `low` and `high`.

    Raises:
        UsageError: they are not.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
        raise UsageError(f"{what} is {short(values)}; give a list of numbers")
    if len(values) == 0:
        raise UsageError(f"{what} is empty; give at least one number")
    bounds = [f"above {low:g}"] * math.isfinite(low) + [f"below {high:g}"] * math.isfinite(high)
    remedy = f"give finite numbers {' and '.join(bounds)}".rstrip()
    found = []
    for value in values:
        number = finite_number(f"a number of {what}", value, remedy=remedy)
        if not low < number < high:
            raise UsageError(f"a number of {what} is {short(value)}; {remedy}")
        found.append(number + 0.0)  # so that -0.0, equal to 0.0, is not another condition
    return tuple(found)


def increasing(what: str, values: tuple[float, ...]) -> tuple[float, ...]:
    """`values`, which must rise from each to the next.

    Raises:
        UsageError: they do not.
    """
    for first, second in itertools.pairwise(values):
        if not first < second:
            raise UsageError(f"{what}: {second!r} follows {first!r}; list each number once, in rising order")
    return values


def set_fields(record: object, **values: object) -> None:
    """Set fields of a frozen dataclass, in its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(record, name, value)
