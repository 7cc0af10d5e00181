"""What happened to one fit, in a word and in a sentence."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Status(enum.IntEnum):
    """Outcome of one lane (one fit). Nothing else leaves a solver, and no NaN without one of these."""

    CONVERGED = 0
    MAX_STEPS = 1
    UNIDENTIFIED = 2
    INVALID = 3

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.CONVERGED: "The fit is certified as an optimum: its certificate is within tolerance.",
    Status.MAX_STEPS: (
        "The fit could not be certified, usually because the step limit was reached, so no optimum is "
        "claimed; more steps (SolverOptions(max_steps=...) in Python) may help."
    ),
    Status.UNIDENTIFIED: (
        "The data do not determine every parameter of the law: the best one has E = 0 (ln E runs off to "
        "minus infinity), an exponent runs off, a term vanishes, or the Hessian is singular; use more runs "
        "or a wider range of sizes and tokens."
    ),
    Status.INVALID: (
        "A parameter count, token count or loss is not positive and finite, so its logarithm does not exist; "
        "use a smaller perturbation."
    ),
}

STATUS_NAMES: tuple[str, ...] = tuple(status.name for status in Status)


def status_counts(codes: NDArray[np.integer]) -> dict[str, int]:
    """Number of lanes per status name, from their codes (R,)."""
    counts = np.bincount(codes, minlength=len(STATUS_NAMES))
    return {name: int(count) for name, count in zip(STATUS_NAMES, counts, strict=True)}
