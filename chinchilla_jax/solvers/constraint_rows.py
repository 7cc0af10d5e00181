"""Which row of the constraints belongs to which run or coordinate.

The notation is that of least_absolute.py: constraints C (p, p) with values c (p,) and multipliers nu (p,), of
active runs (r_i = 0) and of held coordinates (theta_j = 0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class ConstraintRows:
    """The rows of R lanes.

    Attributes:
        runs: lane, run and row of every active run.
        bounds: lane, coordinate and row of every held coordinate.
    """

    def __init__(self, active: NDArray[np.bool_], held: NDArray[np.bool_]) -> None:
        """Number the rows of the active runs (R, n), then of the held coordinates (R, p)."""
        self.shapes = active.shape, held.shape
        lane, run = np.nonzero(active)
        self.runs = lane, run, (np.cumsum(active, axis=1) - 1)[lane, run]
        lane, coordinate = np.nonzero(held)
        row = (np.cumsum(held, axis=1) - 1)[lane, coordinate] + active.sum(axis=1)[lane]
        self.bounds = lane, coordinate, row

    def filled(self, theta: Floats, residual: Floats, jacobian: Floats) -> tuple[Floats, Floats]:
        """C (R, p, p) and c (R, p); rows of zeros are no constraints.

        Args:
            theta: (R, p).
            residual: (R, n).
            jacobian: (R, n, p).
        """
        count, p = theta.shape
        constraint, value = np.zeros((count, p, p)), np.zeros((count, p))
        lane, run, row = self.runs
        constraint[lane, row], value[lane, row] = jacobian[lane, run], residual[lane, run]
        lane, coordinate, row = self.bounds
        constraint[lane, row, coordinate], value[lane, row] = 1.0, theta[lane, coordinate]
        return constraint, value

    def of_runs(self, nu: Floats) -> Floats:
        """Multipliers (R, p) as those of the runs, (R, n)."""
        return self._spread(nu, self.shapes[0], *self.runs)

    def of_bounds(self, nu: Floats) -> Floats:
        """Those of the held coordinates, (R, p)."""
        return self._spread(nu, self.shapes[1], *self.bounds)

    @staticmethod
    def _spread(
        nu: Floats,
        shape: tuple[int, ...],
        lane: NDArray[np.intp],
        column: NDArray[np.intp],
        row: NDArray[np.intp],
    ) -> Floats:
        found = np.zeros(shape)
        found[lane, column] = nu[lane, row]
        return found
