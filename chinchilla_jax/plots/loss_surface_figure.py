"""Figure: predicted loss by size and compute, with IsoFLOP slices and the efficient frontier."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.text import number_text
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.plots.marks import label_contours
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLUE, GREY, VERMILLION, styled, sweep_colours
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chinchilla_jax.datasets import Runs

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossSurface:
    """The loss surface of the point law, and the frontier with the uncertainty of the sample.

    Attributes:
        flops: (k,) budgets, FLOP.
        params: (m,) sizes.
        loss: (m, k) predicted by the point law, nats per token; NaN below one token.
        frontier: (3, k) low, estimate (of the point law), high of the optimal size.
        slices: (j,) budgets of the IsoFLOP curves.
        slice_loss: (j, m) the loss along them.
        best: (j, 2) size and loss at the minimum of each slice.
        best_interval: (j, 2) low and high of that size.
        level: mass of the intervals.
    """

    flops: Array
    params: Array
    loss: Array
    frontier: Array
    slices: Array
    slice_loss: Array
    best: Array
    best_interval: Array
    level: float


def loss_surface_table(
    sample: LawSample,
    *,
    flops: tuple[float, float] = (1e18, 1e26),
    params: tuple[float, float] = (1e7, 1e12),
    points: int = 160,
    level: float = 0.8,
) -> LossSurface:
    """The surface of the point law, and the frontier with its band.

    Args:
        sample: the laws.
        flops: lowest and highest budget (FLOP).
        params: lowest and highest size.
        points: points along each axis.
        level: mass of the intervals.
    """
    budgets, sizes = np.geomspace(*flops, points), np.geomspace(*params, points)
    first, last = np.ceil(np.log10(flops[0])), np.floor(np.log10(flops[1]))
    slices = 10.0 ** np.arange(first, last + 1, 2 if last - first > 5 else 1)
    best_params, best_tokens = sample.optimal(sample.point, slices)
    low, _, high = low_median_high(sample.optimal(sample.laws, budgets)[0], level)
    return LossSurface(
        flops=budgets,
        params=sizes,
        loss=_loss(sample, sizes[:, None], budgets[None, :]),
        frontier=np.stack([low, sample.optimal(sample.point, budgets)[0], high]),
        slices=slices,
        slice_loss=_loss(sample, sizes[None, :], slices[:, None]),
        best=np.stack([best_params, sample.loss(sample.point, best_params, best_tokens)], axis=1),
        best_interval=low_median_high(sample.optimal(sample.laws, slices)[0], level)[[0, 2]].T,
        level=level,
    )


@styled
def loss_surface(table: LossSurface, runs: Runs | None = None, *, ax: AxesLike = None) -> Figure:
    """Draw `loss_surface_table`: contours with the frontier on the left, IsoFLOP slices on the right.

    Args:
        table: as above.
        runs: the fitted runs, drawn as points on the contours; None to omit them.
        ax: two Axes (contours, slices), or None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["contours", "slices"], ax, columns=2, size=(9.6, 4.0))
    axes, beside = where.axes["contours"], where.axes["slices"]
    for each in (axes, beside):
        each.set_xscale("log")
    axes.set_yscale("log")
    # Rounded losses on the frontier at even steps of ln C, and two higher ones.
    lowest = np.nanmin(table.loss, axis=0)[:: max(len(table.flops) // 8, 1)]
    spread = [*lowest, 1.25 * lowest.max(), 1.6 * lowest.max()]
    levels = np.unique([level for each in spread if (level := float(f"{each:.2g}")) > lowest.min()])
    contours = axes.contour(
        table.flops, table.params, table.loss, levels=levels, cmap="viridis_r", linewidths=0.8
    )
    low, estimate, high = table.frontier
    axes.fill_between(table.flops, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(table.flops, estimate, color=BLUE, label=f"efficient frontier, {table.level:.0%} interval")
    if runs is not None:
        axes.plot(
            runs.flops, runs.params, color=GREY, linestyle="none", marker=".", markersize=3, label="runs"
        )
    colours = sweep_colours(len(table.slices))
    for budget, losses, best, interval, colour in zip(
        table.slices, table.slice_loss, table.best, table.best_interval, colours, strict=True
    ):
        axes.axvline(budget, color=colour, linestyle=":", linewidth=0.9)
        beside.plot(table.params, losses, color=colour, label=f"{number_text(budget)} FLOP")
        beside.plot(interval, best[[1, 1]], color=VERMILLION, linewidth=1.2, zorder=3)
        beside.plot(*best, color=VERMILLION, linestyle="none", marker="o", markersize=3.5, zorder=4)
    axes.set_xlim(table.flops[0], table.flops[-1])
    axes.set_ylim(table.params[0], table.params[-1])
    beside.set_ylim(table.best[:, 1].min() - 0.1, table.best[:, 1].max() + 1.0)
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel("parameters")
    label_contours(axes, contours)
    axes.set_title("predicted loss (nats per token)")
    beside.set_xlabel("parameters")
    beside.set_ylabel("predicted loss (nats per token)")
    beside.set_title("IsoFLOP slices; points: optimum with its interval")
    readable_axis(axes, "x")
    readable_axis(axes, "y")
    readable_axis(beside, "x")
    axes.legend(loc="upper left", framealpha=0.95)
    beside.legend(loc="upper right", framealpha=0.95)
    return where.figure


def _loss(sample: LawSample, params: Array, flops: Array) -> Array:
    tokens = sample.cost.tokens(flops, params * sample.share)
    sizes = np.broadcast_to(params, tokens.shape)
    return np.where(tokens >= 1, sample.loss(sample.point, sizes, tokens), np.nan)
