"""The IsoFLOP estimate beside the parametric fit of the same runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax.planning.isoflop_minima import IsoflopResult
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS, LawSample, summary
from chinchilla_jax.planning.plausibility import compute_doubt, ratio_doubt

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


def compare_methods(
    result: IsoflopResult, sample: LawSample, flops: ArrayLike, *, level: float = 0.8
) -> pd.DataFrame:
    """Exponents, sizes and ratios from parabolas and from laws.

    Args:
        result: of `isoflop`.
        sample: laws fitted to the same runs.
        flops: budgets (FLOP) to prescribe for, by the cost of `result`, which both methods are asked for.
        level: mass of the intervals.

    Returns:
        Columns method ("isoflop", "parametric"), quantity ("exponent_params", "params", "tokens_per_param"),
        flops (NaN for the exponent), estimate (on all runs), low, high, median, doubt (about the row, "" for
        none).
    """
    import pandas as pd

    budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
    # NaN in resamples without a power law; `summary` leaves them out.
    params, tokens = result.optimal(budgets)
    sample = sample.at(result.cost)
    point, laws = sample.five_parameter("IsoFLOP beside a parametric fit")
    point_params, point_tokens = (np.asarray(each) for each in point.optimal(budgets, sample.cost))
    laws_params, laws_tokens = (np.asarray(each) for each in laws.optimal(budgets, sample.cost_of(laws)))
    rows: list[tuple[object, ...]] = []
    far = {budget: compute_doubt(budget, sample.largest_flops) for budget in budgets.tolist()}

    def doubt(quantity: str, distance: str, numbers: tuple[float, float, float, float]) -> str:
        estimate, low, high, _ = numbers
        said = ratio_doubt(estimate, low, high) if quantity == "tokens_per_param" else ""
        return "; ".join(filter(None, (distance, said)))

    def add(quantity: str, at: float, isoflop: Array, point: ArrayLike, laws: ArrayLike) -> None:
        found = {
            "isoflop": summary(isoflop[0], isoflop[1:], level),
            "parametric": summary(point, laws, level),
        }
        for method, numbers in found.items():
            rows.append((method, quantity, at, *numbers, doubt(quantity, far.get(at, ""), numbers)))

    costs = ((each, sample.cost_of(each)) for each in (point, laws))
    exponents = (each.along(cost).exponents[0] / cost.params_power for each, cost in costs)
    add("exponent_params", np.nan, result.exponent, *exponents)
    with beyond_float64():  # a steep power law far beyond the runs
        ratios, point_ratios = tokens / params, point_tokens / point_params
        laws_ratios = laws_tokens / laws_params
    for i, budget in enumerate(budgets.tolist()):
        add("params", budget, params[:, i], point_params[i], laws_params[:, i])
        add("tokens_per_param", budget, ratios[:, i], point_ratios[i], laws_ratios[:, i])
    return pd.DataFrame(rows, columns=["method", "quantity", "flops", *SUMMARY_COLUMNS, "doubt"])
