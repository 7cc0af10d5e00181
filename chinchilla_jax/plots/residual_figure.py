"""Figure: residuals of a fit against size, tokens, compute, a further variable or a column of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.labels import RESIDUAL, quantity_label
from chinchilla_jax._util.text import number_text
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.fitting.automatic_delta import robust_scale
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.marks import name_points
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.single_law import runs_of, runs_table
from chinchilla_jax.plots.styles import BLACK, BLUE, GREY, SKY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.fitting.result import FitResult

_QUANTITIES = ("params", "tokens", "flops")
_OWN = ("row", "residual_percent", "weight", "worst")
_MOST_GROUPS = 16
_LOGARITHMIC = 3  # ratio of the largest to the smallest


def residuals_table(fit: FitResult, *, against: str = "params", worst: int = 3) -> pd.DataFrame:
    """The residuals of a fit, one row per run.

    Args:
        fit: certified, with its runs.
        against: "params", "tokens", "flops", a further variable of the runs, or a column of `runs.groups` or
            `runs.labels`.
        worst: so many rows of the largest residuals are marked.

    Returns:
        row, the column `against` (named after the runs', with "(column)" where another here has its name),
        residual_percent (observed loss over the law's, less 1), weight, worst.
        `attrs`: scale_percent, the robust standard deviation; NaN where there are no more runs than
        parameters.

    Raises:
        UsageError: the runs have no such column, or the fit no runs.
        NoEstimateError: the fit is not certified.
    """
    runs = runs_of(fit)
    require_estimate(fit.status, runs.name or "fit", fit.reason)
    number = whole_number("worst", worst, low=0)
    columns = {**runs.groups, **runs.labels, **runs.variables}
    if against not in _QUANTITIES and against not in columns:
        raise unknown_name("against", against, [*_QUANTITIES, *columns])
    table = runs_table(fit)
    place = against
    if against in columns:
        place = f"{against} (column)" if against in _OWN else against
        table[place] = columns[against]
    sizes = table["residual_percent"].abs().where(table["weight"] > 0, -1.0)
    table["worst"] = sizes.rank(method="first", ascending=False) <= number
    table = table[["row", place, "residual_percent", "weight", "worst"]]
    table.attrs = {"scale_percent": 100 * robust_scale(fit.residuals, fit.weights, fit.model.size)}
    return table


@styled
def residuals(fit: FitResult, *, against: str = "params", worst: int = 3, ax: Axes | None = None) -> Axes:
    """Draw the residuals of a fit with their robust scale, the worst rows by name.

    Args:
        fit: of `chinchilla_jax.fit`.
        against: "params", "tokens", "flops", a further variable of the runs, or a column of groups or labels:
            then each group is a line with its median.
        worst: how many rows are named.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.

    Raises:
        UsageError: the runs have no such column, or the fit no runs.
        NoEstimateError: the fit is not certified.
    """
    return draw_residuals(residuals_table(fit, against=against, worst=worst), ax=ax)


@styled
def draw_residuals(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw `residuals_table` on an Axes, and return it."""
    against = str(table.columns[1])
    grouped = table[against].dtype.kind not in "fiu"
    groups = largest_groups(table, against) if grouped else []
    height = 1.3 + 0.22 * len(groups) if grouped else 3.6
    axes = panels(["residuals"], ax, size=(5.8, max(height, 2.6)), shown=True).axes["residuals"]
    scale = table.attrs["scale_percent"]
    span, line = (axes.axvspan, axes.axvline) if grouped else (axes.axhspan, axes.axhline)
    if np.isfinite(scale):
        text = f"robust scale \u00b1{number_text(scale, 2)}%"
        span(-scale, scale, color=SKY, alpha=0.25, linewidth=0, zorder=0, label=text)
    line(0.0, color=GREY, linewidth=0.8, zorder=1)
    rows = table[(table["weight"] > 0) & (table[against].isin(groups) | (not grouped))]
    place = rows[against].map({name: -i for i, name in enumerate(groups)}) if grouped else rows[against]
    x, y = (rows["residual_percent"], place) if grouped else (place, rows["residual_percent"])
    axes.plot(x, y, "o", color=BLUE, markersize=3.2, alpha=0.7, markeredgewidth=0, label="runs")
    named = rows["worst"]
    if named.any():
        axes.plot(x[named], y[named], "o", color=VERMILLION, markersize=4.5, label="largest residuals")
    label = str(RESIDUAL)
    if grouped:
        medians = rows.groupby(place)["residual_percent"].median()
        axes.plot(medians, medians.index, "|", color=BLACK, markersize=9, markeredgewidth=1.6, label="median")
        axes.set_yticks([-i for i in range(len(groups))], [str(name) or "(empty)" for name in groups])
        axes.set_ylim(-len(groups) + 0.4, 0.6)
        axes.set_xlabel(label)
        axes.set_ylabel(quantity_label(against))
        readable_axis(axes, "x")
    else:
        if spans_decades(x):
            axes.set_xscale("log")
        axes.set_xlabel(quantity_label(against))
        axes.set_ylabel(label)
        readable_axis(axes, "x", counts=against != "flops")
        readable_axis(axes, "y")
    name_points(axes, rows["row"][named].tolist(), x[named].to_numpy(), y[named].to_numpy())
    many = grouped and table[against].nunique()
    note = f"{len(groups)} of {many:,} groups, with the largest medians" if many > len(groups) else ""
    legend_above(axes, note=note)
    return axes


def spans_decades(values: pd.Series) -> bool:
    """Whether values along an axis are shown on a logarithmic one."""
    return bool(values.min() > 0 and values.max() > _LOGARITHMIC * values.min())


def largest_groups(table: pd.DataFrame, against: str) -> list[object]:
    """The groups in order of their median residuals; of many, those that are farthest from 0."""
    medians = table[table["weight"] > 0].groupby(against)["residual_percent"].median()
    shown = medians.loc[medians.abs().sort_values(ascending=False).index[:_MOST_GROUPS]]
    return list(shown.sort_values(ascending=False).index)
