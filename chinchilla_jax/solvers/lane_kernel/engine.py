"""The lane kernel as an engine: arrays in, arrays out, any number of threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS
from chinchilla_jax.solvers.lane_kernel.many_calls import Parts
from chinchilla_jax.solvers.lane_kernel.shapes import (
    BLOCK,
    CACHE_LINE,
    N_SUMS,
    N_SYSTEMS,
    N_VECTORS,
    PAD,
    ROW,
    SIZE,
    WIDE,
)

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
_MOST_LANES = 16384  # of several data sets in a call: a few tenths of a second
_BRIEF = 64  # starts of a call that keeps the GIL: a few milliseconds at most


class EngineResult(NamedTuple):
    """Where an engine left R lanes.

    Attributes:
        theta: (R, 5) after the last step.
        anchor: (R, 5) last accepted points.
        anchor_value: (R,) objective there; inf where the zone has just been narrowed.
        decrement: (R,) there.
        width: (R,) half-width of the zone in the end.
        status: (R,) a `Status`; RUNNING for a lane that ran out of steps, HOPELESS for one that was ended as
            that, MET - k for one that was ended where the k-th of its tries was.
        steps: (R,) in both precisions.
    """

    theta: NDArray[np.float64]
    anchor: NDArray[np.float64]
    anchor_value: NDArray[np.float64]
    decrement: NDArray[np.float64]
    width: NDArray[np.float64]
    status: NDArray[np.integer]
    steps: NDArray[np.integer]

    def of_lanes(self, lanes: NDArray[np.intp] | slice) -> EngineResult:
        """Those lanes."""
        return EngineResult(
            self.theta[lanes],
            self.anchor[lanes],
            self.anchor_value[lanes],
            self.decrement[lanes],
            self.width[lanes],
            self.status[lanes],
            self.steps[lanes],
        )


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
        tries: int = 1,
    ) -> EngineResult:
        """Fit R lanes from the best of their starts (K, R, 5), best guess first, in a few calls.

        Zone half-widths (R,): the objective's own, and the one to begin with. So many lanes as there are
        `tries` follow each other on each row of weights.
        """
        ends = _room(len(batch))
        if not len(batch):
            return ends
        first = np.concatenate([[0], np.flatnonzero(np.diff(batch.condition)) + 1])
        lanes = np.diff(first, append=len(batch))
        columns = Parts(batch.tables.columns, batch.condition[first])
        some = batch[::tries] if tries > 1 else batch
        rows, n_rows = _weights(some, first // tries, lanes // tries)
        self._fit(_Calls(first, lanes, columns, rows, n_rows, tries), starts, widths, first_width, ends)
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
        ends, none = _room(len(widths)), np.zeros(1, np.intp)
        of_all = Parts(np.ascontiguousarray(columns)[None], none)
        lanes, rows = np.array([len(widths)]), np.array([len(weights)])
        calls = _Calls(none, lanes, of_all, Parts(weights, none), rows, tries=1)
        self._fit(calls, starts, widths, widths, ends)
        return ends

    def _fit(
        self,
        calls: _Calls,
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
        ends: EngineResult,
    ) -> None:
        """Fit R lanes, `ends` written to in place."""
        ranks, n_runs = len(starts), calls.columns.array.shape[-1]
        weights, none = calls.weights.array, np.zeros(1, np.intp)
        # Bootstrap counts stay bytes: the kernel converts them lane by lane.
        counted = weights.dtype == np.uint8
        rows = calls.weights._replace(array=np.ascontiguousarray(weights, None if counted else np.float64))
        scratch = _scratch(n_runs)
        cuts = np.flatnonzero(np.diff(calls.first // _MOST_LANES)) + 1
        self.kernel.fit_lanes(
            np.concatenate([[0], cuts, [len(calls.first)]]),
            brief=len(widths) * ranks <= _BRIEF,
            n_runs=n_runs,
            lanes=calls.lanes,
            ranks=ranks,
            n_weights=0 if counted else calls.n_weights,
            n_counts=calls.n_weights if counted else 0,
            tries=calls.tries,
            float32_steps=self.options.float32_steps,
            float64_steps=self.options.float64_steps,
            search_after=self.options.search_after,
            room=len(scratch["runs"]),
            tolerance=self.options.tolerance,
            columns=calls.columns,
            weights=Parts(np.empty((0, n_runs)), none) if counted else rows,
            counts=rows if counted else Parts(np.empty((0, n_runs), np.uint8), none),
            starts=_in_parts(starts, calls),
            target_width=Parts(np.ascontiguousarray(widths, np.float64), calls.first),
            first_width=Parts(np.ascontiguousarray(first_width, np.float64), calls.first),
            **scratch,
            **{name: Parts(each, calls.first) for name, each in ends._asdict().items()},
        )


class _Calls(NamedTuple):
    """Calls of the kernel for lanes of one data set each.

    Attributes:
        first: (C,) first lane of each.
        lanes: (C,) how many.
        columns: of the runs, (3, n) for each.
        weights: (R, n) or (1, n) for each.
        n_weights: (C,) rows of these.
        tries: lanes of each row.
    """

    first: NDArray[np.intp]
    lanes: NDArray[np.intp]
    columns: Parts
    weights: Parts
    n_weights: NDArray[np.intp]
    tries: int


def _weights(
    batch: Batch, first: NDArray[np.intp], lanes: NDArray[np.intp]
) -> tuple[Parts, NDArray[np.intp]]:
    """The weights for calls that take `lanes` (C,) lanes from `first` (C,) on: where, and how many rows.

    One row where all lanes of a call have the same; without a copy where all others have rows in order.
    """
    row = batch.row
    since = np.arange(len(row)) - np.repeat(first, lanes)
    beyond = row - np.repeat(row[first], lanes)
    same = np.logical_and.reduceat(beyond == 0, first)
    if np.all(same | np.logical_and.reduceat(beyond == since, first)):
        return Parts(np.asarray(batch.weights), row[first]), np.where(same, 1, lanes)
    return Parts(batch.rows, first), lanes


def _in_parts(starts: NDArray[np.float64], calls: _Calls) -> Parts:
    """Starts (K, R, 5) as (K, lanes, 5) for each call."""
    ranks, lanes, size = starts.shape
    if ranks == 1 or len(calls.first) == 1:
        return Parts(np.ascontiguousarray(starts, np.float64).reshape(-1, size), ranks * calls.first)
    found = np.empty((lanes * ranks, size))
    for first, count in zip(calls.first.tolist(), calls.lanes.tolist(), strict=True):
        part = found[ranks * first : ranks * (first + count)].reshape(ranks, count, size)
        part[:] = starts[:, first : first + count]
    return Parts(found, ranks * calls.first)


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
        "runs": _aligned(room, np.float64),
        "runs32": _aligned(room, np.float32),
        "vectors": np.empty((N_VECTORS, SIZE)),
        "matrix": np.empty((SIZE, SIZE)),
        "systems": np.empty((N_SYSTEMS, WIDE)),
        "sums": np.empty(N_SUMS),
    }


def _aligned(size: int, kind: type[np.floating[Any]]) -> NDArray[Any]:
    """An array that begins with a cache line: a vector that crosses into the next takes twice as long."""
    n_bytes = size * np.dtype(kind).itemsize
    room = np.empty(n_bytes + CACHE_LINE, np.uint8)
    first = -room.ctypes.data % CACHE_LINE
    return room[first : first + n_bytes].view(kind)
