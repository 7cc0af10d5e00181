"""Figure: compute-optimal tokens per parameter under one family of perturbation, coloured by its size.

| code              | symbol      | shape | unit                                        |
|-------------------|-------------|-------|---------------------------------------------|
| flops             | C           | (m,)  | training FLOP                               |
| value             | c, s, sigma | ()    | size of the perturbation, as in the tables  |
| low, median, high |             | (m,)  | tokens per parameter, ends of the band      |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.text import list_text
from chinchilla_jax.intervals.quantiles import nan_median
from chinchilla_jax.perturbations import FAMILIES, documented_sizes
from chinchilla_jax.plots.legends import legend_below, shaded
from chinchilla_jax.plots.marks import finish_ratio_axes, missing_entry
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import BLACK, styled, sweep_colours
from chinchilla_jax.plots.sweeps import (
    DOCUMENTED_STYLE,
    SweepAxis,
    documented_label,
    spread,
    sweep_of,
)
from chinchilla_jax.plots.tables import (
    BANDS,
    StudyTables,
    as_array,
    conditions_of,
    interval_name,
    select,
    shown_budgets,
    shown_or_nan,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELS = 11
# Stronger than elsewhere, because it lies among coloured bands; below the lines.
_DOCUMENTED_SPAN = {**DOCUMENTED_STYLE, "alpha": 0.6, "zorder": 1.4}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FamilyBands:
    """Tokens per parameter of one family, ready to draw.

    Attributes:
        family: its name.
        curves: value, flops, low, median, high (over repeats: their medians), n_repeats, n_missing (repeats
            without a band, which the medians leave out), level, method; ascending in value, then flops.
        documented: flops, low, high: the span of the medians over the documented sizes, where the logarithm
            of the median is interpolated linearly between the sizes of the study; empty if the study's sizes
            do not enclose the documented ones.
        documented_sizes: lowest and highest documented size; None if none is documented.
        documented_label: what these sizes are called.
        n_conditions: conditions of the family.
        n_missing: how many of them have no converged fit.
        runs: compute of the smallest and of the largest run (FLOP); None where it is not known.
    """

    family: str
    curves: pd.DataFrame
    documented: pd.DataFrame
    documented_sizes: tuple[float, float] | None
    documented_label: str
    n_conditions: int
    n_missing: int
    runs: tuple[float, float] | None = None


def tokens_per_param_by_family_table(
    study: StudyTables, family: str, *, method: str = "percentile", level: float | None = None
) -> FamilyBands:
    """The bands of one family of the study, summarised over repeats of the same size.

    Raises:
        UsageError: the study has no such family, method or level.
    """
    rows = select(study.tokens_per_param, method=method, level=level)
    rows, span = shown_budgets(study, rows)
    members = conditions_of(study, family)
    flops = np.unique(rows["flops"])
    bands = as_array(rows, {"condition": members["condition"], "flops": flops}, BANDS)
    curves = family_curves(members["value"], flops, bands)
    runs = study.runs()
    limits = documented_sizes(runs, family)
    return FamilyBands(
        family=family,
        curves=curves.assign(level=rows["level"].iloc[0], method=method),
        documented=documented_span(curves, family, limits),
        documented_sizes=limits,
        documented_label=documented_label(family, runs.name),
        n_conditions=len(members),
        n_missing=int(np.isnan(bands[:, :, BANDS.index("median")]).all(axis=1).sum()),
        runs=span,
    )


def family_curves(values: ArrayLike, flops: ArrayLike, bands: NDArray[np.float64]) -> pd.DataFrame:
    """`FamilyBands.curves` from the bands of the conditions, without level and method.

    Args:
        values: size of the perturbation of each condition, shape (n,).
        flops: budgets, shape (m,), ascending.
        bands: low, median and high of each condition at each budget, shape (n, m, 3); NaN where there is
            none.
    """
    import pandas as pd

    values = np.asarray(values, dtype=np.float64)
    sizes = np.unique(values[~np.isnan(values)])
    groups = [bands[values == size] for size in sizes]
    missing = [np.isnan(group[:, :, BANDS.index("median")]).sum(axis=0) for group in groups]
    # An infinite ratio of one repeat counts in the median; only an infinite median cannot be drawn.
    medians = shown_or_nan(np.array([nan_median(group) for group in groups]).reshape(-1, len(BANDS)))
    n_budgets = bands.shape[1]
    return pd.DataFrame(
        {
            "value": np.repeat(sizes, n_budgets),
            "flops": np.tile(np.asarray(flops), len(sizes)),
            **dict(zip(BANDS, medians.T, strict=True)),
            "n_repeats": np.repeat([len(group) for group in groups], n_budgets),
            "n_missing": np.array(missing, dtype=np.int64).ravel(),
        }
    )


def documented_span(
    curves: pd.DataFrame,
    family: str,
    limits: tuple[float, float] | None,
    *,
    column: str = "median",
    budget: float | None = None,
) -> pd.DataFrame:
    """`FamilyBands.documented` of these curves: flops, low, high.

    Args:
        curves: as from `family_curves`.
        family: of the curves.
        limits: from `perturbations.documented_sizes`.
        column: of the curves, whose span it is.
        budget: of which alone it is; None for all.
    """
    import pandas as pd

    if limits is None:
        return pd.DataFrame({"flops": [], "low": [], "high": []})
    sweep = sweep_of(family)
    flops = np.unique(curves["flops"])
    medians = curves[column].to_numpy().reshape(-1, len(flops))
    place = sweep.coordinate(np.unique(curves["value"]))
    usable = np.isfinite(place) & ~np.isnan(medians).all(axis=1)
    wanted = np.full(len(flops), True) if budget is None else flops == budget
    flops, medians, place = flops[wanted], medians[usable][:, wanted], place[usable]
    ends = sweep.coordinate(limits)
    if not usable.any() or ends[0] < place.min() or ends[1] > place.max():
        return pd.DataFrame({"flops": [], "low": [], "high": []})
    at = np.concatenate([ends, place[(place > ends[0]) & (place < ends[1])]])
    spans = np.exp([np.interp(at, place, logs) for logs in np.log(medians).T]).reshape(-1, len(at))
    return pd.DataFrame({"flops": flops, "low": spans.min(axis=1), "high": spans.max(axis=1)})


@styled
def tokens_per_param_by_family(table: FamilyBands, *, bands: int = 3, ax: Axes | None = None) -> Axes:
    """Draw `tokens_per_param_by_family_table`: a median per size, with bands for some sizes.

    Args:
        table: as above.
        bands: how many sizes get a band: the ends, the neutral one, and others evenly between.
        ax: an Axes to draw on (the colour bar takes some of its room); None for a new figure.

    Returns:
        The Axes.
    """
    sweep = sweep_of(table.family)
    where = panels(["tokens per parameter"], ax, size=(5.8, 4.3))
    axes = where.axes["tokens per parameter"]
    axes.set_xscale("log")
    axes.set_yscale("log")
    values = np.unique(table.curves["value"])
    colours = [
        BLACK if value == sweep.neutral else colour
        for value, colour in zip(values, sweep_colours(len(values)), strict=True)
    ]
    banded = spread(sweep, values, bands)
    missing = []
    for value, colour in zip(values, colours, strict=True):
        rows = table.curves[table.curves["value"] == value]
        if not np.isfinite(rows["median"]).any():
            missing.append(f"{sweep.symbol} = {sweep.text(value)}")
            continue
        neutral = value == sweep.neutral
        if value in banded:
            axes.fill_between(rows["flops"], rows["low"], rows["high"], color=colour, alpha=0.13, linewidth=0)
        width, order = (2.0, 3.0) if neutral else (1.3, 2.0)
        axes.plot(rows["flops"], rows["median"], color=colour, linewidth=width, zorder=order)
    if len(table.documented):
        span = table.documented
        axes.fill_between(span["flops"], span["low"], span["high"], **_DOCUMENTED_SPAN)
    finish_ratio_axes(axes, table.curves["flops"], table.runs)
    axes.set_title(sweep.title, pad=16)
    _legend(axes, table, missing, _banded_text(sweep, banded))
    _colour_bar(where.figure, axes, table, sweep, colours)
    return axes


def _banded_text(sweep: SweepAxis, banded: Sequence[float]) -> str:
    """Which curves carry a band: " of c = 0.001, 1 and 1,000"."""
    return f" of {sweep.symbol} = {list_text([sweep.text(value) for value in banded])}{sweep.suffix}"


def _legend(axes: Axes, table: FamilyBands, missing: list[str], banded: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    over = ""
    if table.curves["n_repeats"].max() > 1:
        over = ";\nmedians over repeats"
        if table.n_missing:
            over += f" ({table.n_missing:,} of {table.n_conditions:,} without a converged fit)"
    documented = table.documented_label.replace("\n", " ")
    span = {"color": _DOCUMENTED_SPAN["color"], "alpha": 0.6, "linewidth": 0}
    sweep = sweep_of(table.family)
    # With tokens recomputed, the neutral size can differ from the unperturbed runs.
    recomputed = f"{sweep.symbol} = {sweep.text(sweep.neutral)}, tokens recomputed"
    neutral = recomputed if FAMILIES[table.family].coupled else "unperturbed"
    of_neutral = table.curves[table.curves["value"] == sweep.neutral]
    drawn_neutral = bool(np.isfinite(of_neutral["median"]).any())
    handles: list[Any] = [
        *([Line2D([], [], color=BLACK, linewidth=2.0, label=neutral)] if drawn_neutral else []),
        Patch(color=BLACK, alpha=0.18, linewidth=0, label=f"{interval_name(table.curves)}{banded}{over}"),
        *([Patch(**span, label=documented)] if documented and len(table.documented) else []),
        *shaded(axes),
        *missing_entry(missing),
    ]
    legend_below(axes, handles)


def _colour_bar(figure: Figure, axes: Axes, table: FamilyBands, sweep: SweepAxis, colours: list[Any]) -> None:
    """One block of colour per size, in order, with a bracket around the documented ones."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    values = np.unique(table.curves["value"])
    mappable = ScalarMappable(Normalize(-0.5, len(values) - 0.5), ListedColormap(colours))
    bar = figure.colorbar(mappable, ax=axes, pad=0.06, aspect=28)
    places = np.unique(np.rint(np.linspace(0, len(values) - 1, min(len(values), _MOST_LABELS))).astype(int))
    bar.set_ticks(places.tolist(), labels=[sweep.text(values[place]) for place in places])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.set_label(sweep.label)
    # Interpolate a size between two of the study's between their blocks.
    at = sweep.coordinate(values)
    usable = np.isfinite(at)
    if not usable.any() or table.documented_sizes is None:
        return
    low, high = np.interp(
        sweep.coordinate(table.documented_sizes), at[usable], np.arange(len(values))[usable]
    )
    bar.ax.plot(
        [-0.45, -0.45],
        [low, high],
        color=_DOCUMENTED_SPAN["color"],
        linewidth=4.0,
        solid_capstyle="butt",
        clip_on=False,
        transform=bar.ax.get_yaxis_transform(),
    )
