"""Figure: how narrow an answer new runs make for what they cost, and where the chosen ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLUE, GREY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chinchilla_jax.planning.design.result import NextRuns


@styled
def next_runs(found: NextRuns, *, axes: AxesLike = None) -> tuple[Axes, Axes]:
    """Draw what new runs narrow and cost, with the choices that were simulated, and where they are.

    Args:
        found: of `chinchilla_jax.next_runs`.
        axes: where to draw (price, runs); None for a new figure.

    Returns:
        Both Axes.
    """
    where = panels(["price", "runs"], axes, columns=2, size=(9.4, 4.2), shown=True)
    price, places = where.axes.values()
    first = found.widths.iloc[0]
    price.set_xscale("log")
    price.axhline(first["before"], color=GREY, linestyle=":", label="without new runs")
    price.plot(
        found.prices["flops"], found.prices["linear"], ".-", color=BLUE, linewidth=1.0,
        label="the best, estimated without simulation",
    )  # fmt: skip
    simulated = found.choices[found.choices["flops"] > 0]
    for chosen, marker, colour, label in (
        (False, "o", GREY, "other choices, simulated"), (True, "*", VERMILLION, "the chosen runs, simulated"),
    ):  # fmt: skip
        rows = simulated[simulated["chosen"] == chosen]
        if len(rows):
            price.errorbar(
                rows["flops"], rows["after"], yerr=rows["error"], color=colour, linestyle="none",
                marker=marker, markersize=9 if chosen else 4, linewidth=0.9, zorder=4, label=label,
            )  # fmt: skip
    price.set_ylim(bottom=0.0)
    price.set_xlabel("training compute of the new runs (FLOP)")
    log = "log " if first["scale"] == "ln" else ""
    price.set_ylabel(f"{log}width of {found.question.targets[0].words}")
    runs = found.question.runs
    places.set_xscale("log")
    places.set_yscale("log")
    places.plot(runs.params, runs.tokens, ".", color=GREY, markersize=4, label="runs of the table")
    places.plot(
        found.table["params"],
        found.table["tokens"],
        "*",
        color=VERMILLION,
        markersize=9,
        label="to train next",
    )
    places.set_xlabel(quantity_label("params"))
    places.set_ylabel(quantity_label("tokens"))
    readable_axis(price, "x")
    readable_axis(price, "y")
    readable_axis(places, "x", counts=True)
    readable_axis(places, "y", counts=True)
    legend_above(price)
    legend_above(places)
    return price, places
