"""Laws of the loss, the objectives they are fitted by, and the coordinates they are fitted in.

A `Law` is the contract; `LAWS` has the built-in ones by name. `ScalingLaw` is the five-parameter law with
its numbers filled in, `FittedLaw` any other.
"""

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.laws.broken import Broken
from chinchilla_jax.laws.chinchilla import CHINCHILLA, Chinchilla
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws
from chinchilla_jax.laws.kaplan import Kaplan
from chinchilla_jax.laws.law import Law
from chinchilla_jax.laws.objectives import (
    OBJECTIVES,
    AsymmetricError,
    Huber,
    HuberScale,
    Objective,
    RawHuber,
    RawSquared,
    Squared,
    ZonedObjective,
    read_objective,
)
from chinchilla_jax.laws.restrictions import EqualExponents, FixedFloor
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, PARAMETERS, ScalingLaw

__all__ = [
    "BESIROGLU_2024",
    "CHINCHILLA",
    "HOFFMANN_2022",
    "LAWS",
    "OBJECTIVES",
    "PARAMETERS",
    "AsymmetricError",
    "Broken",
    "Chinchilla",
    "Design",
    "EqualExponents",
    "FittedLaw",
    "FittedLaws",
    "FixedFloor",
    "Huber",
    "HuberScale",
    "Kaplan",
    "Law",
    "Objective",
    "RawHuber",
    "RawSquared",
    "ScalingLaw",
    "Squared",
    "ZonedObjective",
    "read_law",
    "read_objective",
]

LAWS: dict[str, type[Law]] = {
    kind.name: kind for kind in (Chinchilla, EqualExponents, FixedFloor, Kaplan, Broken)
}
"""The laws by name; each is usable without arguments."""


def read_law(given: Law | str) -> Law:
    """The law, or the one of that name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, Law):
        return given
    if not isinstance(given, str) or given not in LAWS:
        raise unknown_name("law", given, LAWS)
    return LAWS[given]()
