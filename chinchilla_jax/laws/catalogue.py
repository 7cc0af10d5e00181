"""The built-in laws by name. A command that fits one of them loads no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.lazy_table import LazyTable
from chinchilla_jax.laws.law import Law

_ROOM = "chinchilla_jax.laws"
LAWS: dict[str, type[Law]]
"""The laws by name; each is usable without arguments."""

_BY_NAME: Mapping[str, type[Law]] = LazyTable(
    {
        "chinchilla": f"{_ROOM}.chinchilla:Chinchilla",
        "equal_exponents": f"{_ROOM}.restrictions:EqualExponents",
        "fixed_floor": f"{_ROOM}.restrictions:FixedFloor",
        "kaplan": f"{_ROOM}.kaplan:Kaplan",
        "broken": f"{_ROOM}.broken:Broken",
        "gamma": f"{_ROOM}.gamma:Gamma",
        "over_training": f"{_ROOM}.over_training:OverTraining",
        "farseer": f"{_ROOM}.farseer:Farseer",
        "compute_only": f"{_ROOM}.compute_only:ComputeOnly",
        "repeated_data": f"{_ROOM}.repeated_data:RepeatedData",
        "sparse_experts": f"{_ROOM}.sparse_experts:SparseExperts",
        "routed_experts": f"{_ROOM}.experts:RoutedExperts",
        "joint_experts": f"{_ROOM}.experts:JointExperts",
    }
)

STANDARD = ("chinchilla", "equal_exponents", "fixed_floor", "kaplan", "broken")
"""Laws of parameters and tokens that differ in the form of the curve: what forms are compared by default."""


def __getattr__(name: str) -> Any:
    """`LAWS`, for which all laws are loaded, when it is first asked for."""
    if name != "LAWS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, dict(_BY_NAME))


def read_law(given: Law | str) -> Law:
    """The law, or the one of that name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, Law):
        return given
    if not isinstance(given, str) or given not in _BY_NAME:
        raise unknown_name("law", given, _BY_NAME)
    return _BY_NAME[given]()
