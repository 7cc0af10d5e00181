"""Controlled errors in the data about the runs, their composition, and their names in tables.

A perturbation is a frozen value that maps runs to runs. `.condition` names it ("multiplicative=0.001",
"log_normal_noise=0.31622776601683794#3"; a composition joins its parts by "|"), and `parse_condition` reads
it back. `FAMILIES` lists all families; `params` and `tokens_and_loss` define them.
"""

from chinchilla_jax.perturbations.base import Composition, Identity, Perturbation
from chinchilla_jax.perturbations.conditions import parse_condition
from chinchilla_jax.perturbations.documented_miscount import DOCUMENTED_MISCOUNT, documented_sizes
from chinchilla_jax.perturbations.families import FAMILIES, PARAMS_FAMILIES, Family
from chinchilla_jax.perturbations.params import (
    Additive,
    LogNormalNoise,
    Multiplicative,
    SystematicBias,
    tokens_derived,
    tokens_from_flops,
)
from chinchilla_jax.perturbations.sized import bias_centre, geometric_mean
from chinchilla_jax.perturbations.tokens_and_loss import (
    LossLogNormalNoise,
    LossMultiplicative,
    LossOffset,
    TokensAdditive,
    TokensLogNormalNoise,
    TokensMultiplicative,
)

__all__ = [
    "DOCUMENTED_MISCOUNT",
    "FAMILIES",
    "PARAMS_FAMILIES",
    "Additive",
    "Composition",
    "Family",
    "Identity",
    "LogNormalNoise",
    "LossLogNormalNoise",
    "LossMultiplicative",
    "LossOffset",
    "Multiplicative",
    "Perturbation",
    "SystematicBias",
    "TokensAdditive",
    "TokensLogNormalNoise",
    "TokensMultiplicative",
    "bias_centre",
    "documented_sizes",
    "geometric_mean",
    "parse_condition",
    "tokens_derived",
    "tokens_from_flops",
]
