"""Trained models against the fitted optimum: under-trained, optimal within uncertainty, over-trained.

| code               | symbol | shape  | unit                                                            |
|--------------------|--------|--------|-----------------------------------------------------------------|
| params, tokens     | N, D   | (m,)   | counts                                                          |
| flops              | C      | (m,)   | FLOP, 6 N D                                                     |
| tokens_per_param   | r      | (m,)   | D / N                                                           |
| optimal ratio      | r*     | (R, m) | D_opt / N_opt at the model's own C, per law                     |
| p_under, p_over    |        | (m,)   | share of the laws with r < r*, with r > r*                      |
| overhead           |        | (R, m) | compute beyond what the same loss would have cost on the frontier |

A model is called under-trained when its ratio lies below the central interval of r* of the chosen level, and
over-trained when it lies above: no fixed band around 20. "Over-trained" is about training compute alone; a
model that will serve many tokens is rightly trained beyond this optimum (see `inference.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.datasets.runs import Runs
from chinchilla_jax.datasets.units import warn_of_units
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.planning.frontier import compute_overhead
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.planning.reading import Rows, csv_rows, read_rows

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = ("under-trained", "optimal within uncertainty", "over-trained")


def known_models() -> pd.DataFrame:
    """The embedded models: model, params, tokens (counts), source."""
    from importlib.resources import files

    text = files(__package__).joinpath("tables", "known_models.csv").read_text(encoding="utf-8")
    return _models(csv_rows(text, "known models"))


def read_models(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A user's models from a CSV or Parquet file with the columns model, params and tokens.

    Args:
        path: the file. Columns are found under the names that tables of runs have ("N", "Model Size",
            "Training Tokens", ...); the first column is the name if none is called model or name. Others are
            ignored. A column for FLOP may stand in for params or tokens: C = 6 N D.

    Returns:
        Columns model, params, tokens, and source where there is one.

    Warns:
        DataWarning: sizes or tokens look like another unit, such as billions.

    Raises:
        DataError: the file cannot be read, a column is missing, or a cell is not a positive number.
    """
    return _models(read_rows(path))


def place_models(sample: LawSample, models: pd.DataFrame, *, level: float = 0.8) -> pd.DataFrame:
    """Each model against the optimum at its own training compute.

    Args:
        sample: the laws to judge by.
        models: columns model, params, tokens (counts), as `known_models` and `read_models` give.
        level: mass of the central intervals, and what "within uncertainty" means.

    Returns:
        One row per model: model, params, tokens, flops, tokens_per_param; optimal_low, optimal_median,
        optimal_high (tokens per parameter); p_under, p_over; verdict (one of `VERDICTS`); optimal_params
        and optimal_tokens (medians); overhead_low, overhead_median, overhead_high (see above); loss_low,
        loss_median, loss_high (nats per token, predicted at the model's params and tokens).
    """
    params, tokens = (models[name].to_numpy(dtype=np.float64) for name in ("params", "tokens"))
    laws = sample.laws[:, None]
    flops = FLOPS_PER_PARAM_TOKEN * params * tokens
    ratio = tokens / params
    optimum = np.asarray(sample.laws.tokens_per_param(flops))
    best_params, best_tokens = sample.laws.optimal(flops)
    low, median, high = low_median_high(optimum, level)
    # A law whose optimum is the model itself speaks for neither side.
    under, over = (ratio < optimum).mean(axis=0), (ratio > optimum).mean(axis=0)
    overhead = low_median_high(compute_overhead(laws, params, tokens), level)
    loss = low_median_high(np.asarray(sample.laws.loss(params, tokens)), level)
    verdict = np.where(ratio < low, VERDICTS[0], np.where(ratio > high, VERDICTS[2], VERDICTS[1]))
    table = models[["model", "params", "tokens"]].reset_index(drop=True)
    return table.assign(
        flops=flops,
        tokens_per_param=ratio,
        optimal_low=low,
        optimal_median=median,
        optimal_high=high,
        p_under=under,
        p_over=over,
        verdict=verdict,
        optimal_params=low_median_high(best_params, level)[1],
        optimal_tokens=low_median_high(best_tokens, level)[1],
        **{f"overhead_{name}": overhead[i] for i, name in enumerate(("low", "median", "high"))},
        **{f"loss_{name}": loss[i] for i, name in enumerate(("low", "median", "high"))},
    )


def _models(table: Rows) -> pd.DataFrame:
    import pandas as pd

    places = table.quantities(("params", "tokens"), "give a table with the columns model, params, tokens")
    count = len(table.rows)
    if not count:
        raise DataError(f"{table.where}: a header and no models; add a line per model")
    name_at = table.named("model", "name", "modelname")
    if name_at is None and 0 not in places.values():
        name_at = 0
    source_at = table.named("source")
    names = [f"row {row + 1}" if name_at is None else table.text(row, name_at) for row in range(count)]
    models = pd.DataFrame({"model": names})
    sizes = np.array([table.sizes(row, places) for row in range(count)])
    models["params"], models["tokens"] = sizes[:, 0], sizes[:, 1]
    params, tokens, flops = sizes.T
    warn_of_units(Runs(params, tokens, flops, np.ones(count)), table.where)
    if source_at is not None:
        models["source"] = [table.text(row, source_at) for row in range(count)]
    return models
