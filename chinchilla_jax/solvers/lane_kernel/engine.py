"""The lane kernel as an engine: arrays in, arrays out, any number of threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS
from chinchilla_jax.solvers.lane_kernel.entry_points import FIT_LANES
from chinchilla_jax.solvers.lane_kernel.shapes import (
    BLOCK,
    N_SUMS,
    N_SYSTEMS,
    N_VECTORS,
    PAD,
    ROW,
    SIZE,
    WIDE,
)
from chinchilla_jax.solvers.thresholds import PROBES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.base import SolverOptions
    from chinchilla_jax.solvers.batch import Batch
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

# Lanes per call. With several threads, a few milliseconds' worth, so that they finish together; with one, as
# many as there are, since returning to Python means waiting for the other threads of the process.
_LANES, _LANES_ALONE = 1024, 65536
_MOST_NUMBERS = 2**24  # lanes times runs: residuals of a call, where its starts are far
_LEAST_ALONE = 512
_BRIEF = 64  # starts of a call that keeps the GIL: a few milliseconds at most


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


class LaneEngine:
    """Fits lanes one after the other; a lane's result does not depend on the others.

    Args:
        kernel: the compiled code.
        n_runs: runs of every table.
        options: how hard to try.
    """

    def __init__(self, kernel: Kernel, n_runs: int, options: SolverOptions) -> None:
        """Keep the arguments."""
        self.kernel, self.n_runs, self.options = kernel, n_runs, options
        self.workers = options.workers or available_cores()

    def lanes_per_call(self, count: int) -> int:
        """How many of `count` lanes a call should be given."""
        alone = min(max(_MOST_NUMBERS // self.n_runs, _LEAST_ALONE), _LANES_ALONE)
        return min(_LANES if self.workers > 1 else alone, max(-(-count // self.workers), 1))

    def __call__(
        self,
        batch: Batch,
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> EngineResult:
        """Fit R lanes from the best of their starts (K, R, 5), best guess first, one data set after another.

        Zone half-widths (R,): the objective's own, and the one to begin with.
        """
        ends, scratch = _room(len(batch)), _scratch(batch.n_runs)
        for problem, lanes in batch.data_sets():
            part = EngineResult(**{name: each[lanes] for name, each in ends._asdict().items()})
            columns, weights = problem.design.columns, batch[lanes].own
            self._fit(columns, weights, starts[:, lanes], widths[lanes], first_width[lanes], part, scratch)
            if not isinstance(lanes, slice):  # a slice is a view
                for whole, each in zip(ends, part, strict=True):
                    whole[lanes] = each
        ENGINE_CALLS.add(len(batch))
        return ends

    def fit_columns(
        self,
        columns: NDArray[np.float64],
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
    ) -> EngineResult:
        """Fit R lanes of one data set: columns (3, n), weights (R, n) or (1, n), starts (K, R, 5)."""
        ends = _room(len(widths))
        self._fit(columns, weights, starts, widths, widths, ends, _scratch(columns.shape[1]))
        return ends

    def _fit(
        self,
        columns: NDArray[np.float64],
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
        ends: EngineResult,
        scratch: dict[str, NDArray[Any]],
    ) -> None:
        """Fit R lanes of one data set, `ends` written to in place."""
        ranks, lanes = starts.shape[:2]
        n_runs = columns.shape[1]
        # Bootstrap counts stay bytes: the kernel converts them lane by lane.
        if weights.dtype == np.uint8:
            real, counts = np.empty((0, n_runs)), np.ascontiguousarray(weights)
        else:
            real, counts = np.ascontiguousarray(weights, np.float64), np.empty((0, n_runs), np.uint8)
        self.kernel.call(
            FIT_LANES,
            brief=lanes * ranks <= _BRIEF,
            n_runs=n_runs,
            lanes=lanes,
            ranks=ranks,
            n_weights=len(real),
            n_counts=len(counts),
            float32_steps=self.options.float32_steps,
            float64_steps=self.options.float64_steps,
            search_after=self.options.search_after,
            room=len(scratch["runs"]),
            tolerance=self.options.tolerance,
            columns=columns,
            weights=real,
            counts=counts,
            starts=np.ascontiguousarray(starts, np.float64),
            target_width=np.ascontiguousarray(widths, np.float64),
            first_width=np.ascontiguousarray(first_width, np.float64),
            **scratch,
            **ends._asdict(),
        )


def _room(lanes: int) -> EngineResult:
    """Where the kernel puts the ends of so many lanes."""
    return EngineResult(
        theta=np.empty((lanes, SIZE)),
        anchor=np.empty((lanes, SIZE)),
        anchor_value=np.empty(lanes),
        decrement=np.empty(lanes),
        width=np.empty(lanes),
        status=np.empty(lanes, np.int64),
        steps=np.empty(lanes, np.int64),
    )


def _scratch(n_runs: int) -> dict[str, NDArray[Any]]:
    """Where the kernel works on a lane of so many runs."""
    room = -(-(n_runs + PAD) // ROW) * BLOCK
    return {
        "row": np.empty(n_runs),
        "index": np.empty(n_runs, np.int64),
        "runs": np.empty(room),
        "runs32": np.empty(room, np.float32),
        "vectors": np.empty((N_VECTORS, SIZE)),
        "matrix": np.empty((SIZE, SIZE)),
        "systems": np.empty((N_SYSTEMS, WIDE)),
        "sums": np.empty(N_SUMS),
        "found": np.empty(len(PROBES)),
    }
