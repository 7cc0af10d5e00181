"""Figure: optimal size and tokens against compute, with the runs, published laws and trained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.labels import HEADLINE, percent_text, quantity_label
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.planning.optimum_curve import optimum_curve
from chinchilla_jax.planning.plans import Plan
from chinchilla_jax.planning.references import REFERENCES
from chinchilla_jax.plots.grids import compute_grid
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.marks import share_of_axes, spread_apart
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREEN, GREY, VERMILLION, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.bootstrapping.result import BootstrapResult

_PANELS = ("params", "tokens")
_LINE_SHARE = 0.045  # of the height of a panel, for a name
_LOOKS = {
    "fitted": (BLUE, "-", "fitted"),
    "hoffmann2022": (VERMILLION, (0, (6, 1.5)), "Hoffmann et al. 2022"),
    "kaplan2020": (GREEN, (0, (1.5, 1.5)), "Kaplan et al. 2020 (no embedding)"),
}


def plan_table(
    laws: Plan | LawSample | BootstrapResult, *, flops: ArrayLike = (), level: float = 0.8
) -> pd.DataFrame:
    """Optimal params and tokens by law, quantity and budget.

    Args:
        laws: a plan, or what one is made from.
        flops: budgets (FLOP); none for those of the runs, of the plan and two decades beyond.
        level: mass of the intervals; a plan has its own.

    Returns:
        law ("fitted", "hoffmann2022", "kaplan2020"), quantity ("params", "tokens"), flops, estimate (of the
        point fit), low, high, median, level. Published laws have no interval: these three are NaN.
    """
    import pandas as pd

    sample, level, asked = _read(laws, level)
    searched = sample.laws.log_ratio_line() is None
    grid = compute_grid(sample.runs, asked, searched=searched)
    budgets = positive_array("flops", flops) if np.size(flops) else grid
    fitted = optimum_curve(sample, budgets, quantities=_PANELS, level=level).assign(law="fitted")
    frames = [fitted]
    for name, law in REFERENCES.items():
        for quantity, estimate in zip(_PANELS, law.optimal(budgets, sample.cost), strict=True):
            row = {"law": name, "quantity": quantity, "flops": budgets, HEADLINE: estimate}
            frames.append(pd.DataFrame(row | dict.fromkeys(("low", "high", "median"), np.nan)))
    columns = ["law", "quantity", "flops", HEADLINE, "low", "high", "median"]
    return pd.concat([frame[columns] for frame in frames], ignore_index=True).assign(level=level)


@styled
def plan(
    laws: Plan | LawSample | BootstrapResult,
    *,
    models: pd.DataFrame | None = None,
    level: float = 0.8,
    axes: AxesLike = None,
) -> tuple[Axes, Axes]:
    """Draw optimal size and tokens against compute: the plan on its curve, among the runs.

    Args:
        laws: a plan, or what one is made from.
        models: columns model, params, tokens, drawn as points; None for none.
        level: mass of the intervals; a plan has its own.
        axes: where to draw (params, tokens); None for a new figure.

    Returns:
        Both Axes.

    Raises:
        NoOptimumError: the law has no best run for a budget.
    """
    sample, level, asked = _read(laws, level)
    known = [] if models is None else list(training_flops(models["params"], models["tokens"]))
    searched = sample.laws.log_ratio_line() is None
    grid = compute_grid(sample.runs, [*asked, *known], searched=searched)
    table = plan_table(sample, flops=grid, level=level)
    where = panels(list(_PANELS), axes, columns=2, size=(9.6, 4.4), shown=True)
    for quantity, each in where.axes.items():
        each.set_xscale("log")
        each.set_yscale("log")
        if sample.runs is not None:
            runs = sample.runs
            shade_runs(each, runs.flops.min(), runs.flops.max())
            each.plot(
                runs.flops, getattr(runs, quantity), ".", color=GREY, markersize=3, alpha=0.6, label="runs"
            )
        rows = table[table["quantity"] == quantity]
        for name, curve in rows.groupby("law", sort=False):
            colour, dashes, entry = _LOOKS[str(name)]
            if curve["low"].notna().any() and not sample.is_single:
                each.fill_between(
                    curve["flops"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0,
                    label=f"{percent_text(level)} interval",
                )  # fmt: skip
            each.plot(curve["flops"], curve[HEADLINE], color=colour, linestyle=dashes, label=entry)
        if isinstance(laws, Plan):
            _mark_plan(each, laws, quantity)
        each.set_xlim(rows["flops"].min(), rows["flops"].max())
        if models is not None:
            _mark_models(each, models, quantity)
        each.set_xlabel(quantity_label("flops"))
        each.set_ylabel(quantity_label(f"optimal_{quantity}"))
        readable_axis(each, "x")
        readable_axis(each, "y", counts=True)
    first, second = where.axes.values()
    handles = first.get_legend_handles_labels()[0]
    legend_above(first, handles[: len(handles) // 2 + 1])
    legend_above(second, handles[len(handles) // 2 + 1 :])
    return first, second


def _read(laws: Plan | LawSample | BootstrapResult, level: float) -> tuple[LawSample, float, list[float]]:
    """The sample, the level and the budgets (FLOP) that were planned for."""
    if isinstance(laws, Plan):
        rows = laws.table[laws.table["quantity"] == "flops"]
        return laws.sample, laws.level, [float(each) for each in rows[HEADLINE] if np.isfinite(each)]
    sample = laws if isinstance(laws, LawSample) else LawSample.from_bootstrap(laws)
    return sample, level, []


def _mark_plan(axes: Axes, plan: Plan, quantity: str) -> None:
    """The rows of the plan, each at its budget, with its interval."""
    of = plan.table.set_index("quantity")
    flops = of.loc[["flops"], HEADLINE].to_numpy(np.float64)
    estimate, low, high = (
        of.loc[[quantity], name].to_numpy(np.float64) for name in (HEADLINE, "low", "high")
    )
    known = np.isfinite(flops) & np.isfinite(estimate)
    spans = np.nan_to_num(np.maximum([estimate - low, high - estimate], 0.0), posinf=0.0)
    if known.any():
        axes.errorbar(
            flops[known], estimate[known], yerr=spans[:, known], fmt="D", color=BLACK, markersize=4.5,
            linewidth=1.1, zorder=4, label="the plan",
        )  # fmt: skip


def _mark_models(axes: Axes, models: pd.DataFrame, quantity: str) -> None:
    """Points, with their names in a column at the right edge, spaced so that none overlap."""
    flops = training_flops(*(models[name].to_numpy(np.float64) for name in _PANELS))
    heights = models[quantity].to_numpy(dtype=np.float64)
    axes.plot(
        flops, heights, color=BLACK, linestyle="none", marker="o", markersize=3.5, zorder=4, label="models"
    )
    shares = share_of_axes(axes, np.stack([flops, heights], axis=1))[:, 1]
    order = np.argsort(heights, kind="stable")
    for i, place in zip(order, spread_apart(shares[order], _LINE_SHARE), strict=True):
        axes.annotate(
            str(models["model"].iloc[i]),
            (flops[i], heights[i]),
            xytext=(1.02, place),
            textcoords="axes fraction",
            va="center",
            fontsize=6.5,
            zorder=4,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2},
        )
