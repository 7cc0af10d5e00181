"""Planted errors against what was diagnosed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.perturbations import FAMILIES
from chinchilla_jax.plots.style import BLACK, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def plot_confusion(table: pd.DataFrame, ax: Axes | None = None) -> Figure:
    """Draw how many of the errors of each family (rows) were taken for each family (columns).

    Args:
        table: of `analysis.diagnosis.confusion`.
        ax: where to draw; None makes a figure.

    Returns:
        The figure.

    Raises:
        UsageError: the table is empty.
    """
    from matplotlib.figure import Figure

    if table.empty:
        raise UsageError("plot_confusion: the table is empty")
    if ax is None:
        ax = Figure(figsize=(4.6, 3.6), layout="constrained").subplots()
    families = [family for family in FAMILIES if family in set(table["planted"]) | set(table["diagnosed"])]
    pairs = list(zip(table["planted"], table["diagnosed"], strict=True))
    counts = np.array([[pairs.count((planted, found)) for found in families] for planted in families])
    ax.imshow(counts, cmap="Blues", vmin=0, vmax=max(2 * counts.max(), 1))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ax.annotate(str(count), (column, row), ha="center", va="center", color=BLACK)
    names = [family.replace("_", " ") for family in families]
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("diagnosed")
    ax.set_ylabel("planted")
    ax.grid(visible=False)
    return ax.figure  # type: ignore[return-value]
