"""The built-in laws by name. A command that fits one of them loads no other."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.laws.law import Law

LAWS: dict[str, type[Law]]
"""The laws by name; each is usable without arguments."""

_KINDS = {
    "chinchilla": "Chinchilla",
    "equal_exponents": "EqualExponents",
    "fixed_floor": "FixedFloor",
    "kaplan": "Kaplan",
    "broken": "Broken",
    "gamma": "Gamma",
    "over_training": "OverTraining",
    "farseer": "Farseer",
    "compute_only": "ComputeOnly",
    "repeated_data": "RepeatedData",
    "sparse_experts": "SparseExperts",
    "routed_experts": "RoutedExperts",
    "joint_experts": "JointExperts",
}

STANDARD = ("chinchilla", "equal_exponents", "fixed_floor", "kaplan", "broken")
"""Laws of parameters and tokens that differ in the form of the curve: what forms are compared by default."""


def __getattr__(name: str) -> Any:
    """`LAWS`, for which all laws are loaded, when it is first asked for."""
    if name != "LAWS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, {each: _kind(each) for each in _KINDS})


def read_law(given: Law | str) -> Law:
    """The law, or the one of that name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, Law):
        return given
    known: Mapping[str, Any] = globals().get("LAWS", _KINDS)  # to which others can be added
    if not isinstance(given, str) or given not in known:
        raise unknown_name("law", given, known)
    return _kind(given)() if known is _KINDS else known[given]()


def _kind(name: str) -> type[Law]:
    # The room imports its names when they are asked for.
    kind: type[Law] = getattr(sys.modules[__package__], _KINDS[name])
    return kind
