"""Where fits of the law begin: the published grid.

Notation
    logs       (ln A, ln B, ln E, alpha, beta), natural units; (..., 5)
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Coprime to 4,500: the first k multiples visit all corners of the grid before repeating any.
_STRIDE = 1009


@functools.cache
def published_grid() -> NDArray[np.float64]:
    """The 4,500 starts of Hoffmann et al. 2022 (arXiv:2203.15556, section D.4) as logs (4500, 5)."""
    a = b = np.arange(0.0, 26.0, 5.0)
    e = np.arange(-1.0, 1.01, 0.5)
    exponent = np.arange(0.0, 2.01, 0.5)
    grid = np.array(list(itertools.product(a, b, e, exponent, exponent)))
    grid.setflags(write=False)
    return grid


def grid_starts(count: int | None = None) -> NDArray[np.float64]:
    """`count` starts spread over the published grid (all of it by default), logs (count, 5)."""
    grid = published_grid()
    if count is None or count == len(grid):
        return grid
    return grid[np.arange(count) * _STRIDE % len(grid)]
