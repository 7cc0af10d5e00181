"""Figure: what a bootstrap says of the best run of each budget, with its band and the range of the runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.labels import HEADLINE, NATS, percent_text, quantity_label
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.planning.optimum_curve import CURVES, optimum_curve
from chinchilla_jax.plots.grids import compute_grid
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.single_law import held_text, read_sample, runs_of
from chinchilla_jax.plots.styles import BLUE, GREY, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from chinchilla_jax.bootstrapping.result import BootstrapResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimumCurve:
    """What `plots.bootstrap` draws.

    Attributes:
        quantity: "tokens_per_param", "params", "tokens" or "loss".
        level: mass of the band.
        table: flops, estimate, low, high, median, inside (whether the budget is within those of the runs),
            asked (whether it is one of the user's).
        runs: flops and the quantity of each run.
        loss_unit: `Runs.loss_unit`.
        note: the values of the law's further variables; "" for a law without any.
    """

    quantity: str
    level: float
    table: pd.DataFrame
    runs: pd.DataFrame
    note: str = ""
    loss_unit: str = NATS


def bootstrap_table(
    boot: BootstrapResult,
    quantity: str = "tokens_per_param",
    *,
    flops: ArrayLike = (),
    level: float = 0.8,
) -> OptimumCurve:
    """A quantity of the best run of each budget, as `plan` gives it.

    Args:
        boot: with its runs.
        quantity: "tokens_per_param", "params", "tokens" or "loss".
        flops: budgets (FLOP) beside those of the curve, which goes two decades beyond the runs.
        level: mass of the band.

    Raises:
        UsageError: another quantity, a budget that is not positive, or a bootstrap without its runs.
        NoEstimateError: the point fit is not certified.
        NoOptimumError: the law has no best run for a budget.
    """
    import pandas as pd

    if quantity not in CURVES:
        raise unknown_name("quantity", quantity, CURVES)
    runs = runs_of(boot)
    sample = read_sample(boot)
    low, high = float(runs.flops.min()), float(runs.flops.max())
    asked = np.atleast_1d(positive_array("flops", flops)) if np.size(flops) else np.empty(0)
    budgets = compute_grid(runs, list(asked), searched=sample.laws.log_ratio_line() is None)
    table = optimum_curve(sample, budgets, quantities=[quantity], level=level)
    table["asked"] = table["flops"].isin(asked)
    table["inside"] = table["flops"].between(low * (1 - 1e-9), high * (1 + 1e-9))
    own = {"tokens_per_param": runs.tokens / runs.active, "params": runs.params, "tokens": runs.tokens}
    return OptimumCurve(
        quantity=quantity,
        level=float(level),
        table=table.drop(columns="quantity"),
        runs=pd.DataFrame({"flops": runs.flops, quantity: own.get(quantity, runs.loss)}),
        note=held_text(sample.variables),
        loss_unit=sample.loss_unit,
    )


@styled
def bootstrap(
    boot: BootstrapResult,
    quantity: str = "tokens_per_param",
    *,
    flops: ArrayLike = (),
    level: float = 0.8,
    ax: Axes | None = None,
) -> Axes:
    """Draw a quantity of the best run of each budget against compute, with its band.

    The range of the runs is shaded and the curve dashed beyond it.

    Args:
        boot: of `chinchilla_jax.bootstrap`.
        quantity: "tokens_per_param", "params", "tokens" or "loss" of the optimum.
        flops: budgets (FLOP) to mark on the curve, which goes two decades beyond the runs.
        level: mass of the band.
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.

    Raises:
        UsageError: another quantity, a budget that is not positive, or a bootstrap without its runs.
        NoEstimateError: the point fit is not certified.
        NoOptimumError: the law has no best run for a budget.
    """
    return draw_bootstrap(bootstrap_table(boot, quantity, flops=flops, level=level), ax=ax)


@styled
def draw_bootstrap(curve: OptimumCurve, *, ax: Axes | None = None) -> Axes:
    """Draw `bootstrap_table` on an Axes, and return it."""
    axes = panels(["optimum"], ax, size=(5.8, 4.0), shown=True).axes["optimum"]
    runs, table = curve.runs, curve.table
    axes.set_xscale("log")
    axes.set_yscale("log")
    shade_runs(axes, runs["flops"].min(), runs["flops"].max())
    axes.plot(runs["flops"], runs[curve.quantity], ".", color=GREY, markersize=3.5, alpha=0.6, label="runs")
    draw_optimum(axes, table, curve.level)
    axes.set_xlabel(quantity_label("flops"))
    axes.set_ylabel(quantity_label(f"optimal_{curve.quantity}", curve.loss_unit))
    readable_axis(axes, "x")
    readable_axis(axes, "y", counts=curve.quantity in ("params", "tokens"))
    legend_above(axes, note=curve.note)
    return axes


def draw_optimum(axes: Axes, table: pd.DataFrame, level: float) -> None:
    """A band and its estimate, solid within the runs and dashed beyond."""
    axes.fill_between(
        table["flops"], table["low"], table["high"], color=BLUE, alpha=0.2, linewidth=0,
        label=f"{percent_text(level)} interval",
    )  # fmt: skip
    inside = np.flatnonzero(table["inside"])
    first, last = (inside[0], inside[-1]) if len(inside) else (len(table), len(table))
    parts = [(table[first : last + 1], "-", "estimate"), (table[last:], "--", "estimate beyond the runs")]
    parts += [(table[: first + 1], "--", "" if last + 1 < len(table) else "estimate beyond the runs")]
    for part, dashes, label in parts:
        if len(part) > 1:
            axes.plot(part["flops"], part[HEADLINE], dashes, color=BLUE, label=label or None)
    asked = table[table["asked"]]
    if len(asked):
        spans = np.stack([asked[HEADLINE] - asked["low"], asked["high"] - asked[HEADLINE]])
        axes.errorbar(
            asked["flops"], asked[HEADLINE], yerr=np.maximum(spans, 0), fmt="o", color=BLUE, markersize=4.5,
            linewidth=0.9, label="budgets asked for",
        )  # fmt: skip
