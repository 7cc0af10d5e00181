"""Figure: the fitted parameters under each way to count the models' parameters, and the published fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import COUNTING_NAMES, quantity_label
from chinchilla_jax.laws.fitted import COEFFICIENTS
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022
from chinchilla_jax.plots.panels import AxesLike, finish_legend, panels
from chinchilla_jax.plots.styles import (
    BLACK,
    GREY,
    MISSING_TEXT,
    counting_looks,
    styled,
)
from chinchilla_jax.plots.tables import (
    PARAMETER_COLUMNS,
    StudyTables,
    complete,
    countings,
    interval_name,
    select,
)
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PUBLISHED_STYLES: tuple[tuple[Any, str], ...] = (("-.", BLACK), (":", GREY))


def parameters_by_counting_table(
    study: StudyTables, *, method: str = "percentile", level: float | None = None
) -> pd.DataFrame:
    """The fitted parameters of the unperturbed conditions.

    Returns:
        counting, condition, parameter (of the study's law), estimate, low, high, level, method,
        n_converged, n_failed; one row per counting and parameter, NaN where no fit converged.

    Raises:
        UsageError: the study has no such method or level.
    """
    rows = select(study.params, method=method, level=level)
    return complete(countings(study), rows, "parameter", PARAMETER_COLUMNS)


def published_parameters() -> pd.DataFrame:
    """The published fits: source, parameter, value.

    Hoffmann et al. 2022 (arXiv:2203.15556, approach 3) and Besiroglu et al. 2024 (arXiv:2404.10102), both on
    the reported counts.
    """
    import pandas as pd

    laws = {"Hoffmann et al. 2022": HOFFMANN_2022, "Besiroglu et al. 2024": BESIROGLU_2024}
    return pd.DataFrame(
        [
            {"source": source, "parameter": name, "value": float(value)}
            for source, law in laws.items()
            for name, value in law.as_dict().items()
        ]
    )


@styled
def parameters_by_counting(
    table: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    parameters: Sequence[str] | None = None,
    ax: AxesLike = None,
) -> Figure:
    """Draw `parameters_by_counting_table`: estimates as markers, intervals as bars.

    Args:
        table: as above.
        published: `published_parameters()`, drawn as vertical lines; None to omit them.
        parameters: the panels; None for all of the law.
        ax: one Axes per parameter (in this order, or by name); None for a new figure.

    Returns:
        The figure.
    """
    parameters = list(dict.fromkeys(table["parameter"])) if parameters is None else parameters
    where = panels(parameters, ax, columns=3, size=(6.4, 3.7), legend=True)
    names = list(dict.fromkeys(table["counting"]))
    for i, (parameter, axes) in enumerate(where.axes.items()):
        rows = table[table["parameter"] == parameter].set_index("counting").reindex(names)
        _draw_estimates(axes, rows)
        if published is not None:
            _draw_published(axes, published[published["parameter"] == parameter])
        if parameter in COEFFICIENTS:
            axes.set_xscale("log")
        readable_axis(axes, "x", most=4)
        axes.set_xlabel(quantity_label(parameter))
        axes.set_ylim(len(names) - 0.4, -0.6)
        # In a new figure each row of panels shows the names once.
        shown = names if where.legend is None or i % 3 == 0 else [""] * len(names)
        axes.set_yticks(range(len(names)), [COUNTING_NAMES.get(name, name) for name in shown])
        axes.tick_params(axis="y", length=0)
    finish_legend(where, _legend_handles(table, published), loc="best")
    return where.figure


def _draw_estimates(axes: Axes, rows: pd.DataFrame) -> None:
    looks = counting_looks([str(name) for name in rows.index])
    for place, (name, row) in enumerate(rows.iterrows()):
        look = looks[str(name)]
        if not np.isfinite(row["estimate"]):
            axes.text(0.5, place, "no converged fit", transform=axes.get_yaxis_transform(), **MISSING_TEXT)
            continue
        axes.plot([row["low"], row["high"]], [place, place], color=look.colour, linewidth=2.0, zorder=2)
        axes.plot(
            row["estimate"],
            place,
            marker=look.marker,
            color=look.colour,
            markersize=6.0,
            markeredgecolor="white",
            markeredgewidth=0.6,
            zorder=3,
        )


def _draw_published(axes: Axes, published: pd.DataFrame) -> None:
    for (_, mark), (dashes, colour) in zip(published.iterrows(), _PUBLISHED_STYLES, strict=False):
        axes.axvline(mark["value"], linestyle=dashes, color=colour, linewidth=1.1, zorder=1)


def _legend_handles(table: pd.DataFrame, published: pd.DataFrame | None) -> list[Any]:
    from matplotlib.lines import Line2D

    label = f"estimate,\n{interval_name(table)}"
    known = table[np.isfinite(table["estimate"])]
    looks = counting_looks([str(name) for name in dict.fromkeys(table["counting"])])
    # In the look of the first counting that is drawn.
    first = [looks[str(name)] for name in known["counting"][:1]]
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linewidth=2.0, label=label) for look in first
    ]
    if published is not None:
        for source, (dashes, colour) in zip(
            published["source"].drop_duplicates(), _PUBLISHED_STYLES, strict=False
        ):
            handles.append(
                Line2D([], [], linestyle=dashes, color=colour, linewidth=1.1, label=f"published:\n{source}")
            )
    return handles
