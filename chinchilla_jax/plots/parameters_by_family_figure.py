"""Figure: the fitted parameters against the size of one family of perturbation.

| code       | symbol      | shape | unit                                              |
|------------|-------------|-------|---------------------------------------------------|
| value      | c, s, sigma | ()    | size of the perturbation, as in the tables        |
| estimate   |             | ()    | point estimate of one parameter                   |
| low, high  |             | ()    | ends of its interval                              |
| mu         | mu          | ()    | parameters (count): centre of a systematic bias   |

Lines show the exact identities of `analysis/identities.py`, applied to the unperturbed fit; they hold for any
objective. A coupled factor has one where the tokens of the runs were derived from their compute.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.text import count_text
from chinchilla_jax.analysis.identities import ExactMap, exact_map
from chinchilla_jax.laws.fitted import COEFFICIENTS
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import FAMILIES, bias_centre, documented_sizes, tokens_derived
from chinchilla_jax.plots.marks import mark_missing
from chinchilla_jax.plots.panels import AxesLike, finish_legend, label_above, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREY, SKY, VERMILLION, styled
from chinchilla_jax.plots.sweeps import (
    DOCUMENTED_STYLE,
    SweepAxis,
    documented_label,
    sweep_of,
)
from chinchilla_jax.plots.tables import (
    PARAMETER_COLUMNS,
    StudyTables,
    complete,
    conditions_of,
    interval_name,
    select,
    unperturbed_condition,
)
from chinchilla_jax.plots.ticks import readable_axis
from chinchilla_jax.solvers.counted import counted_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chinchilla_jax.datasets import Runs

_VALUES = ["estimate", "low", "high"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FamilyParameters:
    """The fitted parameters of one family, ready to draw.

    Attributes:
        family: its name.
        conditions: condition, value, repeat, parameter, estimate, low, high, n_converged, n_failed, level,
            method, certified (whether the point fit has a certificate; True where the study does not say);
            one row per condition and parameter, NaN where no fit converged.
        over_repeats: parameter, value and the medians over repeats of estimate, low and high, with n_repeats
            and n_missing (repeats without a converged fit, which the medians leave out).
        unperturbed: parameter, estimate of the unperturbed condition; empty if the study has none.
        exact: parameter, value, expected: the values that the identities predict, on a fine grid of sizes;
            empty for families without an identity.
        documented: sizes up to the documented miscount (`perturbations.documented_sizes`), or None.
        documented_label: what these sizes are called.
        n_fits: bootstrap fits of all conditions together.
        n_failed: how many of them do not count; the intervals leave these out.
    """

    family: str
    conditions: pd.DataFrame
    over_repeats: pd.DataFrame
    unperturbed: pd.DataFrame
    exact: pd.DataFrame
    documented: tuple[float, float] | None
    documented_label: str
    n_fits: int
    n_failed: int


def parameters_by_family_table(
    study: StudyTables, family: str, *, method: str = "percentile", level: float | None = None
) -> FamilyParameters:
    """The fitted parameters of one family of the study, with identities and documented sizes.

    Raises:
        UsageError: the study has no such family, method or level.
    """
    rows = select(study.params, method=method, level=level)
    members = conditions_of(study, family).drop(columns="params")
    conditions = complete(members, rows, "parameter", PARAMETER_COLUMNS)
    conditions["certified"] = ~conditions["condition"].isin(_uncertified(study, method))
    grouped = conditions.groupby(["parameter", "value"], sort=True)
    over_repeats = grouped[_VALUES].median().reset_index()
    over_repeats["n_repeats"] = grouped.size().to_numpy()
    over_repeats["n_missing"] = grouped["estimate"].apply(lambda each: int(each.isna().sum())).to_numpy()
    unperturbed = rows.loc[
        rows["condition"] == unperturbed_condition(study, family), ["parameter", "estimate"]
    ].reset_index(drop=True)
    runs = study.runs()
    # One row per condition: the counts are the same for each of its parameters.
    counts = conditions.drop_duplicates("condition")[["n_converged", "n_failed"]].sum()
    return FamilyParameters(
        family=family,
        conditions=conditions,
        over_repeats=over_repeats,
        unperturbed=unperturbed,
        exact=_exact(family, unperturbed, np.unique(conditions["value"]), runs),
        documented=documented_sizes(runs, family),
        documented_label=documented_label(family, runs.name),
        n_fits=int(counts.sum()),
        n_failed=int(counts["n_failed"]),
    )


def _uncertified(study: StudyTables, method: str) -> list[str]:
    """Conditions whose point fit, by the estimator that belongs to `method`, does not count."""
    point = getattr(study, "point", None)
    if point is None:
        return []
    objective = "huber_scale" if method == "besiroglu2024" else getattr(study.spec, "objective", "huber")
    counted = counted_rows(point["status"], getattr(study.spec, "boundary", "keep"))
    failed = point[(point["objective"] == objective) & ~counted]
    return [str(name) for name in failed["condition"]]


def _exact(family: str, unperturbed: pd.DataFrame, values: Any, runs: Runs) -> pd.DataFrame:
    """What the identities predict at 101 sizes over the sweep: parameter, value, expected."""
    import pandas as pd

    known = {str(row.parameter): float(row.estimate) for row in unperturbed.itertuples()}
    usable = values[values > 0]
    empty = pd.DataFrame({"parameter": [], "value": [], "expected": []})
    if not FAMILIES[family].logarithmic or set(known) != set(PARAMETERS) or not usable.size:
        return empty
    law = ScalingLaw(**known)
    grid = np.geomspace(usable.min(), usable.max(), 101)
    maps = [_map_of(family, float(value), runs) for value in grid]
    if any(each is None for each in maps):
        return empty
    laws = [each.law(law).map(float).as_dict() for each in maps if each is not None]
    return (
        pd.DataFrame(laws, index=pd.Index(grid, name="value"))
        .melt(var_name="parameter", value_name="expected", ignore_index=False)
        .reset_index()
    )


def _map_of(family: str, value: float, runs: Runs) -> ExactMap | None:
    """The identity of one size on these runs; None if there is none."""
    if family == "coupled_multiplicative" and tokens_derived(runs):
        return ExactMap(log_k=math.log(value), log_tokens=-math.log(value))
    return exact_map(FAMILIES[family](value), bias_centre(runs))


@styled
def parameters_by_family(
    table: FamilyParameters, *, parameters: Sequence[str] | None = None, ax: AxesLike = None
) -> Figure:
    """Draw `parameters_by_family_table`: a panel per parameter, against the size of the perturbation.

    Without repeats, each condition is a marker with its interval. With repeats, each is a small marker, and a
    line and a band show the medians over repeats of the estimate and of the interval's ends.

    Args:
        table: as above.
        parameters: the panels; None for all of the law.
        ax: one Axes per parameter (in this order, or by name); None for a new figure.

    Returns:
        The figure.
    """
    sweep = sweep_of(table.family)
    parameters = list(dict.fromkeys(table.conditions["parameter"])) if parameters is None else parameters
    where = panels(parameters, ax, columns=3, size=(6.4, 4.2), legend=True)
    for parameter, axes in where.axes.items():
        _draw_panel(axes, table, sweep, parameter)
    if where.legend is not None:
        where.figure.suptitle(sweep.title, x=0.01, ha="left", fontsize=9.5)
    finish_legend(where, loc="best")
    return where.figure


def _draw_panel(axes: Axes, table: FamilyParameters, sweep: SweepAxis, parameter: str) -> None:
    axes.set_xscale(sweep.scale)
    axes.set_yscale(_y_scale(table.family, parameter))
    rows = table.conditions[table.conditions["parameter"] == parameter]
    present = rows[np.isfinite(rows["estimate"])]
    if table.over_repeats["n_repeats"].max() > 1:
        medians = table.over_repeats[table.over_repeats["parameter"] == parameter]
        _draw_repeats(axes, sweep, present[present["certified"]], medians, interval_name(table.conditions))
    else:
        x = sweep.shown(present["value"])
        axes.vlines(x, present["low"], present["high"], color=BLUE, linewidth=1.6, zorder=2)
        name = interval_name(table.conditions)
        sure = present["certified"].to_numpy()
        axes.plot(x[sure], present["estimate"][sure], "o", color=BLUE, zorder=3, label=f"estimate,\n{name}")
    _draw_uncertified(axes, sweep, present[~present["certified"]])
    unperturbed = table.unperturbed.loc[table.unperturbed["parameter"] == parameter, "estimate"]
    exact = table.exact[table.exact["parameter"] == parameter]
    if len(exact):
        x = sweep.shown(exact["value"])
        axes.plot(
            x, exact["expected"], "--", color=VERMILLION, linewidth=1.1, zorder=2.5, label="exact identity"
        )
    elif len(unperturbed):
        # Where tokens are recomputed, the neutral size can differ from the unperturbed runs.
        label = "unperturbed,\ntokens kept" if FAMILIES[table.family].coupled else "unperturbed"
        axes.axhline(unperturbed.iloc[0], linestyle=":", color=BLACK, linewidth=0.9, zorder=1.5, label=label)
    if table.documented is not None:
        axes.axvspan(*sweep.shown(table.documented), label=table.documented_label, **DOCUMENTED_STYLE)
    # A size that the axis cannot show (a factor c <= 0) is counted but gets no cross.
    missing = rows.loc[~np.isfinite(rows["estimate"]), "value"]
    places = np.where(np.isfinite(sweep.coordinate(missing)), sweep.shown(missing), np.nan)
    mark_missing(axes, np.unique(places), f"no converged fit\n({count_text(len(missing), 'condition')})")
    if table.n_failed:
        label = f"{table.n_failed:,} of {table.n_fits:,} fits\ndid not converge (left out)"
        axes.plot([], [], linestyle="none", label=label)
    readable_axis(axes, "x", most=6)
    readable_axis(axes, "y")
    axes.set_xlabel(sweep.label)
    label_above(axes, quantity_label(parameter))


def _draw_uncertified(axes: Axes, sweep: SweepAxis, points: pd.DataFrame) -> None:
    """Point fits without a certificate, such as those with E = 0: hollow, in the colour of failures."""
    if len(points):
        axes.plot(
            sweep.shown(points["value"]),
            points["estimate"],
            linestyle="none",
            marker="D",
            markersize=3.6,
            markerfacecolor="white",
            markeredgecolor=VERMILLION,
            markeredgewidth=0.9,
            zorder=3.2,
            label=f"estimate without certificate\n({count_text(len(points), 'condition')})",
        )


def _draw_repeats(
    axes: Axes, sweep: SweepAxis, points: pd.DataFrame, medians: pd.DataFrame, interval: str
) -> None:
    x = sweep.shown(medians["value"])
    axes.fill_between(
        x,
        medians["low"],
        medians["high"],
        color=SKY,
        alpha=0.35,
        linewidth=0,
        zorder=1,
        label=f"{interval},\nmedian over repeats",
    )
    axes.plot(
        sweep.shown(points["value"]),
        points["estimate"],
        "o",
        color=GREY,
        markersize=2.4,
        markeredgewidth=0,
        alpha=0.7,
        zorder=2,
        label="estimate of each repeat",
    )
    axes.plot(x, medians["estimate"], "-o", color=BLUE, zorder=3, label="median over repeats")


def _y_scale(family: str, parameter: str) -> str:
    """Logarithmic where a parameter spans decades or follows a power of the size."""
    steep = FAMILIES[family].form == "systematic_bias" and parameter == "alpha"
    return "log" if parameter in COEFFICIENTS or steep else "linear"
