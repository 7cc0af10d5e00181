"""Figure: training FLOP over 6 N D for the models of Table A9, and attention by context length."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.text import scaled_number
from chinchilla_jax.datasets.architectures import chinchilla_architectures
from chinchilla_jax.datasets.counting import Architecture
from chinchilla_jax.planning.flops import CHINCHILLA_SEQ_LEN, attention_crossover, flop_count
from chinchilla_jax.plots.panels import AxesLike, panels
from chinchilla_jax.plots.styles import BLACK, BLUE, GREY, VERMILLION, styled, sweep_colours
from chinchilla_jax.plots.ticks import readable_axis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_LONGEST = 2**20


def context_cost_table(models: tuple[int, ...] = (1, 15, 30, 50)) -> pd.DataFrame:
    """FLOP of attention over those of the feed-forward layers by context length, for models of Table A9.

    Args:
        models: rows of Table A9, from 1.

    Returns:
        model, params (reported), seq_len, attention_over_feed_forward, crossover (tokens).
    """
    import pandas as pd

    table = chinchilla_architectures()
    dimensions = dataclasses.asdict(table.architecture)
    lengths = np.unique(np.geomspace(256, _LONGEST, 60).astype(np.int64))
    frames = []
    for model in models:
        one = Architecture(
            **{
                name: np.ravel(field)[min(model - 1, np.size(field) - 1)]
                for name, field in dimensions.items()
            }
        )
        count = flop_count(one, lengths)
        frames.append(
            pd.DataFrame(
                {
                    "model": model,
                    "params": int(table.reported_params[model - 1]),
                    "seq_len": lengths,
                    "attention_over_feed_forward": count.attention / count.feed_forward,
                    "crossover": float(attention_crossover(one)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@styled
def flop_ratio(ratios: pd.DataFrame, context: pd.DataFrame, *, ax: AxesLike = None) -> Figure:
    """Draw `planning.flop_ratio_table` beside `context_cost_table`.

    Args:
        ratios: the first.
        context: the second.
        ax: two Axes (ratio, context), or None for a new figure.

    Returns:
        The figure.
    """
    where = panels(["ratio", "context"], ax, columns=2, size=(9.2, 3.8))
    axes, beside = where.axes["ratio"], where.axes["context"]
    axes.set_xscale("log")
    dots: dict[str, Any] = {"linestyle": "none", "markersize": 4.0}
    axes.plot(ratios["params"], ratios["ratio"], color=BLUE, marker="o", label="whole model", **dots)
    axes.plot(
        ratios["params"], ratios["ratio_layers"], color=VERMILLION, marker="^", label="layers alone", **dots
    )
    axes.axhline(1.0, color=BLACK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlabel("parameters N")
    axes.set_ylabel("training FLOP / (6 N D)")
    axes.legend(loc="upper right")
    beside.set_xscale("log", base=2)
    beside.set_yscale("log")
    groups = list(context.groupby("model", sort=False))
    for (_, rows), colour in zip(groups, sweep_colours(len(groups)), strict=True):
        label = f"{scaled_number(float(rows['params'].iloc[0]), 2)} parameters"
        beside.plot(rows["seq_len"], rows["attention_over_feed_forward"], color=colour, label=label)
        beside.plot(rows["crossover"].iloc[0], 1.0, color=colour, marker="o", markersize=4.5)
    beside.axhline(1.0, color=BLACK, linewidth=0.8, linestyle=(0, (4, 3)))
    beside.axvline(CHINCHILLA_SEQ_LEN, color=GREY, linewidth=0.9, linestyle=":")
    beside.set_xlabel("context length (tokens)")
    beside.set_ylabel("attention / feed-forward FLOP")
    beside.legend(loc="upper left")
    readable_axis(axes, "x", counts=True)
    readable_axis(beside, "y")
    return where.figure
