"""Figure: optimal size and tokens against compute, fitted and published, with trained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.labels import HEADLINE, quantity_label
from chinchilla_jax.intervals import COMPUTE_GRID
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.planning.references import REFERENCES
from chinchilla_jax.plots.marks import spread_apart
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, GREY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = ("params", "tokens")
_LINE_DECADES = 0.27  # vertical room that a name needs
_LOOKS = {
    "fitted": (BLUE, "-", "fitted"),
    "hoffmann2022": (VERMILLION, (0, (6, 1.5)), "Hoffmann et al. 2022"),
    "kaplan2020": (GREEN, (0, (1.5, 1.5)), "Kaplan et al. 2020 (no embedding)"),
}


def optimum_by_compute_table(
    sample: LawSample, flops: ArrayLike = COMPUTE_GRID, *, level: float = 0.8
) -> pd.DataFrame:
    """Optimal params and tokens by law, quantity and budget.

    Returns:
        law ("fitted", "hoffmann2022", "kaplan2020"), quantity ("params", "tokens"), flops, estimate (of the
        point fit), low, high, median, level. Published laws have no interval: the last three are NaN.
    """
    import pandas as pd

    budgets = np.asarray(flops, dtype=np.float64)
    frames = []
    nowhere = np.full((3, *budgets.shape), np.nan)
    bands = {"fitted": [low_median_high(each, level) for each in sample.optimal(sample.laws, budgets)]}
    published = {name: law.optimal(budgets, sample.cost) for name, law in REFERENCES.items()}
    found = {"fitted": sample.optimal(sample.point, budgets), **published}
    for name, optimum in found.items():
        for i, (quantity, estimate) in enumerate(zip(_PANELS, optimum, strict=True)):
            low, median, high = bands[name][i] if name in bands else nowhere
            columns = {"law": name, "quantity": quantity, "flops": budgets, HEADLINE: estimate}
            columns |= {"low": low, "high": high, "median": median}
            frames.append(pd.DataFrame(columns).assign(level=level))
    return pd.concat(frames, ignore_index=True)


@styled
def optimum_by_compute(
    table: pd.DataFrame, models: pd.DataFrame | None = None, *, ax: AxesLike = None
) -> Figure:
    """Draw `optimum_by_compute_table`, with the models of `planning.known_models` marked.

    Args:
        table: as above.
        models: columns model, params, tokens; None to omit them.
        ax: two Axes (params, tokens), or None for a new figure.

    Returns:
        The figure.
    """
    where = panels(list(_PANELS), ax, columns=2, size=(9.2, 4.0))
    for quantity, axes in where.axes.items():
        axes.set_xscale("log")
        axes.set_yscale("log")
        rows = table[table["quantity"] == quantity]
        for name, curve in rows.groupby("law", sort=False):
            colour, dashes, entry = _LOOKS[str(name)]
            axes.plot(curve["flops"], curve[HEADLINE], color=colour, linestyle=dashes, label=entry)
            if curve["low"].notna().any():
                axes.fill_between(
                    curve["flops"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0
                )
        axes.set_xlim(rows["flops"].min(), rows["flops"].max())
        if models is not None:
            _mark_models(axes, models, quantity)
        axes.set_xlabel(quantity_label("flops"))
        axes.set_ylabel(quantity_label(f"optimal_{quantity}"))
        for which in ("x", "y"):
            readable_axis(axes, which)
    level = float(table["level"].iloc[0])
    first = where.axes["params"]
    first.legend(loc="upper left", title=f"estimate and {level:.0%} interval", title_fontsize=8.0)
    return where.figure


def _mark_models(axes: Axes, models: pd.DataFrame, quantity: str) -> None:
    """Points, with their names in a column to the right, spaced so that none overlap."""
    flops = training_flops(*(models[name].to_numpy(np.float64) for name in ("params", "tokens")))
    heights = models[quantity].to_numpy(dtype=np.float64)
    axes.plot(flops, heights, color=BLACK, linestyle="none", marker="o", markersize=3.5, zorder=4)
    order = np.argsort(heights, kind="stable")
    for i, place in zip(order, spread_apart(np.log10(heights[order]), _LINE_DECADES), strict=True):
        axes.annotate(
            str(models["model"].iloc[i]),
            (flops[i], heights[i]),
            xytext=(10 * flops.max(), 10**place),
            va="center",
            fontsize=6.5,
            zorder=4,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2},
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
