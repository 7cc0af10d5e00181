"""Laws of the loss, the objectives they are fitted by, and the coordinates they are fitted in.

A `Law` is the contract; `LAWS` has the built-in ones by name. `ScalingLaw` is the five-parameter law with
its numbers filled in, `FittedLaw` any other.
"""

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.laws.broken import Broken
from chinchilla_jax.laws.chinchilla import CHINCHILLA, Chinchilla
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.compute_only import ComputeOnly
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.experts import JointExperts, RoutedExperts
from chinchilla_jax.laws.farseer import Farseer
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws
from chinchilla_jax.laws.gamma import Gamma
from chinchilla_jax.laws.kaplan import Kaplan
from chinchilla_jax.laws.law import Law
from chinchilla_jax.laws.natural_law import NaturalLaw
from chinchilla_jax.laws.objectives import (
    OBJECTIVES,
    AsymmetricError,
    Huber,
    HuberScale,
    Objective,
    OwnObjective,
    RawHuber,
    RawSquared,
    Squared,
    ZonedObjective,
    objective_from_function,
    read_objective,
)
from chinchilla_jax.laws.over_training import OverTraining
from chinchilla_jax.laws.own_law import OwnLaw, from_function
from chinchilla_jax.laws.parameters import Parameter, between, non_negative, positive, real
from chinchilla_jax.laws.repeated_data import RepeatedData
from chinchilla_jax.laws.restrictions import EqualExponents, FixedFloor
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, PARAMETERS, ScalingLaw
from chinchilla_jax.laws.sparse_experts import SparseExperts

__all__ = [
    "BESIROGLU_2024",
    "CHINCHILLA",
    "HOFFMANN_2022",
    "LAWS",
    "OBJECTIVES",
    "PARAMETERS",
    "SIX_ND",
    "STANDARD",
    "AsymmetricError",
    "Broken",
    "Chinchilla",
    "ComputeOnly",
    "Cost",
    "Design",
    "EqualExponents",
    "Farseer",
    "FittedLaw",
    "FittedLaws",
    "FixedFloor",
    "Gamma",
    "Huber",
    "HuberScale",
    "JointExperts",
    "Kaplan",
    "Law",
    "NaturalLaw",
    "Objective",
    "OverTraining",
    "OwnLaw",
    "OwnObjective",
    "Parameter",
    "RawHuber",
    "RawSquared",
    "RepeatedData",
    "RoutedExperts",
    "ScalingLaw",
    "SparseExperts",
    "Squared",
    "ZonedObjective",
    "between",
    "from_function",
    "non_negative",
    "objective_from_function",
    "positive",
    "read_law",
    "read_objective",
    "real",
]

LAWS: dict[str, type[Law]] = {
    kind.name: kind
    for kind in (
        Chinchilla,
        EqualExponents,
        FixedFloor,
        Kaplan,
        Broken,
        Gamma,
        OverTraining,
        Farseer,
        ComputeOnly,
        RepeatedData,
        SparseExperts,
        RoutedExperts,
        JointExperts,
    )
}
"""The laws by name; each is usable without arguments."""

STANDARD = ("chinchilla", "equal_exponents", "fixed_floor", "kaplan", "broken")
"""Laws of parameters and tokens that differ in the form of the curve: what forms are compared by default."""


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
