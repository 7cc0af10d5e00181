"""Which runs of a table are at which IsoFLOP budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.validation import positive_array

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

CHINCHILLA_BUDGETS = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)
"""The nine budgets (FLOP) of Hoffmann et al. 2022, figure 3."""
LEAST_BUDGETS = 2
"""Fewer determine no power law."""
_LEAST_POINTS = 4


def grouped_by_budget(
    runs: Runs, budgets: ArrayLike | None, tolerance: float
) -> list[tuple[float, NDArray[np.intp]]]:
    """Budgets (FLOP), ascending, with the positions of their runs; the arguments are those of `isoflop`.

    Raises:
        UsageError: budgets that are not positive and finite.
        DataError: fewer than two budgets have four runs of three sizes.
    """
    if budgets is None:
        nominal = np.array(CHINCHILLA_BUDGETS) if runs.name == "chinchilla" else _shared(runs.flops)
    else:
        nominal = np.sort(np.atleast_1d(positive_array("budgets", budgets)))
    name = runs.name or "runs"
    if nominal.size < LEAST_BUDGETS:
        raise DataError(
            f"{name}: an IsoFLOP estimate needs {LEAST_BUDGETS} budgets, each shared by {_LEAST_POINTS} or "
            f"more runs; found {nominal.size}. If runs only lie near the budgets, give these (--budget, or "
            "budgets= in Python)"
        )
    nearest = np.abs(np.log(runs.flops[:, None] / nominal)).argmin(axis=1)
    close = np.abs(runs.flops / nominal[nearest] - 1) <= tolerance
    groups = []
    for i, budget in enumerate(nominal):
        rows = np.flatnonzero((nearest == i) & close)
        if len(rows) >= _LEAST_POINTS and len(np.unique(runs.params[rows])) >= 3:
            groups.append((float(budget), rows))
    if len(groups) < LEAST_BUDGETS:
        raise DataError(
            f"{name}: {len(groups)} budgets have {_LEAST_POINTS} runs of three sizes within "
            f"{tolerance:.0%}; an IsoFLOP estimate needs {LEAST_BUDGETS}"
        )
    return groups


def _shared(flops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Budgets shared by several runs to one part in a thousand."""
    ordered = np.sort(flops)
    splits = np.flatnonzero(np.diff(np.log(ordered)) > 1e-3) + 1
    groups = np.split(ordered, splits)
    return np.array([float(np.median(group)) for group in groups if len(group) >= _LEAST_POINTS])
