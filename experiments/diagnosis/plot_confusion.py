"""Figure: planted errors against diagnosed ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from chinchilla_jax.perturbations import FAMILIES
from chinchilla_jax.plots.styles import BLACK, styled


@styled
def plot_confusion(table: pd.DataFrame) -> Figure:
    """Draw the number of errors by planted family (rows) and diagnosed family (columns).

    Args:
        table: of `analysis.confusion`.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    ax = figure.subplots()
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
    return figure
