"""The lane kernel as an engine: arrays in, arrays out, any number of threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.solvers.base import Ends
from chinchilla_jax.solvers.lane_kernel.entries import FIT_LANES
from chinchilla_jax.solvers.lane_kernel.object_code import load
from chinchilla_jax.solvers.lane_kernel.shapes import BLOCK, N_SUMS, N_VECTORS, PAD, ROW, SIZE
from chinchilla_jax.solvers.thresholds import PROBES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.solvers.base import SolverOptions

# Lanes of a call. Among threads of one batch some milliseconds' worth, so that they finish together; alone as
# many as there are, since coming back into Python costs a wait for the other threads of the process.
_LANES, _LANES_ALONE = 1024, 8192
_BRIEF = 64  # starts of a call that keeps Python's lock: a millisecond or a few


class LaneEngine:
    """Fits lanes one after the other; a lane's result does not depend on the others."""

    def __init__(self, design: Design, options: SolverOptions) -> None:
        """Take the runs and the limits; the kernel is loaded, or compiled, here."""
        self.columns = design.columns
        self.limits = (options.float32_steps, options.float64_steps, options.search_after)
        self.tolerance = options.tolerance
        self.workers = options.workers or available_cores()
        load(FIT_LANES)

    def lanes_per_call(self, count: int) -> int:
        """See `Engine`."""
        most = _LANES if self.workers > 1 else _LANES_ALONE
        return min(most, max(-(-count // self.workers), 1))

    def __call__(
        self,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> Ends:
        """Fit R lanes. See `Engine`."""
        ranks, lanes = starts.shape[:2]
        n_runs = self.columns.shape[1]
        # Counts of a bootstrap stay bytes: the kernel makes numbers of them lane by lane.
        if weights.dtype == np.uint8:
            real, counts = np.empty((0, n_runs)), np.ascontiguousarray(weights)
        else:
            real, counts = np.ascontiguousarray(weights, np.float64), np.empty((0, n_runs), np.uint8)
        room = -(-(n_runs + PAD) // ROW) * BLOCK
        ends = Ends(
            theta=np.empty((lanes, SIZE)), anchor=np.empty((lanes, SIZE)), anchor_value=np.empty(lanes),
            decrement=np.empty(lanes), width=np.empty(lanes), status=np.empty(lanes, np.int64),
            steps=np.empty(lanes, np.int64),
        )  # fmt: skip
        inputs = (starts, widths, first_width)
        scratch = (
            np.empty(n_runs), np.empty(n_runs, np.int64), np.empty(room), np.empty(room, np.float32),
            np.empty((N_VECTORS, SIZE)), np.empty((SIZE, SIZE)), np.empty(N_SUMS), np.empty(len(PROBES)),
        )  # fmt: skip
        arrays = [
            self.columns,
            real,
            counts,
            *(np.ascontiguousarray(x, np.float64) for x in inputs),
            *scratch,
            *ends,
        ]
        brief = lanes * ranks <= _BRIEF
        load(FIT_LANES, brief=brief)(
            n_runs, lanes, ranks, len(real), len(counts), *self.limits, room, self.tolerance,
            *(array.ctypes.data for array in arrays),
        )  # fmt: skip
        return ends
