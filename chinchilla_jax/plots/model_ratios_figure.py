"""Figure: tokens per parameter of trained models, with the interval of the optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.labels import HEADLINE
from chinchilla_jax.planning.models import VERDICTS
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, GREY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LOOKS = dict(zip(VERDICTS, ((VERMILLION, "//"), (GREEN, ""), (BLUE, ".."), (GREY, "xx")), strict=True))


@styled
def model_ratios(placed: pd.DataFrame, *, level: float = 0.8, ax: Axes | None = None) -> Axes:
    """Draw `planning.place_models`: a bar per model, coloured by verdict, and the optimum at its compute.

    Args:
        placed: the table of `place_models`.
        level: mass of its intervals, for the legend.
        ax: an Axes, or None for a new figure.

    Returns:
        The Axes.
    """
    from matplotlib.patches import Patch

    where = panels(["ratios"], ax, size=(6.4, 0.9 + 0.38 * len(placed)))
    axes = where.axes["ratios"]
    places = np.arange(len(placed))[::-1]
    ratio = placed["tokens_per_param"].to_numpy()
    floor = np.nanmin([ratio.min(), placed["optimal_low"].min()]) / 3
    for verdict, (colour, hatch) in _LOOKS.items():
        chosen = (placed["verdict"] == verdict).to_numpy()
        axes.barh(
            places[chosen],
            ratio[chosen] - floor,
            left=floor,
            height=0.62,
            color=colour,
            alpha=0.45,
            hatch=hatch,
            edgecolor=colour,
            linewidth=0.6,
        )
    low, high = placed["optimal_low"].to_numpy(), placed["optimal_high"].to_numpy()
    # The estimate need not lie in the middle of the interval of the resamples, nor even within it.
    middle = np.sqrt(low * high)
    spans = np.maximum([middle - low, high - middle], 0.0)  # rounding, for a single law
    bars = axes.errorbar(middle, places, xerr=spans, color=BLACK, fmt="none", capsize=2.5, linewidth=1.1)
    estimate = placed[f"optimal_{HEADLINE}"].to_numpy()
    axes.plot(estimate, places, color=BLACK, linestyle="none", marker="D", markersize=3.5)
    axes.set_xscale("log")
    axes.set_xlim(floor, np.nanmax([ratio.max(), placed["optimal_high"].max()]) * 2)
    axes.set_yticks(places, placed["model"].astype(str))
    axes.grid(False, axis="y")
    axes.set_xlabel("tokens per parameter")
    readable_axis(axes, "x")
    patches = [
        Patch(facecolor=colour, edgecolor=colour, alpha=0.45, hatch=hatch, label=verdict)
        for verdict, (colour, hatch) in _LOOKS.items()
        if (placed["verdict"] == verdict).any()
    ]
    bars.set_label(f"optimum at its compute, {level:.0%} interval")
    axes.legend(
        handles=[*patches, bars], loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2
    )
    return axes
