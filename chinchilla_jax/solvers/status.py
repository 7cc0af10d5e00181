"""What happened to one fit, in a word and in a sentence."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.blocks import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Status(enum.IntEnum):
    """Outcome of one lane (one fit). Nothing else leaves a solver, and no NaN without one of these.

    Example:
        >>> cj.Status.BOUNDARY.sentence
        'The fit is certified as an optimum at the bound E = 0: the best law for these runs has no irreducible
        loss; runs with more compute, where the loss levels off, would show one.'
        >>> [status.name for status in cj.Status]
        ['CONVERGED', 'MAX_STEPS', 'UNIDENTIFIED', 'INVALID', 'BOUNDARY']
    """

    CONVERGED = 0
    MAX_STEPS = 1
    UNIDENTIFIED = 2
    INVALID = 3
    BOUNDARY = 4

    def __str__(self) -> str:
        """Its name."""
        return self.name

    def __format__(self, spec: str) -> str:
        """Its name, as `print` and f-strings show it; a number's spec such as "d" formats the code."""
        return format(int(self), spec) if spec[-1:] in tuple("bcdoxXn") else format(self.name, spec)

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return _SENTENCES[self]

    @property
    def certified(self) -> bool:
        """Whether an optimum was found and proved to be one: inside, or at the bound E = 0."""
        return self in (Status.CONVERGED, Status.BOUNDARY)


_SENTENCES = {
    Status.CONVERGED: "The fit is certified as an optimum: its certificate is within tolerance.",
    Status.MAX_STEPS: (
        "The fit could not be certified, usually because the step limit was reached, so no optimum is "
        "claimed; more steps (SolverOptions(max_steps=...) in Python) may help."
    ),
    Status.UNIDENTIFIED: (
        "The data do not determine every parameter of the law: an exponent runs off, a term vanishes, or the "
        "Hessian is singular; use more runs or a wider range of sizes and tokens."
    ),
    Status.INVALID: (
        "A parameter count, token count or loss is not positive and finite, so its logarithm does not exist; "
        "use a smaller perturbation."
    ),
    Status.BOUNDARY: (
        "The fit is certified as an optimum at the bound E = 0: the best law for these runs has no "
        "irreducible loss; runs with more compute, where the loss levels off, would show one."
    ),
}

# As plain integers, which NumPy compares in a tenth of the time.
_CONVERGED, _BOUNDARY = int(Status.CONVERGED), int(Status.BOUNDARY)
STATUS_NAMES: tuple[str, ...] = tuple(status.name for status in Status)


def is_certified(codes: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which lanes have a certified optimum, inside or at the bound E = 0, from their codes (R,)."""
    return (codes == _CONVERGED) | (codes == _BOUNDARY)


def status_counts(codes: NDArray[np.integer]) -> dict[str, int]:
    """Number of lanes per status name, from their codes (R,)."""
    counts = np.zeros(len(STATUS_NAMES), np.intp)
    for lanes in blocks(len(codes)):  # of which np.bincount makes int64
        counts += np.bincount(codes[lanes], minlength=len(counts))
    return dict(zip(STATUS_NAMES, counts.tolist(), strict=True))
