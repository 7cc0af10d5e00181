"""Perturbations at several sizes: one family (`Sweep`), or two at every pair of their sizes (`Product`)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chinchilla_jax import perturbations
from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.perturbations import Perturbation
from chinchilla_jax.study.spec.fields import field, number_list, set_fields
from chinchilla_jax.study.spec.ranges import expand_ranges

# Only a perturbation that draws random numbers can be repeated.
_RANDOM_FAMILIES = tuple(name for name, family in perturbations.FAMILIES.items() if family.random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """One family of perturbations at several sizes.

    Attributes:
        family: "multiplicative" (c), "additive" (c, parameters), "systematic_bias" (s), "log_normal_noise"
            (sigma); each of these with "coupled_" before it; "tokens_multiplicative" (c), "tokens_additive"
            (c, tokens), "tokens_log_normal_noise" (sigma); "loss_multiplicative" (c), "loss_offset" (c, nats
            per token), "loss_log_normal_noise" (sigma). See `perturbations.FAMILIES`.
        values: the sizes, each once; kept in ascending order.
        repeats: independent draws per size; more than 1 only for noise.

    Raises:
        UsageError: a field cannot be used, or a value is outside the range of its family.
    """

    family: str
    values: tuple[float, ...]
    repeats: int = 1

    def __post_init__(self) -> None:
        """Check and sort."""
        with field("family"):
            if not isinstance(self.family, str) or self.family not in perturbations.FAMILIES:
                raise unknown_name("perturbation family", self.family, perturbations.FAMILIES)
        with field("values"):
            values = tuple(sorted(number_list(f"{self.family} values", self.values)))
            for first, second in itertools.pairwise(values):
                if first == second:
                    raise UsageError(f"{self.family} values: {first!r} is listed twice; list each value once")
            for value in values:
                self.perturbation(value)
        with field("repeats"):
            repeats = whole_number(f"{self.family} repeats", self.repeats, low=1)
            if repeats > 1 and self.family not in _RANDOM_FAMILIES:
                raise UsageError(
                    f"{self.family} repeats is {repeats}, but this perturbation draws no random numbers, so "
                    f"all draws are the same; leave repeats out (it is for {', '.join(_RANDOM_FAMILIES)})"
                )
        set_fields(self, values=values, repeats=repeats)

    @property
    def size(self) -> int:
        """Number of conditions."""
        return len(self.values) * self.repeats

    def perturbation(self, value: float, repeat: int = 0) -> Perturbation:
        """The perturbation of this family with size `value` and draw `repeat`.

        Raises:
            UsageError: the value is outside the range of the family.
        """
        return perturbations.FAMILIES[self.family](value, repeat)

    def perturbations(self) -> Iterator[tuple[Perturbation, int]]:
        """Every perturbation with the number of its draw, by value and draw."""
        for value in self.values:
            for repeat in range(self.repeats):
                yield self.perturbation(value, repeat), repeat

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in a TOML file."""
        return {"family": self.family, "values": list(self.values), "repeats": self.repeats}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """Two families at every pair of their sizes, for joint maps: `first` is applied first.

    Raises:
        UsageError: both are of one family, or the second would undo the first.
    """

    first: Sweep
    second: Sweep

    def __post_init__(self) -> None:
        """Refuse a family beside itself, and tokens that are perturbed only to be recomputed."""
        if self.first.family == self.second.family:
            raise UsageError(
                f"product: both sweeps are {self.first.family}; give two different families, or one sweep"
            )
        first, second = (perturbations.FAMILIES[each.family] for each in (self.first, self.second))
        if first.of == "tokens" and second.coupled:
            raise UsageError(
                f"product: {second.name} recomputes the tokens, so {first.name} before it would change "
                f"nothing; put {second.name} first"
            )

    @property
    def family(self) -> str:
        """Both families, joined as in the conditions' ids."""
        return f"{self.first.family}|{self.second.family}"

    @property
    def size(self) -> int:
        """Number of conditions."""
        return self.first.size * self.second.size

    def perturbations(self) -> Iterator[tuple[Perturbation, int]]:
        """Every perturbation with the number of its draw: by the first value, then the second, then draws."""
        for one, repeat in self.first.perturbations():
            for other, again in self.second.perturbations():
                yield one | other, repeat * self.second.repeats + again

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in a TOML file."""
        return {"product": [self.first.to_dict(), self.second.to_dict()]}


def read_sweeps(given: Any) -> tuple[Sweep | Product, ...]:
    """Sweeps from a list of `Sweep`, `Product` or plain values (`to_dict`); each family at most once.

    Raises:
        FieldError: its place leads to the field that cannot be used.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise UsageError(f"sweeps is {short(given)}; give a list of sweeps")
    sweeps: list[Sweep | Product] = []
    for index, item in enumerate(given):
        with field(index):
            sweep = _read_sweep(item)
            with field("family"):
                if sweep.family in (known.family for known in sweeps):
                    raise UsageError(
                        f"sweeps: {sweep.family} is listed twice; put all its values into one sweep"
                    )
        sweeps.append(sweep)
    return tuple(sweeps)


def _read_sweep(item: Any) -> Sweep | Product:
    if isinstance(item, Sweep | Product):
        return item
    if not isinstance(item, Mapping):
        raise UsageError(f"{short(item)} is not a sweep; give a family and its values")
    known = [each.name for each in dataclasses.fields(Sweep)]
    for name in item:
        if name not in (*known, "product"):
            with field(name):
                raise unknown_name("field of a sweep", name, [*known, "product"])
    if "product" in item:
        with field("product"):
            return _read_product(item)
    for name in ("family", "values"):
        if name not in item:
            raise UsageError(f"a sweep has no {name}: {short(dict(item), 80)}; give family and values")
    with field("values"):
        values = expand_ranges(item["values"])
    return Sweep(**{**item, "values": values})


def _read_product(item: Mapping[str, Any]) -> Product:
    parts = item["product"]
    if len(item) > 1:
        raise UsageError(f"{short(dict(item), 80)}: a product is a list of two sweeps and nothing else")
    if isinstance(parts, str | Mapping) or not isinstance(parts, Sequence) or len(parts) != 2:
        raise UsageError(f"product is {short(parts, 80)}; give a list of two sweeps")
    factors = []
    for index, part in enumerate(parts):
        with field(index):
            factor = _read_sweep(part)
            if not isinstance(factor, Sweep):
                raise UsageError("a product inside a product; give a list of two sweeps")
        factors.append(factor)
    return Product(first=factors[0], second=factors[1])
