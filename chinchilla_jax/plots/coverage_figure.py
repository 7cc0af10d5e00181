"""Figure: how often the intervals of each method contain the truth, beside what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.labels import METHOD_NAMES, percent_text, quantity_label
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.marks import name_rows
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import counting_looks, styled
from chinchilla_jax.plots.tables import budgets_among
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_APART = 0.2  # between the levels of one method, in rows


def coverage_table(
    found: pd.DataFrame, quantity: str = "tokens_per_param", *, flops: float | None = None
) -> pd.DataFrame:
    """The coverage of one quantity by method and level.

    Args:
        found: of `analysis.coverage`.
        quantity: one of its quantities.
        flops: one of its budgets (FLOP), of a quantity that has one; None for the first.

    Returns:
        method, level, coverage and coverage_error (shares; the error is that of a binomial count), n (data
        sets that were judged). `attrs`: quantity, flops (NaN of a quantity without a budget).

    Raises:
        UsageError: `found` has no such quantity or budget.
    """
    if quantity not in set(found["quantity"]):
        raise unknown_name("quantity", quantity, list(dict.fromkeys(found["quantity"])))
    rows = found[found["quantity"] == quantity]
    budgets = rows["flops"].dropna().unique().tolist()
    if flops is not None:
        budgets = budgets_among(budgets, flops, quantity)
    if budgets:
        rows = rows[rows["flops"] == budgets[0]]
    table = rows[["method", "level", "coverage", "coverage_error", "n"]].reset_index(drop=True)
    table.attrs = {"quantity": quantity, "flops": budgets[0] if budgets else np.nan}
    return table


@styled
def coverage(
    found: pd.DataFrame,
    quantity: str = "tokens_per_param",
    *,
    flops: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the coverage of each method at each level, with its binomial error, and the levels themselves.

    Args:
        found: of `analysis.coverage`.
        quantity: one of its quantities.
        flops: one of its budgets (FLOP), of a quantity that has one; None for the first.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.

    Raises:
        UsageError: `found` has no such quantity or budget.
    """
    return draw_coverage(coverage_table(found, quantity, flops=flops), ax=ax)


@styled
def draw_coverage(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw `coverage_table` on an Axes, and return it."""
    methods = list(dict.fromkeys(table["method"]))
    levels = sorted(set(table["level"]))
    tall = len(methods) * (0.2 + 0.1 * len(levels))
    axes = panels(["coverage"], ax, size=(5.8, 1.4 + tall), shown=True).axes["coverage"]
    looks = counting_looks([percent_text(level) for level in levels])
    for i, level in enumerate(levels):
        look = looks[percent_text(level)]
        rows = table[table["level"] == level].set_index("method").reindex(methods)
        y = np.arange(len(methods)) + _APART * (i - (len(levels) - 1) / 2)
        axes.axvline(100 * level, color=look.colour, linestyle=":", linewidth=1.0, zorder=1)
        axes.errorbar(
            100 * rows["coverage"], y, xerr=100 * rows["coverage_error"], color=look.colour,
            marker=look.marker, linestyle="none", linewidth=1.2, markersize=4.5, zorder=3,
            label=f"{percent_text(level)} intervals",
        )  # fmt: skip
    name_rows(axes, [METHOD_NAMES.get(name, name) for name in methods])
    axes.set_xlim(max(0.0, axes.get_xlim()[0]), min(101.0, axes.get_xlim()[1] + 1.0))
    axes.set_xlabel("coverage: simulated data sets whose interval contains the truth (%)")
    readable_axis(axes, "x")
    flops = table.attrs["flops"]
    at = f" at {flops_text(flops)} FLOP" if np.isfinite(flops) else ""
    most = int(table["n"].max())
    what = f"{quantity_label(table.attrs['quantity'])}{at}"
    legend_above(axes, note=f"{what}, {most:,} data sets;\ndotted: what the intervals promise")
    return axes
