"""Figure: predicted losses with the intervals of the law and of one new run; a run under way beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import percent_text, quantity_label
from chinchilla_jax.planning.prediction_against import Against
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, BLUE, SKY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chinchilla_jax.planning.prediction import Prediction


@styled
def prediction(found: Prediction | Against, *, ax: Axes | None = None) -> Axes:
    """Draw predicted losses against compute, or a run under way against the tokens it has seen.

    Args:
        found: of `chinchilla_jax.predict`, or of `planning.predict_against`.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.
    """
    axes = panels(["loss"], ax, size=(5.8, 4.0), shown=True).axes["loss"]
    under_way = isinstance(found, Against)
    x, asked = ("tokens", found.prediction) if isinstance(found, Against) else ("flops", found)
    rows = found.table.sort_values(x)
    at, loss = (rows[name].to_numpy(np.float64) for name in (x, "loss"))
    axes.set_xscale("log")
    level = percent_text(asked.level)
    bands = {f"one new run, {level}": ("new_run", SKY, 2.4), f"the law, {level}": ("mean", BLUE, 1.2)}
    for label, (name, colour, width) in bands.items():
        low, high = (rows[f"{name}_{end}"].to_numpy(np.float64) for end in ("low", "high"))
        if under_way:
            axes.fill_between(at, low, high, color=colour, alpha=0.35, linewidth=0.0, label=label)
        else:
            axes.errorbar(
                at, loss, yerr=np.maximum([loss - low, high - loss], 0.0), fmt="none", ecolor=colour,
                elinewidth=width, label=label,
            )  # fmt: skip
    axes.plot(at, loss, "-" if under_way else "o", color=BLACK, label="predicted")
    if under_way:
        axes.plot(at, rows["observed"], color=VERMILLION, marker="o", linestyle="-", label="the run")
    low, high = axes.get_xlim()
    # FLOP per token of a run under way are the same at all its places.
    largest = asked.largest_flops / (float((rows["flops"] / rows["tokens"]).median()) if under_way else 1.0)
    if largest > low:
        shade_runs(axes, low, min(largest, high), label="no larger than the runs")
        axes.set_xlim(low, high)
    axes.set_xlabel(quantity_label(x))
    axes.set_ylabel(quantity_label("loss", asked.loss_unit))
    readable_axis(axes, "x", counts=under_way)
    readable_axis(axes, "y")
    legend_above(axes)
    return axes
