"""Figure: relative error of the two formulas for the parameter count (Table A9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.labels import COUNTING_NAMES
from chinchilla_jax.datasets.architectures import relative_error_summary, relative_errors
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, COUNTING_STYLES, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RULES = ("standard", "best_fit")


def relative_error_table(*, rounded: bool = True) -> pd.DataFrame:
    """The 50 models of Table A9 counted by the standard and the best-fit formula.

    Args:
        rounded: whether counts are rounded to whole millions first, as in arXiv:2509.23963.

    Returns:
        One row per rule and model: rule, model (row of Table A9), reported_params and params (counts),
        relative_error_percent = 100 (reported - params)/reported, and the rule's mean_percent, max_percent
        and max_absolute_percent, repeated in all of its rows.
    """
    table = relative_errors(RULES, rounded=rounded)
    summary = relative_error_summary(RULES, rounded=rounded)
    return table.merge(summary[["rule", "mean_percent", "max_percent", "max_absolute_percent"]], on="rule")


@styled
def plot_relative_error(table: pd.DataFrame, *, ax: AxesLike = None) -> Figure:
    """Draw `relative_error_table()`: relative error (percent) against reported counts, a marker per model.

    Args:
        table: as above.
        ax: an Axes to draw on; None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["relative error"], ax, size=(5.4, 3.4))
    axes = where.axes["relative error"]
    axes.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1)
    for rule, rows in table.groupby("rule", sort=False):
        look = COUNTING_STYLES[str(rule)]
        axes.plot(
            rows["reported_params"],
            rows["relative_error_percent"],
            linestyle="none",
            marker=look.marker,
            markersize=5.0,
            color=look.colour,
            markeredgecolor="white",
            markeredgewidth=0.4,
            label=(
                f"{COUNTING_NAMES[str(rule)]}: mean {rows['mean_percent'].iloc[0]:.1f}%, "
                f"largest {rows['max_absolute_percent'].iloc[0]:.1f}%"
            ),
        )
    axes.set_xscale("log")
    readable_axis(axes, "x")
    axes.set_xlabel("reported parameters")
    readable_axis(axes, "y")
    axes.set_ylabel("reported \N{MINUS SIGN} formula (% of reported)")
    # Above the Axes: inside, it would cover the largest errors.
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0)
    return where.figure
