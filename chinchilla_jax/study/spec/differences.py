"""The differences between two specs, short enough for one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chinchilla_jax._util.errors import short

_MOST = 4  # differences that are listed one by one
_IMPLIED = {
    "law": "chinchilla",
    "engine": "auto",
    "reproducible": False,
    "boundary": "drop",
}  # the meaning of a field that is left out


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Every field that differs between two specs (`StudySpec.to_dict`), with the first entry that does.

    Args:
        there: the spec of a directory.
        here: the spec that was asked for.
    """
    found = []
    for name in dict.fromkeys((*here, *there)):  # some fields are left out at their defaults
        old, new = (spec.get(name, _IMPLIED.get(name)) for spec in (there, here))
        if name == "sweeps":
            found += _of_sweeps(old or [], new or [])
        elif old != new:
            found.append(_of_laws(old, new) if name == "law" else _of_values(name, old, new))
    return found if len(found) <= _MOST else [*found[:_MOST], f"{len(found) - _MOST} more differences"]


def _of_sweeps(there: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]) -> list[str]:
    old, new = ({_family(sweep): sweep for sweep in sweeps} for sweeps in (there, here))
    found = [f"sweep {name}: there, not asked for" for name in old if name not in new]
    found += [f"sweep {name}: asked for, not there" for name in new if name not in old]
    for name in new:
        if name in old:
            found += _of_factors(f"sweep {name}", old[name], new[name])
    if not found and list(old) != list(new):
        found.append(f"order of the sweeps: {', '.join(old)} there, {', '.join(new)} asked for")
    return found


def _family(sweep: Mapping[str, Any]) -> str:
    return "|".join(part["family"] for part in sweep["product"]) if "product" in sweep else sweep["family"]


def _of_factors(what: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    if "product" in here:
        pairs = zip(there["product"], here["product"], strict=True)
        return [text for old, new in pairs for text in _of_factors(f"{what}, {new['family']}", old, new)]
    return [
        _of_values(f"{what}, {name}", there.get(name), here.get(name))
        for name in dict.fromkeys((*here, *there))
        if there.get(name) != here.get(name)
    ]


def _of_laws(there: Any, here: Any) -> str:
    """Of laws by their names, and of functions of the same name by their fingerprints."""
    old, new = (each if isinstance(each, dict) else {"name": each} for each in (there, here))
    if old["name"] != new["name"]:
        return _of_values("law", old["name"], new["name"])
    changed = [name for name in new if name != "fingerprint" and old.get(name) != new[name]]
    first, second = (each.get("fingerprint", "none")[:12] for each in (old, new))
    what = f"other {changed[0]}" if changed else "another function"
    return f"law {new['name']}: {what}, fingerprint {first} there, {second} asked for"


def _of_values(what: str, there: Any, here: Any) -> str:
    if not (isinstance(there, list) and isinstance(here, list)):
        old, new = ("nothing" if value is None else short(value, 60) for value in (there, here))
        return f"{what}: {old} there, {new} asked for"
    number = next(
        (i for i, (old, new) in enumerate(zip(there, here, strict=False)) if old != new),
        min(len(there), len(here)),
    )
    counts = "" if len(there) == len(here) else f"{len(there)} there, {len(here)} asked for; "
    old, new = (short(values[number]) if number < len(values) else "nothing" for values in (there, here))
    return f"{what}: {counts}number {number + 1} is {old} there, {new} asked for"
