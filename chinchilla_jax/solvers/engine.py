"""What an engine takes and gives: the contract of the CPU kernel and of XLA for the five-parameter law."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.batch import Batch


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
    """What runs the Newton steps of a chunk of lanes, on any number of data sets."""

    workers: int  # calls that may run at the same time

    def lanes_per_call(self, count: int) -> int:
        """How many of `count` lanes a call should be given."""
        ...

    def __call__(
        self,
        batch: Batch,
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> EngineResult:
        """Fit R lanes from the best of their starts (K, R, 5), best guess first.

        Zone half-widths (R,): the objective's own, and the one to begin with.
        """
        ...


class CallCounter:
    """How often the engines of this process were called, and with how many lanes; any thread may count.

    Where fits are many and small, what a study takes is the number of calls.

    Attributes:
        calls: so far.
        lanes: of all of them together.
    """

    def __init__(self) -> None:
        """No call yet."""
        self.calls = self.lanes = 0
        self._lock = threading.Lock()

    def add(self, lanes: int) -> None:
        """Count a call."""
        with self._lock:
            self.calls += 1
            self.lanes += lanes


ENGINE_CALLS = CallCounter()
