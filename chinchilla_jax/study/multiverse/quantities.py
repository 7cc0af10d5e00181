"""The quantities of an answer, and their limits over the resamples."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.intervals.quantiles import central_tails, interpolate

Floats = NDArray[np.float64]

QUANTITIES = ("tokens_per_param", "params", "tokens", "loss")
"""What an answer has, all of the compute-optimal point."""

SUBJECTS: Mapping[str, str] = MappingProxyType(
    {
        "tokens_per_param": "the compute-optimal number of tokens per parameter",
        "params": "the compute-optimal number of parameters",
        "tokens": "the compute-optimal number of training tokens",
        "loss": "the compute-optimal loss",
    }
)
"""Each as the subject of a sentence."""


def of_answers(answers: Mapping[str, Floats], quantity: str) -> Floats:
    """A quantity, from params, tokens and loss; of their shape."""
    if quantity != "tokens_per_param":
        return answers[quantity]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(answers["tokens"] / answers["params"])


def limits_of(draws: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Low, median and high (...) of draws (..., R) without their NaN; NaN where there is nothing else.

    The quantiles of `intervals.quantiles`, of rows with any number of NaN at once.
    """
    low, high = central_tails(level)
    ordered = np.sort(draws, axis=-1)  # NaN last
    last = np.maximum(np.sum(~np.isnan(ordered), axis=-1), 1) - 1
    found = []
    for probability in (low, 0.5, high):
        position = probability * last
        below = np.floor(position).astype(np.intp)
        above = np.minimum(below + 1, last)
        left, right = (np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0] for at in (below, above))
        found.append(interpolate(left, right, position - below))
    return found[0], found[1], found[2]
