"""Figure: relative error of the formulas for the parameter count (Table A9), or of a table's countings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import COUNTING_NAMES
from chinchilla_jax.datasets.architectures import relative_error_summary, relative_errors
from chinchilla_jax.datasets.interpretations import count_errors
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, counting_looks, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.datasets import Runs

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


def relative_error_table_of(counts: Mapping[str, Runs]) -> pd.DataFrame:
    """The models of a table by each of its countings, against the first.

    Args:
        counts: the same runs by the name of their counting, the plain one first.

    Returns:
        As `relative_error_table`, of every other counting that differs: rule is its name, model counts the
        different models by size, and reported_params are the counts of the first.
    """
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "rule": name,
                "model": np.arange(1, len(each.plain) + 1),
                "reported_params": each.plain,
                "params": each.counts,
                "relative_error_percent": each.percent,
                "mean_percent": each.percent.mean(),
                "max_percent": each.percent.max(),
                "max_absolute_percent": np.abs(each.percent).max(),
            }
        )
        for name, each in count_errors(counts).items()
    ]
    names = ["rule", "model", "reported_params", "params", "relative_error_percent"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


@styled
def relative_error(table: pd.DataFrame, *, plain: str = "reported", ax: Axes | None = None) -> Axes:
    """Draw `relative_error_table()`: relative error (percent) against reported counts, a marker per model.

    Args:
        table: as above, or `relative_error_table_of(...)`.
        plain: the counting that the others are compared with.
        ax: an Axes to draw on; None for a new figure.

    Returns:
        The Axes.
    """
    where = panels(["relative error"], ax, size=(5.4, 3.4))
    axes = where.axes["relative error"]
    axes.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1)
    looks = counting_looks([str(rule) for rule in dict.fromkeys(table["rule"])])
    for rule, rows in table.groupby("rule", sort=False):
        look = looks[str(rule)]
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
                f"{COUNTING_NAMES.get(str(rule), str(rule))}: mean {rows['mean_percent'].iloc[0]:.1f}%, "
                f"largest {rows['max_absolute_percent'].iloc[0]:.1f}%"
            ),
        )
    axes.set_xscale("log")
    readable_axis(axes, "x", counts=True)
    axes.set_xlabel(f"{plain} parameters")
    readable_axis(axes, "y")
    other = "formula" if plain == "reported" else "other count"
    axes.set_ylabel(f"{plain} \N{MINUS SIGN} {other} (% of {plain})")
    # Above the Axes: inside, it would cover the largest errors.
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0)
    return axes
