"""Coverage and width of intervals, counted over simulated data sets.

| code     | shape | meaning                                                  |
|----------|-------|----------------------------------------------------------|
| coverage | ()    | share of the data sets whose interval contains the truth |
| truth    | (n,)  | the quantity under the law that was simulated            |
| low, high | (n,) | limits of the interval of each data set                  |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs

_KEYS = ["quantity", "flops", "level", "method"]


def coverage_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Coverage and width from the intervals of every data set.

    Args:
        rows: as `coverage` writes them: dataset, quantity, flops, truth, low, high, level, method.

    Returns:
        One row per quantity, budget, level and method: coverage (share of the intervals that contain the
        truth), coverage_error (about its standard error, see `coverage_error`), below and above (share of the
        intervals that lie wholly below, wholly above the truth), median_width (high - low, in the quantity's
        unit), median_ratio (high / low; NaN where low is not positive), n (intervals judged), n_without (data
        sets without one: their point fit failed, the method gave no limits, or the truth has no such number).
    """
    import pandas as pd

    found = []
    for keys, group in rows.groupby(_KEYS, sort=False, dropna=False):
        low, high, truth = (group[name].to_numpy() for name in ("low", "high", "truth"))
        known = ~(np.isnan(low) | np.isnan(high) | np.isnan(truth))
        low, high, truth = low[known], high[known], truth[known]
        n = int(known.sum())
        share = float(np.mean((low <= truth) & (truth <= high))) if n else np.nan
        positive = low[low > 0].size == n and n > 0
        found.append(
            {
                **dict(zip(_KEYS, keys, strict=True)),
                "coverage": share,
                "coverage_error": coverage_error(share, n),
                "below": float(np.mean(high < truth)) if n else np.nan,
                "above": float(np.mean(low > truth)) if n else np.nan,
                "median_width": float(np.median(high - low)) if n else np.nan,
                "median_ratio": float(np.median(high / low)) if positive else np.nan,
                "n": n,
                "n_without": len(group) - n,
            }
        )
    return pd.DataFrame(found)


def coverage_error(share: float, n: int) -> float:
    """How far a share of n may lie from the probability behind it: half of Wilson's interval at one sigma.

    sqrt(p (1 - p) / n + 1 / (4 n^2)) / (1 + 1/n) (Wilson 1927, with z = 1): the binomial standard error,
    except that it is not 0 where all n intervals contain the truth, or none.

    Args:
        share: observed, from 0 to 1.
        n: of how many; the result is NaN for 0.
    """
    return float(np.sqrt(share * (1 - share) / n + 0.25 / n**2) / (1 + 1 / n)) if n else float("nan")


def rank_methods(table: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """Methods by their worst coverage error for tokens per parameter within the data, best first.

    Args:
        table: of `coverage_table`.
        runs: whose flops are the range.

    Returns:
        Columns method, worst_error (largest |coverage - level| over budgets and levels), worst_standard_error
        (`coverage_error`, of that one), worst_flops, worst_level, mean_ratio (mean of median_ratio).

    Raises:
        UsageError: no budget of the table lies within the range.
    """
    inside = table[
        (table["quantity"] == "tokens_per_param") & table["flops"].between(runs.flops.min(), runs.flops.max())
    ]
    inside = inside[inside["n"] > 0]
    if inside.empty:
        raise UsageError(
            "rank_methods: no budget of the table with an interval lies within the runs' range of compute"
        )
    inside = inside.assign(error=(inside["coverage"] - inside["level"]).abs())
    worst = inside.loc[inside.groupby("method")["error"].idxmax()]
    ranked = worst[["method", "error", "coverage_error", "flops", "level"]].rename(
        columns={
            "error": "worst_error",
            "coverage_error": "worst_standard_error",
            "flops": "worst_flops",
            "level": "worst_level",
        }
    )
    ratio = inside.groupby("method", as_index=False)["median_ratio"].mean()
    ranked = ranked.merge(ratio.rename(columns={"median_ratio": "mean_ratio"}), on="method")
    return ranked.sort_values("worst_error", kind="stable").reset_index(drop=True)
