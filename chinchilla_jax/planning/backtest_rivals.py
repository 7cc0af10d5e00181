"""What else would have predicted held-out runs: rivals that need no law, other laws, and paired differences.

| code        | symbol  | shape | meaning                                                              |
|-------------|---------|-------|----------------------------------------------------------------------|
| errors      | |e|     | (m,)  | size of the relative error of each prediction                        |
| difference  |         |       | mean of |e| of a rival less that of the law: positive where it is worse |
| runs, windows |       | (m,)  | which run and which window each prediction is of                     |
| weights     |         | (B, m) | product of the weights of the run and of the window                 |

Predictions of one run by several windows err together, and so do those of one window. Both are therefore
drawn, each with replacement, and a prediction counts as often as the product says (the pigeonhole bootstrap,
Owen 2007, Annals of Applied Statistics 1:386), which is somewhat too wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.intervals.quantiles import central_tails, quantiles_of_known
from chinchilla_jax.planning.calibration import BANDS, band_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs

    Floats = NDArray[np.float64]

RIVALS = ("lowest", "power_law", "nearest")
"""What needs no law: the lowest loss, a power law of compute through the lowest ones, the nearest run."""
_DRAWS = 1000


def rivals(window: Runs, held: Runs) -> dict[str, Floats]:
    """What `RIVALS` predict of held-out runs, (m,) each."""
    order = np.argsort(window.flops, kind="stable")
    lowest = window.loss[order] <= np.minimum.accumulate(window.loss[order])
    logs = np.log(np.stack([window.flops, window.loss]))[:, order][:, lowest]
    power = np.full(len(held), float(np.exp(logs[1].mean())))
    if logs.shape[1] > 1 and np.ptp(logs[0]) > 0:
        slope, intercept = np.polyfit(logs[0], logs[1], 1)
        power = np.exp(intercept + slope * np.log(held.flops))
    places, at = (np.log(np.stack([each.params, each.tokens], axis=1)) for each in (window, held))
    nearest = ((at[:, None] - places[None]) ** 2).sum(axis=2).argmin(axis=1)
    return {
        "lowest": np.full(len(held), window.loss.min()),
        "power_law": np.asarray(power),
        "nearest": window.loss[nearest],
    }


def difference_table(
    table: pd.DataFrame, losses: Mapping[str, Floats], level: float, seed: int
) -> pd.DataFrame:
    """How much more others err than the law of a backtest, by distance.

    Args:
        table: `Backtest.table`.
        losses: predictions of others at its rows, (m,), NaN where there is none.
        level: mass of the intervals.
        seed: of the draws.

    Returns:
        A row for each rival and band: rival, from_decades, n (that both predict), error (median of its size),
        difference (mean of the size of its errors less that of the law's), low, high.
    """
    import pandas as pd

    observed, own = table["observed"].to_numpy(), table["error"].abs().to_numpy()
    bands, rows = band_of(table), []
    weights: dict[bytes, Floats] = {}  # of the same predictions the same
    for name, predicted in losses.items():
        errors = np.abs(predicted / observed - 1)
        for band in np.unique(bands):
            of = np.flatnonzero((bands == band) & np.isfinite(errors))
            if not len(of):
                continue
            gaps = errors[of] - own[of]
            if of.tobytes() not in weights:
                weights[of.tobytes()] = _weights(table.iloc[of], seed)
            low, high = _limits(gaps, weights[of.tobytes()], level)
            rows.append((name, BANDS[int(band)], len(of), np.median(errors[of]), gaps.mean(), low, high))
    columns = ["rival", "from_decades", "n", "error", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _weights(predictions: pd.DataFrame, seed: int) -> Floats:
    """How often each of m predictions counts in each draw of runs and windows, (B, m)."""
    generator = np.random.default_rng([seed, 11])
    weights = np.ones((_DRAWS, len(predictions)))
    for labels in ("row", "window"):
        places = np.unique(predictions[labels].to_numpy().astype(str), return_inverse=True)[1]
        count = int(places.max()) + 1
        weights *= generator.multinomial(count, np.full(count, 1 / count), size=_DRAWS)[:, places]
    return weights


def _limits(gaps: Floats, weights: Floats, level: float) -> tuple[float, float]:
    """Interval of a mean over runs and windows."""
    total = weights.sum(axis=1)
    known = total > 0
    means = weights[known] @ gaps / total[known]
    low, high = quantiles_of_known(means[:, None], central_tails(level))[:, 0]
    return float(low), float(high)
