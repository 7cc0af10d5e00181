"""What the laws of a sample say of the best run of each budget, as curves with bands."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.labels import INTERVAL_COLUMNS
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.intervals.quantiles import central_tails, quantiles_of_known
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.allocation import allocation, frontier_of
from chinchilla_jax.planning.any_frontier import edges
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.laws.fitted import FittedLaws
    from chinchilla_jax.planning.law_sample import LawSample

CURVES = ("tokens_per_param", "params", "tokens", "loss")
_THREADS = 2


def optimum_curve(
    sample: LawSample, flops: ArrayLike, *, quantities: Sequence[str] = CURVES, level: float = 0.8
) -> pd.DataFrame:
    """The optimum of each budget: of the point law, and the percentiles of the others beside it.

    Args:
        sample: the laws, with their cost and variables.
        flops: budgets (FLOP), (k,).
        quantities: out of `CURVES`.
        level: mass of the central intervals.

    Returns:
        One row per quantity and budget: quantity, flops, estimate, low, high, median (in the units of a
        plan); NaN where no law has an optimum inside the plane.

    Raises:
        UsageError: a budget is not positive and finite, or a variable of the laws is missing.
    """
    return optimum_curves(sample, flops, levels=[level], quantities=quantities)[0]


def optimum_curves(
    sample: LawSample, flops: ArrayLike, *, levels: Sequence[float], quantities: Sequence[str] = CURVES
) -> list[pd.DataFrame]:
    """`optimum_curve` for each of some levels; the laws are evaluated and sorted once for all of them."""
    import pandas as pd

    budgets = np.atleast_1d(positive_array("flops", flops))
    point, every = (_optima(sample, laws, budgets) for laws in (sample.point, sample.laws))
    tails = [central_tails(level) for level in levels]
    probabilities = [*(low for low, _ in tails), *(high for _, high in tails), 0.5]
    with ThreadPoolExecutor(_THREADS) as threads:  # NumPy sorts without the GIL
        found = list(
            threads.map(
                lambda name: quantiles_of_known(every[name].reshape(-1, len(budgets)), probabilities),
                quantities,
            )
        )
    # One row for each probability, over all quantities.
    rows = np.concatenate(found, axis=1)
    fixed = {
        "quantity": [name for name in quantities for _ in budgets],
        "flops": np.tile(budgets, len(quantities)),
        INTERVAL_COLUMNS[0]: np.concatenate([point[name].ravel() for name in quantities]),
    }
    columns = [(rows[i], rows[i + len(levels)], rows[-1]) for i in range(len(levels))]
    return [pd.DataFrame(fixed | dict(zip(SUMMARY_COLUMNS[1:], each, strict=True))) for each in columns]


def _optima(
    sample: LawSample, laws: FittedLaws, budgets: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Each of `CURVES`, of the shape of the laws and the budgets after it."""
    if isinstance(laws, ScalingLaw):
        each = laws.map(lambda field: np.asarray(field)[..., None])
        cost = sample.cost_of(laws).outer(1)
        return allocation(each, "flops", budgets, cost=cost, quantities=CURVES)
    frontier = frontier_of(sample, laws)
    columns = []
    for budget in budgets:
        active, tokens, found = frontier.best(budget)
        active, tokens = (np.where(edges(found), np.nan, count) for count in (active, tokens))
        loss = frontier.loss(active, tokens)
        columns.append((tokens / active, active / frontier.share, tokens, loss))
    values = np.moveaxis(np.array(columns), 0, -1)
    return {name: column if laws.shape else column[0] for name, column in zip(CURVES, values, strict=True)}
