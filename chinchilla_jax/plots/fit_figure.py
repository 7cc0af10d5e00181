"""Figure: the runs of a fit, the law's curves through them, and where the law is extrapolated.

Params N are those that a token passes through, which are what training costs.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.labels import NATS, quantity_label
from chinchilla_jax.datasets.groupings import has_budgets, members_of
from chinchilla_jax.plots.legends import legend_above, shade_runs
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.single_law import held_text, law_of, optimum_line, runs_of, runs_table
from chinchilla_jax.plots.styles import BLACK, styled
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.planning.law_sample import LawSample

_BY = {"flops": "params", "params": "flops", "tokens": "params"}
_BEYOND = {"flops": 10.0, "params": 10.0**0.5, "tokens": 10.0**0.5}  # how far past the largest run
_CURVES, _POINTS = 5, 60
_MOST_BUDGETS = 9  # that the runs share, each with a slice of its own
_SLICES = {"params": "law at one size", "flops": "law at one budget (IsoFLOP)"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitCurves:
    """What `plots.fit` draws.

    Attributes:
        against: "flops", "params" or "tokens": the x-axis.
        by: what each slice holds fixed and the runs are coloured by.
        runs: row, flops, params, tokens, loss, weight, residual_percent.
        curves: curve ("slice", or "optimum": the lowest loss of each budget), params, tokens, flops, loss,
            held (value of `by`; NaN on the optimum), inside (within the ranges of the runs).
        loss_unit: `Runs.loss_unit`.
        note: the values of the law's further variables on the curves; "" for a law without any.
    """

    against: str
    by: str
    runs: pd.DataFrame
    curves: pd.DataFrame
    note: str = ""
    loss_unit: str = NATS


def fit_table(fit: FitResult, *, against: str = "flops") -> FitCurves:
    """The runs of a fit and its law's curves: slices at five sizes or at budgets, and the optimum's.

    The budgets are those of the runs where the runs share a few, and else five over their range.

    Args:
        fit: certified, with its runs.
        against: "flops", "params" or "tokens".

    Raises:
        UsageError: another `against`, or a fit without its runs.
        NoEstimateError: the fit is not certified.
    """
    if against not in _BY:
        raise unknown_name("against", against, _BY)
    law, runs = law_of(fit), runs_table(fit)
    spans = {name: (float(runs[name].min()), float(runs[name].max())) for name in _BEYOND}
    by = _BY[against]
    shared = _shared_budgets(runs_of(fit)) if by == "flops" else None
    held = np.geomspace(*spans[by], _CURVES + 2)[1:-1] if shared is None else shared
    return FitCurves(
        against=against,
        by=by,
        runs=runs,
        curves=_curves(law, spans, against, np.unique(held)),
        note=held_text(law.variables),
        loss_unit=law.loss_unit,
    )


def _shared_budgets(runs: Runs) -> NDArray[np.float64] | None:
    """The budgets that the runs share, so that each slice goes through its runs; None if none or too many."""
    if not has_budgets(runs):
        return None
    members = members_of(runs, "flops")
    budgets = np.exp(np.bincount(members, np.log(runs.flops)) / np.bincount(members))
    return budgets if 1 < len(budgets) <= _MOST_BUDGETS else None


def _curves(
    law: LawSample, spans: dict[str, tuple[float, float]], against: str, held: NDArray[np.float64]
) -> pd.DataFrame:
    import pandas as pd

    by = _BY[against]
    low, high = spans[against]
    places = {
        against: np.tile(np.geomspace(low, high * _BEYOND[against], _POINTS), len(held)),
        by: np.repeat(held, _POINTS),
    }
    if "tokens" not in places:
        places["tokens"] = law.cost.tokens(places["flops"], places["params"])
    slices = pd.DataFrame({"curve": "slice", **places, "held": places[by]})
    budgets = np.geomspace(spans["flops"][0], spans["flops"][1] * _BEYOND["flops"], _POINTS)
    best = optimum_line(law, budgets)
    every = slices if best is None else pd.concat([slices, best.assign(curve="optimum")], ignore_index=True)
    params, tokens = (every[name].to_numpy(np.float64) for name in ("params", "tokens"))
    every["flops"] = law.cost.flops(params, tokens)
    every["loss"] = law.loss(law.point, params / law.share, tokens)
    optimum = every["curve"] == "optimum"
    within = {name: every[name].between(a * (1 - 1e-9), b * (1 + 1e-9)) for name, (a, b) in spans.items()}
    every["inside"] = within["flops"] & (optimum | (within["params"] & within["tokens"]))
    # Beyond these tokens a slice says nothing of such runs, and its losses would set the scale.
    fewest, most = spans["tokens"]
    sensible = optimum | every["tokens"].between(fewest * (1 - 1e-9), most * _BEYOND["tokens"])
    return every[sensible].reset_index(drop=True)


@styled
def fit(fit: FitResult, *, against: str = "flops", ax: Axes | None = None) -> Axes:
    """Draw the loss of the runs against compute, size or tokens, with the law's curves.

    Runs are coloured by size (by compute on an axis of sizes), and each slice of the law by the one it
    holds fixed. Curves are dashed beyond the runs, whose range is shaded.

    Args:
        fit: of `chinchilla_jax.fit`.
        against: "flops", "params" or "tokens".
        ax: where to draw; None for a new figure.

    Returns:
        The Axes.

    Raises:
        UsageError: another `against`, or a fit without its runs.
        NoEstimateError: the fit is not certified.
    """
    return draw_fit(fit_table(fit, against=against), ax=ax)


@styled
def draw_fit(table: FitCurves, *, ax: Axes | None = None) -> Axes:
    """Draw `fit_table` on an Axes, and return it."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    axes = panels(["loss"], ax, size=(5.8, 4.0), shown=True).axes["loss"]
    runs, x = table.runs[table.runs["weight"] > 0], table.against
    low, high = float(runs[table.by].min()), float(runs[table.by].max())
    norm = LogNorm(low / 1.05, high * 1.05)
    colours = colormaps["viridis"]
    axes.set_xscale("log")
    axes.set_yscale("log")
    shade_runs(axes, float(runs[x].min()), float(runs[x].max()))
    dashed = "beyond the runs"
    for name, label in (("slice", _SLICES[table.by]), ("optimum", "best of each budget")):
        curves = table.curves[table.curves["curve"] == name].fillna({"held": 0.0})
        for held, rows in curves.groupby("held"):
            colour, width = (colours(norm(held)), 1.0) if held else (BLACK, 1.6)
            for part, inside in _parts(rows):
                entry = label if inside else dashed
                axes.plot(
                    part[x],
                    part["loss"],
                    "-" if inside else "--",
                    color=colour,
                    linewidth=width,
                    label=entry,
                )
                label, dashed = ("", dashed) if inside else (label, "")
    drawn = axes.scatter(
        runs[x], runs["loss"], c=runs[table.by], cmap=colours, norm=norm, s=14, zorder=3,
        edgecolors="white", linewidths=0.3, label="runs",
    )  # fmt: skip
    axes.set_ylim(0.98 * min(runs["loss"].min(), table.curves["loss"].min()), 1.04 * runs["loss"].max())
    bar = axes.figure.colorbar(drawn, ax=axes)
    bar.minorticks_off()
    readable_axis(bar.ax, "y", counts=table.by != "flops")
    bar.set_label(quantity_label(table.by))
    axes.set_xlabel(quantity_label(x))
    axes.set_ylabel(quantity_label("loss", table.loss_unit))
    readable_axis(axes, "x", counts=x != "flops")
    readable_axis(axes, "y")
    legend_above(axes, note=table.note)
    return axes


def _parts(rows: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, bool]]:
    """A curve from its first to its last place within the runs, and what is beyond on either side."""
    inside = np.flatnonzero(rows["inside"])
    if not len(inside):
        yield rows, False
        return
    first, last = inside[0], inside[-1]
    for part, within in ((rows[first : last + 1], True), (rows[: first + 1], False), (rows[last:], False)):
        if len(part) > 1:
            yield part, within
