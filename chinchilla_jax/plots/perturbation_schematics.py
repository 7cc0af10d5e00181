"""Figure: how each family of perturbation changes the counts or losses of the study's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.text import count_text
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT, parse_condition
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, CORNER_RIGHT, styled, sweep_colours
from chinchilla_jax.plots.sweeps import (
    DOCUMENTED_LABELS,
    DOCUMENTED_STYLE,
    spread,
    sweep_of,
)
from chinchilla_jax.plots.tables import StudyTables, conditions_of, families
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 5
# Labels before and after. Of the three symbols, only N exists with a tilde as a single character.
_AXES = {
    "params": ("true parameters N", "perturbed parameters \u00d1"),
    "tokens": ("true tokens D", "perturbed tokens"),
    "loss": ("true loss L (nats per token)", "perturbed loss"),
}


def perturbation_table(study: StudyTables, shown: Sequence[str] | None = None) -> pd.DataFrame:
    """Counts (or losses) before and after each perturbation of the study, for the first repeat of each size.

    Random perturbations are redrawn from the study's seed and the condition's id, which reproduces the
    numbers that were fitted.

    Args:
        study: its `runs()` and `spec.seed` are used.
        shown: families; None for all families of the study.

    Returns:
        family, condition, value, run (position), quantity ("params", "tokens" or "loss": what the family
        changes), before, after (counts, or nats per token); one row per condition and run. A coupled family
        is shown by its parameters.

    Raises:
        UsageError: the study does not have one of the families.
    """
    import pandas as pd

    runs = study.runs()
    frames = []
    for family in families(study) if shown is None else shown:
        of = sweep_of(family).of
        for row in conditions_of(study, family).drop_duplicates("value").itertuples():
            perturbation = parse_condition(str(row.condition).partition("@")[0])
            columns = {
                "family": family,
                "condition": row.condition,
                "value": float(row.value),
                "run": np.arange(len(runs)),
                "quantity": of,
                "before": getattr(runs, of),
                "after": getattr(perturbation.apply(runs, seed=study.spec.seed), of),
            }
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


@styled
def perturbations(table: pd.DataFrame, *, ax: AxesLike = None) -> Figure:
    """Draw `perturbation_table`: perturbed against true values, a panel per family with up to five sizes.

    Args:
        table: as above.
        ax: one Axes per family of the table (in its order, or by name); None for a new figure.

    Returns:
        The figure.
    """
    names = list(dict.fromkeys(table["family"]))
    where = panels(names, ax, columns=2, size=(6.4, 2.6 * ((len(names) + 1) // 2)))
    for family, axes in where.axes.items():
        _draw_family(axes, family, table[table["family"] == family])
    return where.figure


def _draw_family(axes: Axes, family: str, rows: pd.DataFrame) -> None:
    sweep = sweep_of(family)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = np.array([rows["before"].min(), rows["before"].max()])
    if family in DOCUMENTED_LABELS:
        axes.fill_between(
            ends,
            ends / (1.0 + DOCUMENTED_MISCOUNT),
            ends * (1.0 + DOCUMENTED_MISCOUNT),
            label=f"within\n{DOCUMENTED_MISCOUNT:.1%}",
            **DOCUMENTED_STYLE,
        )
    axes.plot(ends, ends, color=BLACK, linewidth=0.9, zorder=3, label="unchanged")
    chosen = spread(sweep, rows["value"], _SHOWN)
    strength = {value: abs(float(sweep.shown(value) - sweep.shown(sweep.neutral))) for value in chosen}
    handles = {}
    for value, colour in zip(chosen, sweep_colours(len(chosen)), strict=True):
        of_value = rows[rows["value"] == value]
        (handles[value],) = axes.plot(
            of_value["before"],
            of_value["after"].where(of_value["after"] > 0),
            linestyle="none",
            marker="o",
            markersize=3.0,
            markeredgewidth=0,
            color=colour,
            label=f"{sweep.text(value)}",
            # Draw the widest scatter first, so that narrower ones stay visible.
            zorder=2.9 - 0.5 * strength[value] / max(max(strength.values()), 1e-300),
        )
    readable_axis(axes, "x", counts=sweep.of != "loss")
    readable_axis(axes, "y", counts=sweep.of != "loss")
    axes.set_title(sweep.title.replace(": ", "\n", 1))  # in one line it may be wider than its panel
    before, after = _AXES[sweep.of]
    axes.set_xlabel(before)
    axes.set_ylabel(after)
    others = axes.get_legend_handles_labels()[0][: 1 + (family in DOCUMENTED_LABELS)]
    # Largest size first, in the order of the points; beside the Axes, where it hides none of them.
    listed = [handles[value] for value in reversed(chosen)]
    axes.legend(
        handles=[*listed, *others],
        title=sweep.symbol_with_unit,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        alignment="left",
        handletextpad=0.4,
        handlelength=1.2,
    )
    unusable = int((rows.loc[rows["value"].isin(chosen), "after"] <= 0).sum())
    if unusable:
        what = ("loss", "losses") if sweep.of == "loss" else ("count", "counts")
        text = f"{count_text(unusable, *what)} not positive"
        axes.text(0.98, 0.02, text, transform=axes.transAxes, **CORNER_RIGHT)
