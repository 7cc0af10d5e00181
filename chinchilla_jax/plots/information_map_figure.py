"""Figure: where one run more would narrow an answer most, over sizes and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, VERMILLION, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def information_map(
    places: pd.DataFrame,
    runs: pd.DataFrame,
    chosen: pd.DataFrame | None = None,
    *,
    target: str = "the target",
    ax: AxesLike = None,
) -> Figure:
    """Draw `TableDiagnosis.map` with the runs, and those that could have been left out as open circles.

    Args:
        places: params, tokens and gain on a grid.
        runs: params, tokens, left_out.
        chosen: params and tokens of runs to train next, if there are any.
        target: what the gain is of, for the label.
        ax: one Axes; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["information"], ax, size=(5.6, 4.2))
    axes = where.axes["information"]
    table = places.pivot(index="tokens", columns="params", values="gain")
    gain = 100 * np.maximum(table.to_numpy(np.float64), 0.0)
    drawn = axes.contourf(table.columns, table.index, gain, levels=12, cmap="Blues")
    bar = axes.figure.colorbar(drawn, ax=axes)
    bar.set_label(f"one run more narrows {target} by (%)")
    for left_out, face, label in ((False, BLACK, "runs"), (True, "none", "could have been left out")):
        of = runs[runs["left_out"] == left_out]
        if len(of):
            axes.scatter(of["params"], of["tokens"], s=14, facecolors=face, edgecolors=BLACK, label=label)
    if chosen is not None and len(chosen):
        axes.scatter(
            chosen["params"], chosen["tokens"], s=60, marker="*", color=VERMILLION, label="to train next"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(quantity_label("params"))
    axes.set_ylabel(quantity_label("tokens"))
    axes.legend(loc="upper left")
    return where.figure
