"""Figure: tokens per parameter by every objective, each with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import interval_text, quantity_label
from chinchilla_jax._util.text import flops_text, plain_number
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.marks import name_rows
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, counting_looks, styled
from chinchilla_jax.plots.tables import budgets_among
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_RATIO = "tokens_per_param"
_APART = 0.22  # between the budgets of one objective, in rows


def objectives_table(found: pd.DataFrame, *, flops: ArrayLike | None = None) -> pd.DataFrame:
    """The tokens per parameter of every objective, in the order of `found`.

    Args:
        found: of `analysis.objective_sensitivity`.
        flops: budgets (FLOP), among those of `found`; None for all.

    Returns:
        name (the objective with its delta), flops, estimate, low, high (NaN where there is none), level.

    Raises:
        UsageError: `found` has no such budget.
    """
    rows = found[found["quantity"] == _RATIO]
    if flops is not None:
        rows = rows[rows["flops"].isin(budgets_among(rows["flops"], flops, "the table"))]
    names = [
        str(name) if np.isnan(delta) else f"{name}, delta {plain_number(delta, 3)}"
        for name, delta in zip(rows["objective"], rows["delta"], strict=True)
    ]
    columns = ["flops", "estimate", "low", "high", "level"]
    table = rows[columns].reset_index(drop=True)
    numbers = table[["estimate", "low", "high"]]
    table[["estimate", "low", "high"]] = numbers.where((numbers > 0) & np.isfinite(numbers))
    table.insert(0, "name", names)
    return table


@styled
def objectives(found: pd.DataFrame, *, flops: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Draw tokens per parameter by every objective: estimates with the intervals of the resamples.

    Args:
        found: of `analysis.objective_sensitivity`.
        flops: budgets (FLOP), among those of `found`; None for all.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.

    Raises:
        UsageError: `found` has no such budget, or no objective has a compute-optimal point.
    """
    return draw_objectives(objectives_table(found, flops=flops), ax=ax)


@styled
def draw_objectives(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw `objectives_table` on an Axes, and return it."""
    known = table[["estimate", "low", "high"]].to_numpy(np.float64)
    if not np.isfinite(known).any():
        raise UsageError("no objective has a compute-optimal point, so there is nothing to draw")
    names = list(dict.fromkeys(table["name"]))
    budgets = list(dict.fromkeys(table["flops"]))
    tall = len(names) * (0.18 + 0.07 * len(budgets))
    axes = panels(["objectives"], ax, size=(5.8, 1.4 + tall), shown=True).axes["objectives"]
    looks = counting_looks([flops_text(budget) for budget in budgets])
    for i, budget in enumerate(budgets):
        look = looks[flops_text(budget)]
        rows = table[table["flops"] == budget]
        # A name may be there twice: of deltas that are alike to three digits.
        y = np.array([names.index(name) for name in rows["name"]]) + _APART * (i - (len(budgets) - 1) / 2)
        axes.hlines(y, rows["low"], rows["high"], color=look.colour, linewidth=1.6, zorder=2)
        axes.plot(
            rows["estimate"], y, linestyle="none", marker=look.marker, color=look.colour, markersize=5.0,
            markeredgecolor="white", markeredgewidth=0.5, zorder=3, label=f"{flops_text(budget)} FLOP",
        )  # fmt: skip
        for place, estimate, low in zip(y, rows["estimate"], rows["low"], strict=True):
            if np.isnan(estimate):
                text = "no estimate" if np.isnan(low) else "no compute-optimal point"
                axes.text(
                    0.99, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center",
                    fontsize=7.0, color=BLACK,
                )  # fmt: skip
    if np.nanmax(known) > 3 * np.nanmin(known):
        axes.set_xscale("log")
    name_rows(axes, names)
    axes.set_xlabel(quantity_label("optimal_tokens_per_param"))
    readable_axis(axes, "x")
    legend_above(axes, note=f"estimates, {interval_text(float(table['level'].iloc[0]), 'percentile')}")
    return axes
