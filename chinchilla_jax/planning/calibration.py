"""By how much intervals of new runs have to be wider, from predictions made before the runs were.

| code     | symbol | shape | meaning                                                                        |
|----------|--------|-------|--------------------------------------------------------------------------------|
| distance | d      | (m,)  | log10 of the compute of a predicted run over the largest of its window, from 0 |
| miss     |        | (m,)  | how far ln L is outside the interval of a new run; below 0 inside              |
| score    | s      | (m,)  | miss / (d + 1/2): at the end of the runs half as much is as bad as at 1/2      |
| rate     | r      |       | quantile of the scores at which windows are weighed as below, at least 0       |

Where a law does not hold, its errors grow with the distance and do not shrink as runs are added, while its
intervals do: a miss is measured in units of the distance, and not of the interval. Limits are moved apart by
r (d + 1/2) on either side (conformalised quantile regression, Romano et al. 2019, arXiv:1905.03222, with
scores of a local unit). Runs of one window err together. Each window therefore weighs as much as the new one
will, whose scores are taken to be infinite (Lee, Barber & Willett 2023, arXiv:2306.06342). Windows overlap,
and the next one lies beyond them all: this is no guarantee, and what it achieves is measured, on windows
later than those that it was taken from.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chinchilla_jax._util.labels import percent_text
from chinchilla_jax._util.text import count_text, list_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BANDS = (0.0, 0.5, 1.0, 2.0)
"""Decades of compute beyond the window at which bands of distance begin; the first is inside or near it."""
_BAND_WORDS = (
    "within half a decade of compute",
    "half a decade to one decade beyond",
    "one to two decades beyond",
    "two or more decades beyond",
)
DECADE = math.log(10.0)
_OFFSET = 0.5  # decades that are added to a distance
_LEAST_SCORES = 10
_MISSED = 0.05  # below the level, from which a share is said to be too small


class Judged(NamedTuple):
    """How intervals held runs of later windows, in one band of distance.

    Attributes:
        from_decades: where the band begins.
        n: predictions.
        plain: share held by the intervals as they are.
        calibrated: share held by those widened by the windows before.
    """

    from_decades: float
    n: int
    plain: float
    calibrated: float

    @property
    def distance(self) -> str:
        """The band in words."""
        return _BAND_WORDS[BANDS.index(self.from_decades)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """By how much intervals of new runs have to be wider.

    Attributes:
        rate: by which limits of ln L move outwards, per decade of d + 1/2.
        windows: that it was taken from.
        level: of the intervals.
        judged: what such intervals have held out of sample.
    """

    rate: float
    windows: int
    level: float
    judged: tuple[Judged, ...] = ()

    def widening(self, log_distance: Floats) -> Floats:
        """How far limits of ln L move outwards at each ln compute over the largest run, (m,)."""
        return np.asarray(self.rate * _distance(log_distance))

    def widened(self, limits: Floats, log_distance: Floats) -> Floats:
        """Limits (2, m) of ln L, moved apart: never nearer to each other."""
        by = self.widening(log_distance)
        return np.stack([limits[0] - by, limits[1] + by])

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        windows = count_text(self.windows, "window")
        if self.rate > 0:
            near, far = (100 * np.expm1(self.widening(DECADE * np.array([0.0, 1.0])))).tolist()
            found = (
                f"a backtest of {windows} moves the limits of new runs outwards by {near:.2g}% at the end of "
                f"the runs and by {far:.2g}% one decade of compute beyond"
            )
        else:
            found = f"a backtest of {windows} finds no need to widen the intervals of new runs"
        return "; ".join([found, self.achieved, *filter(None, [self.doubt])])

    @property
    def achieved(self) -> str:
        """What share of later runs was held, or that this could not be measured."""
        if not self.judged:
            return "there are too few windows to measure how many later runs such intervals hold"
        shares = [
            f"{each.calibrated:.0%} of {count_text(each.n, 'predicted run')} {each.distance} "
            f"({each.plain:.0%} before widening)"
            for each in self.judged
        ]
        return (
            f"such intervals should hold {percent_text(self.level)} of new runs; made from earlier windows "
            f"alone, they held {list_text(shares)}"
        )

    @property
    def doubt(self) -> str:
        """That there are too few windows for the level, or that later runs were not held; "" for neither."""
        found = []
        if self.windows < least_windows(self.level):
            found.append(
                f"{percent_text(self.level)} intervals need {least_windows(self.level)} windows: with fewer, "
                "limits move by the largest miss, which may be too little"
            )
        missed = [each.distance for each in self.judged if each.calibrated < self.level - _MISSED]
        if missed:
            found.append(
                f"they held too few runs {list_text(missed)}: the law errs more there than earlier windows "
                "show"
            )
        return "; ".join(found)


def least_windows(level: float) -> int:
    """Fewest windows whose largest score is a conformal quantile of this level."""
    return math.ceil(level / (1 - level) - 1e-9)


def calibrate(table: pd.DataFrame, level: float, judged: tuple[Judged, ...] = ()) -> Calibration | None:
    """What predictions say of the intervals of new runs; None for fewer than ten.

    Args:
        table: window, log_distance, observed, new_run_low and new_run_high of each prediction.
        level: of the intervals.
        judged: what such intervals have held.
    """
    if len(table) < _LEAST_SCORES:
        return None
    low, high, observed = (
        np.log(table[name].to_numpy()) for name in ("new_run_low", "new_run_high", "observed")
    )
    miss = np.maximum(low - observed, observed - high)
    scores = miss / _distance(table["log_distance"].to_numpy())
    windows = table["window"].to_numpy().astype(str)
    places, sizes = np.unique(windows, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(scores)
    mass = np.cumsum(1 / sizes[places][order]) / (len(sizes) + 1)
    rank = min(int(np.searchsorted(mass, level - 1e-9)), len(scores) - 1)
    rate = max(float(scores[order[rank]]), 0.0)
    return Calibration(rate=rate, windows=len(sizes), level=float(level), judged=judged)


def calibrated_by_others(
    table: pd.DataFrame, runs: NDArray[np.intp], held_out: Sequence[NDArray[np.bool_]], level: float
) -> Floats:
    """Limits (2, m) of ln L, each calibrated by windows that knew nothing of its own; NaN for too few.

    Args:
        table: as for `calibrate`, with the number of each prediction's window.
        runs: number of the run that each is of, (m,).
        held_out: the runs outside each window, (n,) each. What predictions of runs inside a window have
            missed calibrates it; where windows expand, these are predictions by the windows before.
        level: of the intervals.
    """
    limits = np.full((2, len(table)), np.nan)
    number = table["number"].to_numpy()
    for k in np.unique(number):
        of = number == k
        found = calibrate(table[~held_out[k][runs]], level)
        if found is not None and not found.doubt:
            own = np.log(table.loc[of, ["new_run_low", "new_run_high"]].to_numpy().T)
            limits[:, of] = found.widened(own, table.loc[of, "log_distance"].to_numpy())
    return limits


def judgements(table: pd.DataFrame) -> tuple[Judged, ...]:
    """What the calibrated intervals of a table have held, in bands with enough predictions.

    Args:
        table: as for `calibrate`, with calibrated_low and calibrated_high, NaN where there are none.
    """
    known = table[table["calibrated_low"].notna()]
    observed, found = known["observed"], []
    held = {
        name: (known[f"{name}_low"] <= observed) & (observed <= known[f"{name}_high"])
        for name in ("new_run", "calibrated")
    }
    bands = band_of(known)
    for band in np.unique(bands):
        of = bands == band
        if of.sum() >= _LEAST_SCORES:
            shares = [float(each[of].mean()) for each in held.values()]
            found.append(Judged(BANDS[int(band)], int(of.sum()), *shares))
    return tuple(found)


def band_of(table: pd.DataFrame) -> NDArray[np.intp]:
    """Which of `BANDS` each prediction is in."""
    decades = table["log_distance"].to_numpy() / DECADE
    return np.maximum(np.searchsorted(BANDS, decades, side="right") - 1, 0)


def _distance(log_distance: Floats) -> Floats:
    return np.asarray(np.maximum(np.asarray(log_distance), 0.0) / DECADE + _OFFSET)
