"""Condition ids: from the id in a table back to the perturbation."""

from __future__ import annotations

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.perturbations.base import Identity, Perturbation
from chinchilla_jax.perturbations.families import FAMILIES


def parse_condition(condition: str) -> Perturbation:
    """The perturbation with this id, a composition included: the inverse of `.condition`.

    Numbers may be in any form that `float` accepts. Noise without "#repeat" is repeat 0.

    Args:
        condition: an id as in the study's tables, without the "@" and counting of an unperturbed condition.

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
            f"condition {short(condition)}: '@' names a counting of the parameters, not a perturbation; "
            "choose it with load_runs(params=...)"
        )
    if part == Identity.family:
        return Identity()
    name, _, rest = part.partition("=")
    if name == Identity.family:
        raise UsageError(f"condition {short(condition)}: cannot read {short(part)}; identity takes no number")
    if name not in FAMILIES:
        raise unknown_name("perturbation family", name, [Identity.family, *FAMILIES])
    family = FAMILIES[name]
    number, hash_sign, repeat = rest.partition("#")
    try:
        arguments = (float(number), int(repeat)) if hash_sign and family.random else (float(rest),)
    except ValueError:
        form = f"{name}=NUMBER{'#REPEAT' if family.random else ''}"
        raise UsageError(
            f"condition {short(condition)}: cannot read {short(part)}; the form is {form}"
        ) from None
    return family(*arguments)
