"""Figures: IsoFLOP parabolas, their power law and the parametric fit, and the bias of a parabola."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.labels import HEADLINE, percent_text, quantity_label
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.isoflop_minima import IsoflopResult, parabola_shift
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.plots.grids import BEYOND
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, VERMILLION, styled, sweep_colours
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chinchilla_jax.bootstrapping.result import BootstrapResult


_METHODS: dict[str, tuple[str, Any, str]] = {
    "isoflop": (VERMILLION, (0, (6, 1.5)), "IsoFLOP"),
    "parametric": (BLUE, "-", "parametric fit"),
}


def isoflop_table(
    result: IsoflopResult,
    laws: LawSample | BootstrapResult | None = None,
    *,
    level: float = 0.8,
    beyond: float = BEYOND,
) -> pd.DataFrame:
    """Optimal size against compute by the minima, and by a law fitted to the same runs.

    Args:
        result: of `planning.isoflop`.
        laws: fitted to the same runs; None for the minima alone.
        level: mass of the intervals.
        beyond: how far past the largest budget, as a factor.

    Returns:
        method ("isoflop", "parametric"), flops, estimate (on all runs), low, high, median, level.
    """
    import pandas as pd

    budgets = np.geomspace(result.flops.min() / 3, result.flops.max() * beyond, 80)
    known = ~np.isnan(result.exponent)
    parabolas, _ = result.optimal(budgets)
    found = [("isoflop", parabolas[0], parabolas[known])]
    if laws is not None:
        sample = (laws if isinstance(laws, LawSample) else LawSample.from_bootstrap(laws)).at(result.cost)
        point, every = (sample.optimal(each, budgets)[0] for each in (sample.point, sample.laws))
        found.append(("parametric", point, every))
    frames = []
    for method, estimate, sizes in found:
        low, median, high = low_median_high(np.asarray(sizes), level)
        columns = {"method": method, "flops": budgets, HEADLINE: estimate}
        columns |= {"low": low, "high": high, "median": median}
        frames.append(pd.DataFrame(columns).assign(level=level))
    return pd.concat(frames, ignore_index=True)


@styled
def isoflop(
    result: IsoflopResult,
    laws: LawSample | BootstrapResult | None = None,
    *,
    level: float = 0.8,
    beyond: float = BEYOND,
    axes: AxesLike = None,
) -> tuple[Axes, Axes]:
    """Draw a parabola per budget over its runs, and the optimal size against compute.

    Args:
        result: of `planning.isoflop`.
        laws: fitted to the same runs, drawn beside the minima; None for the minima alone.
        level: mass of the intervals.
        beyond: how far past the largest budget, as a factor.
        axes: where to draw (parabolas, power law); None for a new figure.

    Returns:
        Both Axes.
    """
    where = panels(["parabolas", "power law"], axes, columns=2, size=(9.8, 4.2), shown=True)
    left, right = where.axes.values()
    minima = result.minima(level)
    _draw_parabolas(left, result, minima)
    _draw_minima(right, result, minima, isoflop_table(result, laws, level=level, beyond=beyond))
    return left, right


def _draw_parabolas(axes: Axes, result: IsoflopResult, minima: pd.DataFrame) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    runs, colours = result.runs, colormaps["viridis"]
    norm = LogNorm(result.flops.min() / 1.05, result.flops.max() * 1.3)
    axes.set_xscale("log")
    label = "parabola of one budget"
    for budget, rows, (mean, c0, c1, c2) in zip(result.flops, result.members, result.parabolas, strict=True):
        params, colour = runs.params[rows], colours(norm(budget))
        x = np.linspace(np.log(params.min()), np.log(params.max()), 60) - mean
        axes.plot(params, runs.loss[rows], ".", color=colour, markersize=4)
        axes.plot(np.exp(x + mean), c0 + x * (c1 + x * c2), color=colour, linewidth=1.0, label=label)
        label = ""
    inside = minima[~minima["outside"] & minima["params"].notna()]
    if len(inside):
        axes.plot(
            inside["params"], inside["loss"], "D", color=VERMILLION, markersize=3.5, zorder=4, label="minima"
        )
    axes.set_xlabel(quantity_label("params"))
    axes.set_ylabel(quantity_label("loss", runs.loss_unit))
    readable_axis(axes, "x", counts=True)
    readable_axis(axes, "y")
    bar = axes.figure.colorbar(ScalarMappable(norm, colours), ax=axes)
    bar.minorticks_off()
    # Above the bar: beside it, the label would adjoin that of the other panel.
    bar.ax.set_title("C (FLOP)", fontsize=8.0, loc="left")
    readable_axis(bar.ax, "y")
    legend_above(axes)


def _draw_minima(axes: Axes, result: IsoflopResult, minima: pd.DataFrame, bands: pd.DataFrame) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    used = np.concatenate(result.members)
    shade_runs(axes, result.runs.flops[used].min(), result.runs.flops[used].max())
    level = percent_text(float(bands["level"].iloc[0]))
    for method, rows in bands.groupby("method", sort=False):
        colour, dashes, name = _METHODS[str(method)]
        axes.fill_between(rows["flops"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        for edge in ("low", "high"):
            axes.plot(rows["flops"], rows[edge], color=colour, linewidth=0.5)
        entry = f"{name}, {level} interval"
        axes.plot(rows["flops"], rows[HEADLINE], color=colour, linestyle=dashes, label=entry)
    spans = np.stack([minima["params"] - minima["low"], minima["high"] - minima["params"]])
    axes.errorbar(
        minima["flops"], minima["params"], yerr=np.nan_to_num(np.maximum(spans, 0), posinf=0.0), color=BLACK,
        fmt="D", markersize=3.0, linewidth=0.9, label="minima",
    )  # fmt: skip
    axes.set_xlim(bands["flops"].min(), bands["flops"].max())
    middle = bands[HEADLINE]
    axes.set_ylim(middle.min() / 10, middle.max() * 10)
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(quantity_label("optimal_params"))
    readable_axis(axes, "x")
    readable_axis(axes, "y", counts=True)
    legend_above(axes)


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
