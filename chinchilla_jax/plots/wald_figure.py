"""Figure: how far a law is from a fit, beside the resamples and the chi-squared distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.text import number_text
from chinchilla_jax.analysis.chi_squared import log10_chi_squared_tail
from chinchilla_jax.plots.legends import legend_above
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLUE, ORANGE, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.analysis.wald import WaldTest

_POINTS = 200


def wald_table(test: WaldTest) -> pd.DataFrame:
    """The two tails that a Wald test compares its statistic with.

    Args:
        test: of `analysis.wald_test` or `analysis.wald_test_of_tables`.

    Returns:
        distance (squared Mahalanobis distance from the fit), resamples (share of the resamples at least as
        far), chi_squared (the probability of as much). `attrs`: statistic (W), degrees, p_value, p_bootstrap,
        n_resamples.
    """
    import pandas as pd

    distances = np.sort(test.distances)
    least = max(float(distances[distances > 0].min(initial=np.inf)), 1e-2)
    least = min(least, test.statistic / 2) if test.statistic > 0 else least
    most = 1.3 * max(float(distances.max()), test.statistic)
    at = np.geomspace(least, most, _POINTS)
    beyond = 1 - np.searchsorted(distances, at) / len(distances)
    table = pd.DataFrame(
        {
            "distance": at,
            "resamples": beyond,
            "chi_squared": [10 ** log10_chi_squared_tail(x, test.degrees) for x in at],
        }
    )
    table.attrs = {
        "statistic": test.statistic, "degrees": test.degrees, "p_value": test.p_value,
        "p_bootstrap": test.p_bootstrap, "n_resamples": test.n_resamples,
    }  # fmt: skip
    return table


@styled
def wald(test: WaldTest, *, ax: Axes | None = None) -> Axes:
    """Draw how many resamples are as far from the fit, beside chi-squared, with the law that is tested.

    Args:
        test: of `analysis.wald_test` or `analysis.wald_test_of_tables`.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.
    """
    return draw_wald(wald_table(test), ax=ax)


@styled
def draw_wald(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw `wald_table` on an Axes, and return it."""
    axes = panels(["wald"], ax, size=(5.8, 3.8), shown=True).axes["wald"]
    found = table.attrs
    floor = 0.5 / found["n_resamples"]
    shown = table[table["chi_squared"] >= floor]
    axes.set_xscale("log")
    axes.set_yscale("log")
    counted = table[table["resamples"] > 0]
    axes.plot(
        counted["distance"], counted["resamples"], drawstyle="steps-pre", color=BLUE,
        label=f"{found['n_resamples']:,} resamples",
    )  # fmt: skip
    axes.plot(
        shown["distance"], shown["chi_squared"], "--", color=ORANGE, label=f"chi-squared({found['degrees']})"
    )
    p, own = number_text(found["p_value"], 2), number_text(found["p_bootstrap"], 2)
    axes.axvline(
        found["statistic"], color=VERMILLION, linewidth=1.4,
        label=f"what is tested: p {p} by chi-squared, {own} by resamples",
    )  # fmt: skip
    axes.set_ylim(floor, 1.3)
    axes.set_xlim(table["distance"].iloc[0], table["distance"].iloc[-1])
    axes.set_xlabel("squared Mahalanobis distance from the fit")
    axes.set_ylabel("share at least as far")
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    legend_above(axes)
    return axes
