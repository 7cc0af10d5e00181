"""How two records of what a long command computes differ, in a few words each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np


def record_differences(
    there: Mapping[str, Any],
    here: Mapping[str, Any],
    rounded: Collection[str] = (),
    accepted: Mapping[str, Collection[Any]] | None = None,
) -> list[str]:
    """How two records differ, such as "seed is 0 there and 1 here"; empty where they agree.

    Args:
        there: in a directory.
        here: of this run.
        rounded: fields that come from a fit, which another machine may round differently: they are compared
            up to rounding, and where the data differ they are not named.
        accepted: values of fields that do as well as that of this run.
    """
    told = {}
    for name in dict.fromkeys((*here, *there)):
        old, new = there.get(name), here.get(name)
        if name in rounded and _close(old, new):
            continue
        if accepted and old in accepted.get(name, ()):
            continue
        if old != new:
            told[name] = f"{name.replace('_', ' ')} is {_brief(old)} there and {_brief(new)} here"
    # Another table has another law, which adds nothing.
    other_data = "data_hash" in told
    return [text for name, text in told.items() if not (other_data and name in rounded)]


def _close(old: Any, new: Any) -> bool:
    """Whether two lists of numbers are the same up to rounding."""
    lists = isinstance(old, list) and isinstance(new, list) and len(old) == len(new)
    try:
        return lists and np.allclose(old, new, rtol=1e-6, atol=1e-9)
    except TypeError:  # not of numbers
        return False


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_brief, value)) + "]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value[:12] if isinstance(value, str) else str(value)
