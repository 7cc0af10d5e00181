"""The space that the columns of a Jacobian span."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEPENDENT = 1e-10  # singular value, relative to the largest, below which columns depend on each other


def orthonormal_basis(jacobian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns (n, k) that span those of a Jacobian (n, p), each scaled to length one first.

    Columns that vanish, are not finite or depend on others add none.
    """
    norms = np.linalg.norm(jacobian, axis=0)
    usable = np.isfinite(norms) & (norms > 0)
    # An index changes the order in memory, and with it the last digit.
    kept, norms = (jacobian, norms) if usable.all() else (jacobian[:, usable], norms[usable])
    left, sizes, _ = np.linalg.svd(kept / norms, full_matrices=False)
    return np.asarray(left[:, sizes > _DEPENDENT * sizes.max(initial=0.0)])
