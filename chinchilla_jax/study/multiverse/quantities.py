"""The quantities of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SUBJECTS: Mapping[str, str] = MappingProxyType(
    {
        "tokens_per_param": "the compute-optimal number of tokens per parameter",
        "params": "the compute-optimal number of parameters",
        "tokens": "the compute-optimal number of training tokens",
        "loss": "the compute-optimal loss",
    }
)
"""Each quantity as the subject of a sentence."""

QUANTITIES = tuple(SUBJECTS)
"""What an answer has, all of the compute-optimal point."""


def of_answers(answers: Mapping[str, Floats], quantity: str) -> Floats:
    """A quantity, from params, tokens and loss; of their shape."""
    if quantity != "tokens_per_param":
        return answers[quantity]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(answers["tokens"] / answers["params"])
