"""Trained models against the fitted optimum: under-trained, optimal within uncertainty, over-trained.

| code               | symbol | shape  | unit                                                            |
|--------------------|--------|--------|-----------------------------------------------------------------|
| params, tokens     | N, D   | (m,)   | counts                                                          |
| flops              | C      | (m,)   | FLOP, by the cost of the sample                                 |
| tokens_per_param   | r      | (m,)   | D / N                                                           |
| optimal ratio      | r*     | (R, m) | D_opt / N_opt at the model's own C, per law                     |
| p_under, p_over    |        | (m,)   | share of the laws with an r* that have r < r*, r > r*           |
| overhead           |        | (R, m) | compute beyond what the same loss would have cost on the frontier |

A model is under-trained if its ratio lies below the central interval of r* of the chosen level, and
over-trained if it lies above; there is no fixed band around 20. Where the point fit has no optimum at the
model's compute, the verdict says so. "Over-trained" refers to training compute
alone: for a model that will serve many tokens, training beyond this optimum pays (see `inference.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.datasets.cells import cell_text
from chinchilla_jax.datasets.columns import match_table
from chinchilla_jax.datasets.foreign import unpack
from chinchilla_jax.datasets.meaning import quantity_of
from chinchilla_jax.datasets.quantities import read_quantities
from chinchilla_jax.datasets.reading import read_bytes, read_table
from chinchilla_jax.datasets.suspicions import warn_of_units
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.validation import require_rows
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.allocation import overhead
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS, LawSample

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = ("under-trained", "optimal within uncertainty", "over-trained", "no optimum to compare with")
"""What `place_models` may say of a model."""


def known_models() -> pd.DataFrame:
    """The embedded models: model, params, tokens (counts), source."""
    content = (Path(__file__).with_name("tables") / "known_models.csv").read_bytes()
    return _models(read_bytes(content, "known models"))


def read_models(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Models from a file with the columns model, params and tokens.

    Args:
        path: a file of any kind that `load_runs` reads. Columns are matched as in tables of runs ("N",
            "Model Size", "Training Tokens", ...); without a column model or name, the first column holds the
            names. Other columns are ignored. FLOP may stand in for params or tokens: C = 6 N D.

    Returns:
        Columns model, params, tokens, and source where there is one.

    Warns:
        DataWarning: sizes or tokens look like another unit, such as billions.

    Raises:
        DataError: the file cannot be read, a column is missing, or a cell is not a positive number.
    """
    return _models(unpack(read_table(path, "read_models")))


def place_models(sample: LawSample, models: pd.DataFrame, *, level: float = 0.8) -> pd.DataFrame:
    """Each model against the optimum at its own training compute.

    Args:
        sample: the laws to judge by.
        models: columns model, params, tokens (counts), as from `known_models` and `read_models`.
        level: mass of the central intervals, which "within uncertainty" refers to.

    Returns:
        One row per model: model, params, tokens, flops, tokens_per_param; optimal_estimate (of the point
        fit), optimal_low, optimal_high, optimal_median (tokens per parameter); p_under, p_over; verdict (one
        of `VERDICTS`); optimal_params and optimal_tokens (of the point fit); overhead_ (see above) and loss_
        (nats per token, predicted at the model's params and tokens) with estimate, low, high and median.
    """
    params, tokens = (models[name].to_numpy(dtype=np.float64) for name in ("params", "tokens"))
    active = params * sample.share
    flops = sample.cost.flops(active, tokens)
    ratio = tokens / active
    best_params, best_tokens = sample.optimal(sample.point, flops)
    laws_params, laws_tokens = sample.optimal(sample.laws, flops)
    optimum = laws_tokens / (laws_params * sample.share)
    low, _, high = low_median_high(optimum, level)
    # A law whose optimum is exactly the model counts for neither side; one without an optimum is left out.
    known = (~np.isnan(optimum)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        under, over = (side.sum(axis=0) / known for side in (ratio < optimum, ratio > optimum))
    shown = {
        "optimal": (best_tokens / (best_params * sample.share), optimum),
        "overhead": tuple(overhead(sample, laws, active, tokens) for laws in (sample.point, sample.laws)),
        "loss": tuple(sample.loss(laws, params, tokens) for laws in (sample.point, sample.laws)),
    }
    numbers = {
        name: _named(name, np.asarray(estimate), low_median_high(every, level))
        for name, (estimate, every) in shown.items()
    }
    verdict = np.select(
        [np.isnan(shown["optimal"][0]) | (known == 0), ratio < low, ratio > high],
        [VERDICTS[3], VERDICTS[0], VERDICTS[2]],
        VERDICTS[1],
    )
    table = models[["model", "params", "tokens"]].reset_index(drop=True)
    return table.assign(
        flops=flops,
        tokens_per_param=ratio,
        **numbers["optimal"],
        p_under=under,
        p_over=over,
        verdict=verdict,
        optimal_params=best_params,
        optimal_tokens=best_tokens,
        **numbers["overhead"],
        **numbers["loss"],
    )


def _named(
    name: str, estimate: NDArray[np.float64], limits: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    low, median, high = limits
    values = dict(zip(SUMMARY_COLUMNS, (estimate, low, high, median), strict=True))
    return {f"{name}_{column}": value for column, value in values.items()}


def _models(table: Table) -> pd.DataFrame:
    import pandas as pd

    positions = match_table(table, quantities=("params", "tokens", "flops"), by_option=False)
    require_rows(table, "add a row per model")
    counts = read_quantities(table, positions)
    name_at, source_at = table.find("model", "name", "modelname"), table.find("source")
    if name_at is None and quantity_of(table.header[0]) is None:
        name_at = 0
    count = len(table.rows)
    names = [f"row {row + 1}" for row in range(count)] if name_at is None else _text(table, name_at)
    warn_of_units(table.where, counts["params"], counts["tokens"])
    models = pd.DataFrame({"model": names, "params": counts["params"], "tokens": counts["tokens"]})
    return models if source_at is None else models.assign(source=_text(table, source_at))


def _text(table: Table, position: int) -> list[str]:
    return [cell_text(cell) for cell in table.column(position)]
