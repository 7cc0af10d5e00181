"""Figure: where one run more would narrow an answer most, over sizes and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.planning.design.diagnosis import TableDiagnosis


@styled
def information_map(
    found: TableDiagnosis, chosen: pd.DataFrame | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw where one run more would narrow the answer most, over the runs that there are.

    Runs that could have been left out are open circles.

    Args:
        found: of `planning.design.diagnose_table`.
        chosen: params and tokens of runs to train next, if there are any.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.
    """
    axes = panels(["information"], ax, size=(5.8, 4.4), shown=True).axes["information"]
    places, runs, target = found.map, found.runs, found.question.targets[0].words
    table = places.pivot(index="tokens", columns="params", values="gain")
    gain = 100 * np.maximum(table.to_numpy(np.float64), 0.0)
    drawn = axes.contourf(table.columns, table.index, gain, levels=12, cmap="Blues")
    bar = axes.figure.colorbar(drawn, ax=axes)
    bar.set_label(f"one run more narrows\n{target} by (%)")
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
    readable_axis(axes, "x", counts=True)
    readable_axis(axes, "y", counts=True)
    readable_axis(bar.ax, "y")
    legend_above(axes)
    return axes
