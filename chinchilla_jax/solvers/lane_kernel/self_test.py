"""Questions that freshly compiled code must answer correctly before it is used.

Another version of LLVM might accept the assembly and yet make something else of it; then XLA is used, as when
it does not accept it. The answers are constants, found without the kernel; a test computes them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.solvers.base import SolverOptions
from chinchilla_jax.solvers.lane_kernel.engine import LaneEngine
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

SEED, STREAM, IDS = 1, 2, np.array([0, 2**32 - 1], np.uint32)
BITS = [[4070644656, 36580199, 1387230422], [3741919493, 6939105, 2435621579]]
DELTA = 1e-3
START = np.array([-0.6, -0.5, 1.8, 0.3, 0.4])
THETA = [
    -0.6724420128255197,
    -0.3911521090908201,
    1.6819413738483961,
    0.3409129337583001,
    0.44822078820089856,
]
OBJECTIVE = 8.471954562849957e-06


def require_right_answers(kernel: Kernel) -> None:
    """Ask all entry points, in a millisecond.

    Raises:
        RuntimeError: an answer is wrong.
    """
    bits = kernel.random_bits(3, IDS, SEED, STREAM)
    counts = kernel.random_counts(3, IDS, SEED, STREAM)
    drawn = (bits.astype(np.int64) * 3) >> 32
    if bits.tolist() != BITS or not np.array_equal(counts, [np.bincount(row, minlength=3) for row in drawn]):
        raise RuntimeError("the compiled code draws wrong random numbers")
    slope, intercept = np.sin(np.arange(1400.0)).reshape(2, 700)
    places, ranks = np.linspace(-1.0, 2.0, 40), np.array([0, 69, 70, 350, 699])
    values = np.sort(np.multiply.outer(places, slope) + intercept, axis=1)
    if not np.array_equal(kernel.order_lines(slope, intercept, places, ranks), values[:, ranks].T):
        raise RuntimeError("the compiled code puts values in a wrong order")
    columns, weights = example()
    for given in (weights, weights.astype(np.float64)):
        widths = np.full(1, DELTA)
        engine = LaneEngine(kernel, columns.shape[1], SolverOptions(workers=1))
        ends = engine.fit_columns(columns, given, START[None, None], widths)
        right = (
            ends.status[0] == Status.CONVERGED
            and abs(ends.anchor_value[0] / OBJECTIVE - 1.0) < 1e-10
            and np.allclose(ends.theta[0], THETA, rtol=1e-8, atol=0.0)
        )
        if not right:
            raise RuntimeError("the compiled code finds a wrong optimum")


def example() -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Columns (3, n) and weights (1, n) of runs scattered about a law, some beyond the quadratic zone."""
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(-1.5, 1.5, 5), np.linspace(-1.4, 1.6, 4)))
    k = np.arange(len(u))
    scatter = 1e-4 * ((37 * k) % 41 - 20)
    loss = np.exp(-0.7 - 0.35 * u) + np.exp(-0.4 - 0.45 * v) + 1.7
    return np.stack([u, v, np.log(loss) + scatter]), (k % 3).astype(np.uint8)[None]
