"""Figure: coverage of every row under every setting, one panel per quantity and level."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, ORANGE, VERMILLION, styled

_TOLERANCE = 0.03
_LOOKS = ((VERMILLION, "s"), (BLUE, "o"), (GREEN, "^"), (ORANGE, "D"), (BLACK, "v"), ("#777777", "x"))
_TITLES = {"tokens_per_param": "tokens per parameter, 10 times the largest budget"}


@styled
def plot_designs(table: pd.DataFrame, settings: list[str] | None = None) -> Figure:
    """Draw coverage with two standard errors, a line per row and a colour per setting, boundary kept.

    Args:
        table: of `summary.coverage_rows`.
        settings: "scheme:delta", at most six; None for those that every row has.

    Returns:
        The figure. Grey bands extend three percentage points to either side of each level.
    """
    kept = table[table["boundary"] == "keep"].copy()
    kept["setting"] = kept["scheme"] + ":" + kept["delta"].astype(str)
    names = list(dict.fromkeys(kept["row"]))
    rows_of = kept.groupby("setting", sort=False)["row"].nunique()
    shown = (settings or list(rows_of[rows_of == len(names)].index))[: len(_LOOKS)]
    quantities, levels = list(dict.fromkeys(kept["quantity"])), sorted(set(kept["level"]))
    figure = Figure(
        figsize=(4.2 * len(quantities), 0.34 * len(names) * len(levels) + 1.4), layout="constrained"
    )
    panels = figure.subplots(len(levels), len(quantities), squeeze=False, sharey=True, sharex="row")
    for line, level in zip(panels, levels, strict=True):
        for axes, quantity in zip(line, quantities, strict=True):
            rows = kept[(kept["quantity"] == quantity) & (kept["level"] == level)]
            axes.axvspan(level - _TOLERANCE, level + _TOLERANCE, color="#E4E4E4", zorder=0)
            axes.axvline(level, color=BLACK, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
            for i, (setting, (colour, marker)) in enumerate(zip(shown, _LOOKS, strict=False)):
                of_setting = rows[rows["setting"] == setting].set_index("row").reindex(names)
                axes.errorbar(
                    of_setting["coverage"],
                    np.arange(len(names)) + 0.12 * (i - (len(shown) - 1) / 2),
                    xerr=2 * of_setting["coverage_error"],
                    fmt=marker,
                    markersize=3.5,
                    color=colour,
                    linewidth=0.9,
                    label=setting.replace(":", ", delta "),
                )
            axes.set_title(f"{_TITLES.get(quantity, quantity)}, {level:.0%}", fontsize=9)
            axes.grid(axis="y", visible=False)
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].invert_yaxis()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
