"""Fitted laws from numbers as a paper prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.laws.chinchilla import Chinchilla
from chinchilla_jax.laws.scaling_law import ScalingLaw, Values

if TYPE_CHECKING:
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.fitted import FittedLaws
    from chinchilla_jax.laws.law import Law


def laws_at(law: Law, natural: Mapping[str, Values], design: Design) -> FittedLaws:
    """The laws of these natural parameters, as fits on runs in the units of `design` are."""
    if isinstance(law, Chinchilla):
        return ScalingLaw(**natural)
    with np.errstate(all="ignore"):  # of a lane that failed
        return law.fitted(law.internal(natural, design), design)
