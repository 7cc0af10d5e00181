"""Controlled errors in what is known about the runs, their composition, and their names in tables.

A perturbation is a frozen value that maps runs to runs. `.condition` names it ("multiplicative=0.001",
"log_normal_noise=0.31622776601683794#3"; a composition joins its parts by "|"), and `parse_condition` reads
it back. `params` holds the families that miscount parameters; families on the data side go beside it.
"""

from chinchilla_jax.perturbations.base import Composition, Identity, Perturbation
from chinchilla_jax.perturbations.conditions import FAMILIES, parse_condition
from chinchilla_jax.perturbations.params import (
    Additive,
    LogNormalNoise,
    Multiplicative,
    SystematicBias,
    geometric_mean,
)

__all__ = [
    "FAMILIES",
    "Additive",
    "Composition",
    "Identity",
    "LogNormalNoise",
    "Multiplicative",
    "Perturbation",
    "SystematicBias",
    "geometric_mean",
    "parse_condition",
]
