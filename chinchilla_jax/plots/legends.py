"""Legends above the Axes, where they hide no data, in as many columns as fit; and the range of the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chinchilla_jax.plots.styles import RUNS_SHADE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_HANDLE, _EM = 36.0, 0.5  # points beside each text, and width of a character over the size of the font
RANGE_LABEL = "range of the runs"


def legend_above(axes: Axes, handles: Sequence[Any] | None = None, *, note: str = "") -> None:
    """List the labelled artists of the Axes above it; nothing where there is none.

    Args:
        axes: the Axes; without a title, whose place this is.
        handles: artists to list; None for all labelled ones.
        note: a line above the list.
    """
    listed = list(axes.get_legend_handles_labels()[0] if handles is None else handles)
    if not listed:
        return
    from matplotlib import rcParams

    figure = axes.get_figure(root=True)
    size = float(rcParams["font.size"]) * 0.89
    widest = max(len(str(each.get_label())) for each in listed) * _EM * size + _HANDLE
    # The layout of a new figure will give it about a fifth more.
    share = 1.2 if figure.get_layout_engine() is not None else 1.0  # type: ignore[union-attr]
    width = share * axes.bbox.width * 72 / figure.dpi  # type: ignore[union-attr]
    columns = min(max(int(width // widest), 1), len(listed))
    axes.legend(
        handles=listed, loc="lower left", bbox_to_anchor=(0.0, 1.01), ncols=columns, frameon=False,
        borderpad=0.0, borderaxespad=0.2, columnspacing=1.4, title=note or None, title_fontsize=size,
        alignment="left",
    )  # fmt: skip


def legend_below(axes: Axes, handles: Sequence[Any], *, columns: int = 1, title: str = "") -> None:
    """List the artists below the label of the x-axis, where something else is above the Axes."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    drop = ScaledTranslation(0.0, -36.0 / 72.0, figure.dpi_scale_trans)  # type: ignore[union-attr]
    axes.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(-0.02, 0.0),
        bbox_transform=axes.transAxes + drop, borderaxespad=0.0, ncols=columns, title=title or None,
        title_fontsize=8.0, alignment="left",
        # Room for two whole dashes: a key cut within a dash would read as dash-dot.
        handlelength=3.04,
    )  # fmt: skip


def shade_runs(axes: Axes, low: float, high: float, label: str = RANGE_LABEL) -> None:
    """Shade where the runs lie along the x-axis; outside, a law is extrapolated.

    Args:
        axes: the Axes.
        low: of the smallest run, in units of the axis.
        high: of the largest.
        label: its entry in the legend.
    """
    axes.axvspan(low, high, color=RUNS_SHADE, linewidth=0, zorder=0, label=label)


def shaded(axes: Axes) -> list[Any]:
    """The entry of the legend for the range of the runs, where it is shaded."""
    return [each for each in axes.patches if each.get_label() == RANGE_LABEL]
