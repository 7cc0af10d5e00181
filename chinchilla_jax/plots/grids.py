"""Budgets along which curves are drawn: those of the runs, those asked for, and two decades beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.intervals import COMPUTE_GRID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs

BEYOND = 100.0
"""Times the largest run, where curves end unless a larger budget is asked for."""
_POINTS, _SEARCHED_POINTS = 61, 21


def compute_grid(
    runs: Runs | None, asked: Sequence[float] = (), *, searched: bool = False
) -> NDArray[np.float64]:
    """Ascending budgets (FLOP), the ones asked for among them.

    Args:
        runs: what was fitted; None for a law without runs, whose curves span `COMPUTE_GRID`.
        asked: budgets that must be within.
        searched: whether each budget takes a search, so that fewer are taken.
    """
    if runs is None:
        low, high = float(COMPUTE_GRID[0]), float(COMPUTE_GRID[-1])
    else:
        low, high = float(runs.flops.min()), BEYOND * float(runs.flops.max())
    low, high = min([low, *asked]), max([high, *asked])
    return np.union1d(np.geomspace(low, high, _SEARCHED_POINTS if searched else _POINTS), asked)
