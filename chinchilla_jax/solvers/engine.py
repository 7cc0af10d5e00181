"""What an engine takes and gives: the contract of the CPU kernel and of XLA for the five-parameter law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class EngineResult(NamedTuple):
    """Where an engine left R lanes.

    Attributes:
        theta: (R, 5) after the last step.
        anchor: (R, 5) last accepted points.
        anchor_value: (R,) objective there; inf where the zone has just been narrowed.
        decrement: (R,) there.
        width: (R,) half-width of the zone in the end.
        status: (R,) a `Status`, or RUNNING for a lane that ran out of steps.
        steps: (R,) in both precisions.
    """

    theta: NDArray[np.float64]
    anchor: NDArray[np.float64]
    anchor_value: NDArray[np.float64]
    decrement: NDArray[np.float64]
    width: NDArray[np.float64]
    status: NDArray[np.integer]
    steps: NDArray[np.integer]


class Engine(Protocol):
    """What runs the Newton steps of a chunk of lanes on one data set."""

    workers: int  # calls that may run at the same time

    def lanes_per_call(self, count: int) -> int:
        """How many of `count` lanes a call should be given."""
        ...

    def __call__(
        self,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> EngineResult:
        """Fit R lanes from the best of their starts (K, R, 5), best guess first.

        Weights are (R, n) or (1, n); zone half-widths (R,), the objective's own and the one to begin with.
        """
        ...
