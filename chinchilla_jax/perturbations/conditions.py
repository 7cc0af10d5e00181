"""Condition ids: from the id in a table back to the perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from chinchilla_jax.errors import UsageError, short, unknown_name
from chinchilla_jax.perturbations.base import Identity, Perturbation
from chinchilla_jax.perturbations.params import Additive, LogNormalNoise, Multiplicative, SystematicBias

FAMILIES: Mapping[str, type[Any]] = MappingProxyType(
    {kind.family: kind for kind in (Multiplicative, Additive, SystematicBias, LogNormalNoise)}
)
"""The families by the name that opens their condition ids; each is called as FAMILIES[name](value)."""


def parse_condition(condition: str) -> Perturbation:
    """The perturbation with this id: the inverse of `.condition`.

    A composition is read too, and a number in any form that `float` understands. Noise without "#repeat" is
    repeat 0.

    Args:
        condition: an id as in the study's tables, without the "@interpretation" of a re-count.

    Raises:
        UsageError: the id names no known family, or its numbers cannot be read or are out of range.
    """
    result: Perturbation = Identity()
    for part in condition.split("|"):
        result = result | _parse_one(part.strip(), condition)
    return result


def _parse_one(part: str, condition: str) -> Perturbation:
    if "@" in part:
        raise UsageError(
            f"condition {short(condition)}: '@' names an interpretation of the counts, not a perturbation; "
            "choose it with load_runs(params=...)"
        )
    if part == Identity.family:
        return Identity()
    family, _, rest = part.partition("=")
    if family == Identity.family:
        raise UsageError(f"condition {short(condition)}: cannot read {short(part)}; identity takes no number")
    if family not in FAMILIES:
        raise unknown_name("perturbation family", family, [Identity.family, *FAMILIES])
    number, hash_sign, repeat = rest.partition("#")
    noisy = family == LogNormalNoise.family
    try:
        arguments = (float(number), int(repeat)) if hash_sign and noisy else (float(rest),)
    except ValueError:
        form = f"{family}=NUMBER{'#REPEAT' if noisy else ''}"
        raise UsageError(
            f"condition {short(condition)}: cannot read {short(part)}; the form is {form}"
        ) from None
    perturbation: Perturbation = FAMILIES[family](*arguments)
    return perturbation
