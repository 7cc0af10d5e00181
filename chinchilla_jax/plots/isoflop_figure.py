"""Figures: IsoFLOP parabolas, their power law and the parametric fit, and the bias of a parabola."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.labels import HEADLINE, quantity_label
from chinchilla_jax._util.text import number_text
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.isoflop_minima import IsoflopResult, parabola_shift
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, VERMILLION, styled, sweep_colours
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from chinchilla_jax.datasets import Runs


_METHODS: dict[str, tuple[str, Any, str]] = {
    "isoflop": (VERMILLION, (0, (6, 1.5)), "IsoFLOP"),
    "parametric": (BLUE, "-", "parametric fit"),
}


def isoflop_bands_table(
    result: IsoflopResult, sample: LawSample, *, level: float = 0.8, beyond: float = 1e3
) -> pd.DataFrame:
    """Optimal size against compute by both methods.

    Args:
        result: of `planning.isoflop`.
        sample: laws fitted to the same runs.
        level: mass of the intervals.
        beyond: how far past the largest budget, as a factor.

    Returns:
        method ("isoflop", "parametric"), flops, estimate (on all runs), low, high, median, level.
    """
    import pandas as pd

    budgets = np.geomspace(result.flops.min() / 3, result.flops.max() * beyond, 80)
    known = ~np.isnan(result.exponent)
    frames = []
    sample = sample.at(result.cost)
    parabolas, _ = result.optimal(budgets)
    parametric = [sample.optimal(laws, budgets)[0] for laws in (sample.point, sample.laws)]
    for method, estimate, sizes in (
        ("isoflop", parabolas[0], parabolas[known]),
        ("parametric", *parametric),
    ):
        low, median, high = low_median_high(np.asarray(sizes), level)
        columns = {"method": method, "flops": budgets, HEADLINE: estimate}
        columns |= {"low": low, "high": high, "median": median}
        frames.append(pd.DataFrame(columns).assign(level=level))
    return pd.concat(frames, ignore_index=True)


@styled
def isoflop(result: IsoflopResult, runs: Runs, bands: pd.DataFrame, *, ax: AxesLike = None) -> Figure:
    """Draw the parabolas over the runs, and the optimal size by both methods.

    Args:
        result: of `planning.isoflop`.
        runs: the runs it was estimated from.
        bands: of `isoflop_bands_table`.
        ax: two Axes (parabolas, power law), or None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["parabolas", "power law"], ax, columns=2, size=(9.6, 4.0))
    axes, beside = where.axes["parabolas"], where.axes["power law"]
    level = float(bands["level"].iloc[0])
    minima = result.minima(level)
    axes.set_xscale("log")
    drawn = zip(result.flops, result.members, result.parabolas, sweep_colours(len(minima)), strict=True)
    for budget, rows, (mean, c0, c1, c2), shade in drawn:
        params = runs.params[rows]
        x = np.linspace(np.log(params.min()), np.log(params.max()), 60) - mean
        axes.plot(params, runs.loss[rows], color=shade, linestyle="none", marker=".", markersize=4)
        axes.plot(
            np.exp(x + mean),
            c0 + x * (c1 + x * c2),
            color=shade,
            linewidth=1.0,
            label=f"{number_text(budget)} FLOP",
        )
    vertex: dict[str, Any] = {"linestyle": "none", "marker": "D", "markersize": 3.5, "zorder": 4}
    axes.plot(minima["params"], minima["loss"], color=VERMILLION, **vertex)
    axes.set_ylim(top=axes.get_ylim()[1] + 0.25 * np.ptp(axes.get_ylim()))  # room for the legend
    axes.set_xlabel("parameters")
    axes.set_ylabel("loss")
    axes.legend(fontsize=6.5, ncols=2, loc="upper right")
    readable_axis(axes, "x")

    beside.set_xscale("log")
    beside.set_yscale("log")
    for method, (colour, dashes, name) in _METHODS.items():
        band = bands[bands["method"] == method]
        beside.fill_between(band["flops"], band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)
        for edge in ("low", "high"):
            beside.plot(band["flops"], band[edge], color=colour, linewidth=0.5)
        entry = f"{name}, {level:.0%} interval"
        beside.plot(band["flops"], band[HEADLINE], color=colour, linestyle=dashes, label=entry)
    spans = np.stack([minima["params"] - minima["low"], minima["high"] - minima["params"]])
    beside.errorbar(
        minima["flops"],
        minima["params"],
        yerr=np.maximum(spans, 0),
        color=BLACK,
        fmt="D",
        markersize=3.0,
        linewidth=0.9,
        label="minima",
    )
    beside.set_xlabel(quantity_label("flops"))
    beside.set_ylabel("optimal parameters")
    beside.legend(loc="upper left")
    for which in ("x", "y"):
        readable_axis(beside, which)
    return where.figure


def parabola_bias_table(
    *, total: float = 0.65, decades: tuple[float, ...] = (0.5, 1.0, 1.5), points: int = 15
) -> pd.DataFrame:
    """Ratio of the parabola's optimal size to the true one, on noise-free laws.

    Args:
        total: alpha + beta, held fixed.
        decades: half-widths of the grid of sizes around its centre (decades).
        points: runs per budget.

    Returns:
        case ("asymmetric": centred grids, exponents vary; "off-centre": equal exponents, the centre moves),
        half_width (decades), x (beta / alpha, or centre over true optimum), ratio.
    """
    import pandas as pd

    rows = []
    for half in decades:
        grid = _grid(half, points)
        for skew in np.geomspace(1 / 3, 3, 41):
            alpha = total / (1 + skew)
            rows.append(("asymmetric", half, skew, np.exp(parabola_shift(alpha, total - alpha, grid))))
        for centre in np.geomspace(1 / 10, 10, 41):
            shift = parabola_shift(total / 2, total / 2, grid + np.log(centre))
            rows.append(("off-centre", half, centre, np.exp(shift)))
    return pd.DataFrame(rows, columns=["case", "half_width", "x", "ratio"])


@styled
def parabola_bias(table: pd.DataFrame, *, ax: AxesLike = None) -> Figure:
    """Draw `parabola_bias_table`.

    Args:
        table: as above.
        ax: two Axes (asymmetric, off-centre), or None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["asymmetric", "off-centre"], ax, columns=2, size=(8.6, 3.6))
    labels = {
        "asymmetric": "beta / alpha, grid centred on the optimum",
        "off-centre": "centre of the grid / true optimum, alpha = beta",
    }
    for name, axes in where.axes.items():
        axes.set_xscale("log")
        rows = table[table["case"] == name]
        groups = list(rows.groupby("half_width"))
        for (half, curve), colour in zip(groups, sweep_colours(len(groups)), strict=True):
            axes.plot(curve["x"], curve["ratio"], color=colour, label=f"\u00b1{half:g} decades")
        axes.axhline(1.0, color=BLACK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xlabel(labels[name])
        axes.set_ylabel("size by parabola / true optimum")
        readable_axis(axes, "x")
    where.axes["asymmetric"].legend(title="grid of sizes", title_fontsize=8.0, loc="best")
    return where.figure


def _grid(half: float, points: int) -> NDArray[np.float64]:
    return np.linspace(-half, half, points) * np.log(10.0)
