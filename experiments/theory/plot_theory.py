"""Figure: closed forms and the fits of a study, a row of panels per family, a column per quantity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chinchilla_jax._util.text import number_text
from chinchilla_jax.laws.compute import GOPHER_FLOPS
from chinchilla_jax.plots.styles import BLUE, VERMILLION, styled
from chinchilla_jax.plots.sweeps import SWEEPS
from chinchilla_jax.plots.ticks import readable_axis

_SHOWN = (("alpha", None), ("A", None), ("E", None), ("beta", None), ("tokens_per_param", GOPHER_FLOPS))
_LOG = ("A", "tokens_per_param")


@styled
def plot_theory(table: pd.DataFrame) -> Figure:
    """Draw the fitted values as points and the closed forms as lines.

    Args:
        table: of `analysis.theory_tables.theory_table`; only certified fits are drawn.

    Returns:
        The figure.
    """
    families = [family for family in SWEEPS if (table["family"] == family).any()]
    figure = Figure(figsize=(2.5 * len(_SHOWN), 2.1 * len(families) + 0.4), layout="constrained")
    grid = figure.subplots(len(families), len(_SHOWN), squeeze=False)
    for row, family in zip(grid, families, strict=True):
        rows = table[(table["family"] == family) & (table["status"] == "CONVERGED")]
        for axes, (quantity, flops) in zip(row, _SHOWN, strict=True):
            chosen = rows[rows["quantity"] == quantity]
            chosen = chosen if flops is None else chosen[np.isclose(chosen["flops"], flops)]
            _panel(axes, family, quantity, chosen)
        row[0].set_ylabel(family.replace("_", " "))
    for axes, (quantity, flops) in zip(grid[0], _SHOWN, strict=True):
        name = quantity.replace("_", " ")
        axes.set_title(name if flops is None else f"{name}\nat {number_text(flops)} FLOP")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, family: str, quantity: str, rows: pd.DataFrame) -> None:
    sweep = SWEEPS[family]
    ordered = rows.sort_values("value")
    axes.plot(sweep.shown(ordered["value"]), ordered["fitted"], "o", color=BLUE, alpha=0.5, label="fitted")
    line = ordered.drop_duplicates("value")
    axes.plot(sweep.shown(line["value"]), line["theory"], "-", color=VERMILLION, label="closed form")
    if sweep.scale == "log":
        axes.set_xscale("log")
    values = ordered[["fitted", "theory"]].to_numpy()
    if quantity in _LOG:
        axes.set_yscale("log")
    elif values.size and np.ptp(values) < 1e-6 * np.abs(values).max():
        # Nothing moves: without this the axis would show rounding.
        centre = float(values.mean())
        axes.set_ylim(0.9 * centre, 1.1 * centre)
    axes.set_xlabel(sweep.label)
    for which in ("x", "y"):
        readable_axis(axes, which, most=5)
