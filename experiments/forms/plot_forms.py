"""Figures of this experiment: forms out of sample and in prescription, objectives, the Wald test."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.text import MINUS
from chinchilla_jax.analysis import FormComparison
from chinchilla_jax.analysis.wald import WaldTest
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.plots.styles import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Look,
    styled,
)

_LOOKS = {
    "chinchilla": Look(BLACK, "o", "-"),
    "equal_exponents": Look(BLUE, "s", (0, (6, 1.5))),
    "fixed_floor": Look(GREEN, "^", (0, (3, 1.2, 1, 1.2))),
    "kaplan": Look(VERMILLION, "D", (0, (1.2, 1.2))),
    "broken": Look(PURPLE, "v", (0, (8, 2, 2, 2))),
}
_OTHER = Look(GREY, "P", "-")


def _look(form: str) -> Look:
    return _LOOKS.get(form, _OTHER)


def _axes(width: float, height: float) -> Axes:
    return Figure(figsize=(width, height), layout="constrained").subplots()


@styled
def plot_form_comparison(comparison: FormComparison) -> Figure:
    """Draw the out-of-sample error of each form relative to the reference form, with intervals.

    Args:
        comparison: of `analysis.compare_forms`, with at least one form beside the reference.

    Returns:
        The figure. One group of rows per split; differences in percent of the reference form's error.
    """
    table, reference = comparison.table, comparison.reference
    rows = table[table["form"] != reference]
    splits = list(dict.fromkeys(table["split"]))
    forms = list(dict.fromkeys(rows["form"]))
    ax = _axes(8.2, 1.0 + 0.2 * len(rows) + 0.3 * len(splits))
    own = table[table["form"] == reference].set_index("split")["error"]
    marks = []
    for i, split in enumerate(splits):
        for j, form in enumerate(forms):
            found = rows[(rows["split"] == split) & (rows["form"] == form)]
            look, y = _look(form), i * (len(forms) + 1) + j
            values = 100 * found[["difference", "low", "high"]].to_numpy(dtype=float) / own[split]
            if len(values):
                point, low, high = values[0]
                ax.plot([low, high], [y, y], color=look.colour, linewidth=1.8)
                (mark,) = ax.plot(point, y, marker=look.marker, color=look.colour, linestyle="none")
                if i == 0:
                    mark.set_label(form)
                    marks.append(mark)
    ax.axvline(0.0, color=GREY, linewidth=0.9, zorder=0)
    ax.set_xscale("symlog", linthresh=20.0)
    ticks = [-50, -20, -10, 0, 10, 20, 50, 100, 200, 500]
    left, right = ax.get_xlim()
    kept = [tick for tick in ticks if left <= tick <= right]
    ax.set_xticks(kept, [f"{tick:+d}".replace("-", MINUS) if tick else "0" for tick in kept])
    ax.minorticks_off()
    centres = [i * (len(forms) + 1) + (len(forms) - 1) / 2 for i in range(len(splits))]
    errors = [f"{split}\n({reference} errs by {100 * own[split]:.2g}%)" for split in splits]
    ax.set_yticks(centres, errors)
    ax.set_ylim(len(splits) * (len(forms) + 1) - 1.2, -0.8)
    ax.set_xlabel(
        f"out-of-sample error relative to {reference} (%; left is better), "
        f"{100 * comparison.level:g}% {comparison.method} intervals"
    )
    ax.grid(axis="y", visible=False)
    ax.figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))
    return ax.figure


@styled
def plot_form_ratios(table: pd.DataFrame, largest_run: float) -> Figure:
    """Draw tokens per parameter against compute, a band per form.

    Args:
        table: columns form, flops, estimate, low, high.
        largest_run: compute of the largest run (FLOP): beyond it all curves are extrapolations.
    """
    ax = _axes(6.6, 4.2)
    for form, group in table.groupby("form", sort=False):
        look = _look(str(form))
        ax.fill_between(
            group["flops"], group["low"], group["high"], color=look.colour, alpha=0.13, linewidth=0
        )
        ax.plot(group["flops"], group["estimate"], color=look.colour, linestyle=look.dashes, label=str(form))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.axvline(largest_run, color=GREY, linewidth=0.9)
    ax.annotate(
        "largest run",
        (largest_run, 0.02),
        xycoords=ax.get_xaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=8.0,
        color=GREY,
    )
    ax.axhline(RULE_OF_THUMB, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
    ax.set_xlabel(quantity_label("flops"))
    ax.set_ylabel(quantity_label("optimal_tokens_per_param"))
    ax.legend(loc="upper left")
    return ax.figure


@styled
def plot_objective_sensitivity(table: pd.DataFrame) -> Figure:
    """Draw tokens per parameter against delta, a band per budget; other objectives to the right.

    Args:
        table: of `analysis.objective_sensitivity`.
    """
    rows = table[table["quantity"] == "tokens_per_param"]
    huber = rows[rows["delta"].notna()]
    ax = _axes(7.4, 4.2)
    colours = (BLUE, GREEN, ORANGE, VERMILLION, PURPLE, SKY)
    budgets = sorted(huber["flops"].unique())
    others = [name for name in dict.fromkeys(rows["objective"]) if name != "huber"]
    largest = float(huber["delta"].max())
    for i, budget in enumerate(budgets):
        colour, marker = colours[i % len(colours)], "os^Dv*"[i % 6]
        group = huber[huber["flops"] == budget].sort_values("delta")
        ax.fill_between(group["delta"], group["low"], group["high"], color=colour, alpha=0.13, linewidth=0)
        ax.plot(group["delta"], group["estimate"], color=colour, marker=marker, label=f"{budget:.3g} FLOP")
        for j, name in enumerate(others):
            own = rows[(rows["objective"] == name) & (rows["flops"] == budget)]
            x = largest * 10 ** (0.6 + 0.7 * j + 0.11 * (i - (len(budgets) - 1) / 2))
            for point, low, high in own[["estimate", "low", "high"]].to_numpy(dtype=float):
                ax.plot([x, x], [low, high], color=colour, linewidth=1.4, alpha=0.7)
                ax.plot(x, point, color=colour, marker=marker, linestyle="none")
    ax.set_xscale("log")
    ax.set_yscale("log")
    first = float(huber["delta"].min())
    decades = 10.0 ** np.arange(np.ceil(np.log10(first) - 1e-9), np.floor(np.log10(largest) + 1e-9) + 1)
    ticks = [*decades, *(largest * 10 ** (0.6 + 0.7 * j) for j in range(len(others)))]
    ax.set_xticks(ticks, [*(f"{tick:g}" for tick in decades), *others])
    ax.minorticks_off()
    ratios = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if _spans(ax.get_ylim(), tick)]
    ax.set_yticks(ratios, [str(tick) for tick in ratios])
    ax.set_xlabel("half-width delta of Huber's quadratic zone (log loss), and other objectives")
    ax.set_ylabel(quantity_label("optimal_tokens_per_param"))
    ax.legend(loc="lower left", ncols=2)
    return ax.figure


@styled
def plot_wald(test: WaldTest, name: str = "the law") -> Figure:
    """Draw the distance of a law from the fit, with those of the resamples and the chi-squared density.

    Args:
        test: of `analysis.wald.wald_test`.
        name: what to call the law.
    """
    ax = _axes(6.6, 3.6)
    distances = test.distances[test.distances > 0]
    edges = np.geomspace(min(distances.min(), 0.3), max(distances.max(), 2 * test.statistic, 30.0), 60)
    # Per unit of ln distance, so that the area is right on a logarithmic axis.
    share, _ = np.histogram(distances, bins=edges)
    density = share / share.sum() / np.diff(np.log(edges))
    ax.stairs(density, edges, fill=True, color=SKY, alpha=0.5, label="resamples")
    middle = np.geomspace(edges[0], edges[-1], 400)
    half = test.degrees / 2
    log_density = half * np.log(middle / 2) - middle / 2 - math.lgamma(half)
    ax.plot(middle, np.exp(log_density), color=BLACK, label=f"chi-squared, {test.degrees} degrees")
    ax.axvline(test.statistic, color=VERMILLION, label=name)
    ax.set_xscale("log")
    ax.set_xlabel("squared Mahalanobis distance from the fit")
    ax.set_ylabel("density per unit of ln distance")
    ax.legend(loc="upper left")
    return ax.figure


def _spans(limits: tuple[float, float], value: float) -> bool:
    return limits[0] <= value <= limits[1]
