"""Newton's system under equality constraints, split into what they fix and the null space they leave.

The notation is that of least_absolute.py: constraints C (m, p), Hessian H (p, p), multipliers nu (m,).
(Nocedal & Wright, Numerical Optimization, 16.2, the null-space method.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DEPENDENT = 1e-10  # singular value of C, relative to the largest, below which constraints depend
_CURVED = 1e-9  # eigenvalue of H on the null space, relative to sum_i w_i J_i J_i', that counts as positive
_OUTSIDE = 1e3  # eigenvalue given to the directions outside the null space


class ReducedSystem:
    """The systems of R lanes; rows of zeros in C are no constraints.

    Attributes:
        hessian: (R, p, p).
        curved: (R,) H is positive definite on the null space.
    """

    def __init__(self, constraint: Floats, hessian: Floats) -> None:
        """Take C and H, both (R, p, p)."""
        self.hessian = hessian
        p = hessian.shape[-1]
        self._left, singular, right = np.linalg.svd(constraint)
        self._kept = singular > _DEPENDENT * np.maximum(singular.max(axis=1, keepdims=True), 1e-300)
        self._inverse = np.where(self._kept, 1.0 / np.where(self._kept, singular, 1.0), 0.0)
        self._right = np.swapaxes(right, 1, 2)
        free = self._right * ~self._kept[:, None]
        self._null = np.einsum("rjm,rkm->rjk", free, free)
        inside = np.einsum("rjk,rkl,rlm->rjm", self._null, hessian, self._null)
        values, self._vectors = np.linalg.eigh(inside + _OUTSIDE * (np.eye(p) - self._null))
        self.curved = values[:, 0] > _CURVED
        self._curvature = np.maximum(np.abs(values), _CURVED)

    def step(self, gradient: Floats, value: Floats) -> Floats:
        """The step (R, p) to where the constraints are zero and the gradient on the null space vanishes."""
        along = np.einsum("rmj,rm->rj", self._left, value) * self._inverse
        normal = -np.einsum("rkj,rj->rk", self._right, along)
        downhill = np.einsum(
            "rjk,rk->rj", self._null, gradient + np.einsum("rjk,rk->rj", self.hessian, normal)
        )
        components = np.einsum("rkj,rk->rj", self._vectors, downhill) / self._curvature
        return normal - np.einsum("rjk,rk->rj", self._vectors, components)

    def multipliers(self, gradient: Floats) -> Floats:
        """The nu (R, p) that balance this gradient (R, p) best; the smallest ones where several do."""
        along = np.einsum("rkj,rk->rj", self._right, gradient) * self._inverse
        return -np.einsum("rmj,rj->rm", self._left, along)
