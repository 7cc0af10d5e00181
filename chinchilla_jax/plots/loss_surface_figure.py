"""Figure: predicted loss by size and compute, with IsoFLOP slices and the efficient frontier."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.labels import NATS, percent_text, quantity_label
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.plots.grids import compute_grid
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.marks import label_contours
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.single_law import read_sample
from chinchilla_jax.plots.styles import BLUE, GREY, VERMILLION, styled, sweep_colours
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

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
    flops: tuple[float, float] | None = None,
    params: tuple[float, float] | None = None,
    points: int = 160,
    level: float = 0.8,
) -> LossSurface:
    """The surface of the point law, and the frontier with its band.

    Args:
        sample: the laws.
        flops: lowest and highest budget (FLOP); None for the runs and two decades beyond.
        params: lowest and highest size; None for those of the runs and of the best at these budgets.
        points: points along each axis.
        level: mass of the intervals.
    """
    grid = compute_grid(sample.runs)
    span = (float(grid[0]), float(grid[-1])) if flops is None else flops
    if params is None:
        own = [] if sample.runs is None else [sample.runs.params.min(), sample.runs.params.max()]
        best = sample.optimal(sample.point, np.asarray(span))[0]
        known = [float(each) for each in (*own, *best) if 0 < each < np.inf]
        params = (min(known) / 2, max(known) * 2)
    budgets, sizes = np.geomspace(*span, points), np.geomspace(*params, points)
    first, last = np.ceil(np.log10(span[0])), np.floor(np.log10(span[1]))
    slices = 10.0 ** np.arange(first, last + 1, 2 if last - first > 5 else 1)
    best_params, best_tokens = sample.optimal(sample.point, slices)
    inside = np.isfinite(best_params) & np.isfinite(best_tokens)
    best_loss = np.full(len(slices), np.nan)
    best_loss[inside] = sample.loss(sample.point, best_params[inside], best_tokens[inside])
    # A search at each budget takes long: the interval is drawn through fewer of them.
    every = budgets if sample.laws.log_ratio_line() is not None else budgets[:: max(points // 20, 1)]
    low, _, high = low_median_high(sample.optimal(sample.laws, every)[0], level)
    low, high = (np.exp(np.interp(np.log(budgets), np.log(every), np.log(each))) for each in (low, high))
    return LossSurface(
        flops=budgets,
        params=sizes,
        loss=_loss(sample, sizes[:, None], budgets[None, :]),
        frontier=np.stack([low, sample.optimal(sample.point, budgets)[0], high]),
        slices=slices,
        slice_loss=_loss(sample, sizes[None, :], slices[:, None]),
        best=np.stack([best_params, best_loss], axis=1),
        best_interval=low_median_high(sample.optimal(sample.laws, slices)[0], level)[[0, 2]].T,
        level=level,
    )


@styled
def loss_surface(
    laws: FitResult | BootstrapResult | LawSample, *, level: float = 0.8, axes: AxesLike = None
) -> tuple[Axes, Axes]:
    """Draw the law's loss: contours over compute and size with the best size of each budget, and slices.

    Args:
        laws: a fit, a bootstrap or a sample of laws; only a sample of several has intervals.
        level: mass of the intervals.
        axes: where to draw (contours, slices); None for a new figure.

    Returns:
        Both Axes.

    Raises:
        NoEstimateError: the fit is not certified.
        NoOptimumError: the law has no best size for a budget.
    """
    sample = read_sample(laws)
    return draw_loss_surface(loss_surface_table(sample, level=level), sample.runs, axes=axes)


@styled
def draw_loss_surface(
    table: LossSurface, runs: Runs | None = None, *, axes: AxesLike = None
) -> tuple[Axes, Axes]:
    """Draw `loss_surface_table` on two Axes, and return them."""
    where = panels(["contours", "slices"], axes, columns=2, size=(9.6, 4.2), shown=True)
    left, right = where.axes.values()
    left.set_xscale("log")
    right.set_xscale("log")
    left.set_yscale("log")
    if runs is not None:
        shade_runs(left, runs.flops.min(), runs.flops.max())
        shade_runs(right, runs.params.min(), runs.params.max())
    # Rounded losses on the frontier at even steps of ln C, and two higher ones.
    lowest = np.nanmin(table.loss, axis=0)[:: max(len(table.flops) // 8, 1)]
    spread = [*lowest, 1.25 * lowest.max(), 1.6 * lowest.max()]
    levels = np.unique([level for each in spread if (level := float(f"{each:.2g}")) > lowest.min()])
    contours = left.contour(
        table.flops, table.params, table.loss, levels=levels, cmap="viridis_r", linewidths=0.8
    )
    low, estimate, high = table.frontier
    wide = bool(np.any(high > low * (1 + 1e-9)))
    if wide:
        entry = f"its {percent_text(table.level)} interval"
        left.fill_between(table.flops, low, high, color=BLUE, alpha=0.2, linewidth=0, label=entry)
    left.plot(table.flops, estimate, color=BLUE, label="best size of each budget")
    if runs is not None:
        left.plot(runs.flops, runs.params, ".", color=GREY, markersize=3, label="runs")
    colours = sweep_colours(len(table.slices))
    for budget, losses, best, interval, colour in zip(
        table.slices, table.slice_loss, table.best, table.best_interval, colours, strict=True
    ):
        left.axvline(budget, color=colour, linestyle=":", linewidth=0.9)
        right.plot(table.params, losses, color=colour, label=f"{flops_text(budget)} FLOP")
        if wide:
            right.plot(interval, best[[1, 1]], color=VERMILLION, linewidth=1.2, zorder=3)
        right.plot(*best, color=VERMILLION, linestyle="none", marker="o", markersize=3.5, zorder=4)
    right.lines[-1].set_label("best, with interval" if wide else "best size")
    left.set_xlim(table.flops[0], table.flops[-1])
    left.set_ylim(table.params[0], table.params[-1])
    right.set_xlim(table.params[0], table.params[-1])
    right.set_ylim(0.95 * np.nanmin(table.best[:, 1]), 1.35 * np.nanmax(table.best[:, 1]))
    left.set_xlabel(quantity_label("flops"))
    left.set_ylabel(quantity_label("params"))
    right.set_xlabel(quantity_label("params"))
    for each in (left, right):
        readable_axis(each, "x", counts=each is right)
        readable_axis(each, "y", counts=each is left)
    label_contours(left, contours)
    unit = NATS if runs is None else runs.loss_unit
    right.set_ylabel(f"predicted {quantity_label('loss', unit)}")
    legend_above(left, note=f"contours: predicted loss ({unit}); dotted: the slices")
    legend_above(right)
    return left, right


def _loss(sample: LawSample, params: Array, flops: Array) -> Array:
    tokens = sample.cost.tokens(flops, params * sample.share)
    sizes = np.broadcast_to(params, tokens.shape)
    return np.where(tokens >= 1, sample.loss(sample.point, sizes, tokens), np.nan)
