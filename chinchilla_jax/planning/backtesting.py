"""How well would the runs have been predicted before they were made? `backtest`.

| code     | symbol | shape | meaning                                                                        |
|----------|--------|-------|--------------------------------------------------------------------------------|
| window   |        |       | runs up to a value of compute, size or tokens, or all but one group            |
| distance | d      | (m,)  | ln of the compute of a run that was held out over the largest of its window    |
| error    |        | (m,)  | predicted over observed loss, less 1                                           |
| score    | s      | (m,)  | |ln L - middle| over half the width of the new run's interval, in logs         |
| factor   |        |       | quantile of the scores of a band of distances, at least 1                      |

Each window is fitted and bootstrapped as if the other runs did not exist, and predicts these with the
interval of the law's mean and that of a new run. Beside the law stand rivals that need none: the lowest loss
seen, a power law of compute through the lowest losses (L = k C^-g by least squares), and the nearest run in
ln N and ln D. Intervals widened about their middle by the factors of their distance (conformalised quantile
regression, Romano et al. 2019, NeurIPS, with scores in units of half the width) would have held the share of
the runs that they promise. A score is not measured from the estimate, which an interval need not hold. Runs
of one window err together, so that this is no guarantee.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import NoEstimateError, UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax._util.validation import resample_count, seed_number, whole_number
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.intervals.quantiles import central_tails, quantiles_of_known
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.measured_cost import asked_cost
from chinchilla_jax.laws.optimum import no_optimum
from chinchilla_jax.planning.prediction import predict

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Cost, Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]

AXES = ("flops", "params", "tokens")
"""What a window expands over; the name of a column of `Runs.groups` leaves each label out once instead."""
RIVALS = ("lowest", "power_law", "nearest")
_BANDS = (0.0, 0.5, 1.0, 2.0)
"""Decades of compute beyond the window at which bands of distance begin; the first is inside or near it."""
_LEAST_WINDOW, _LEAST_SCORES = 12, 10
_DECADE = math.log(10.0)
_NARROWEST = 1e-12  # half width of an interval of the log loss, below which it is rounding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """By how much intervals of new runs have to be wider, by distance.

    Attributes:
        decades: at which each band of distance begins.
        factors: of the width, each at least that of the band before and 1.
        counts: scores of each band.
        level: of the intervals.
    """

    decades: tuple[float, ...]
    factors: tuple[float, ...]
    counts: tuple[int, ...]
    level: float

    def factor(self, log_distance: Floats) -> Floats:
        """The factor at each ln compute over the largest run, (m,); the last one beyond all bands."""
        band = np.searchsorted(self.decades, np.asarray(log_distance) / _DECADE, side="right") - 1
        return np.asarray(self.factors)[np.clip(band, 0, len(self.factors) - 1)]

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        shown = ", ".join(
            f"{factor:.2f} from {start:g} decades ({count} runs)"
            for start, factor, count in zip(self.decades, self.factors, self.counts, strict=True)
        )
        said = f"intervals of new runs are widened by what a backtest has measured: {shown}"
        return f"{said}; {self.doubt}" if self.doubt else said

    def widened(self, limits: Floats, log_distance: Floats) -> Floats:
        """Limits (2, m) of the log loss, as far from their middle as the factors say: never narrower."""
        middle, half = limits.mean(axis=0), (limits[1] - limits[0]) / 2
        reach = self.factor(log_distance) * half
        return np.stack([middle - reach, middle + reach])

    @property
    def doubt(self) -> str:
        """That bands have too few runs for the level, so that no finite factor is enough; "" for none."""
        short_of = [
            f"{start:g}"
            for start, count in zip(self.decades, self.counts, strict=True)
            if _rank(count, self.level) > count
        ]
        if not short_of:
            return ""
        least = next(n for n in itertools.count(1) if _rank(n, self.level) <= n)
        return (
            f"from {list_text(short_of)} decades the largest miss is taken, which may be too little: "
            f"{self.level:.5g} needs {least} runs"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Backtest:
    """What `backtest` found.

    Attributes:
        table: one row per prediction: window (words), row (of the run in its table), params, tokens, flops,
            observed, loss (predicted), error, mean_low, mean_high, new_run_low, new_run_high, in_mean,
            in_new_run, log_distance, and the predictions of `RIVALS`.
        bands: one row per band of distance: from_decades, n, error (median of its size), covered_mean,
            covered_new_run (shares), error_lowest, error_power_law, error_nearest.
        calibration: None where no band has enough runs.
        optima: the compute-optimal size at the largest run, by each window: window, flops, params, low, high,
            of_all (by all runs), holds (whether the interval holds that); empty where the law has none.
        cost: what training costs, by which distances and the budget of `optima` are counted.
        level: mass of the intervals.
        over: what the windows expand over.
        skipped: windows without a certified fit, and why, one sentence each.
    """

    table: pd.DataFrame
    bands: pd.DataFrame
    calibration: Calibration | None
    optima: pd.DataFrame
    cost: Cost
    level: float
    over: str
    skipped: tuple[str, ...]

    def __repr__(self) -> str:
        """The numbers of the nearest band."""
        return f"<Backtest over {self.over}: {self.sentence}>"

    @property
    def sentence(self) -> str:
        """Error and coverage over all predictions."""
        table = self.table
        return (
            f"{len(table)} predictions from {table['window'].nunique()} windows: median error "
            f"{100 * table['error'].abs().median():.3g}%, the {self.level:.0%} interval of the mean holds "
            f"{table['in_mean'].mean():.0%} of the runs and that of a new run "
            f"{table['in_new_run'].mean():.0%}"
        )


def backtest(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    over: str = "flops",
    windows: int = 8,
    level: float = 0.8,
    resamples: int = 400,
    seed: int = 0,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    scheme: Scheme | str = "auto",
    cost: Cost | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Backtest:
    """Fit the runs below each of several limits, and predict those above.

    Args:
        data: runs, or anything that `load_runs` takes.
        law: a law or its name.
        over: "flops", "params" or "tokens", for windows that expand over it; or a column of groups, each of
            which is left out in turn.
        windows: how many at most, spread over the limits that leave enough runs.
        level: mass of the intervals.
        resamples: of each window.
        seed: of the resamples.
        objective: as for `bootstrap`.
        delta: as for `bootstrap`.
        scheme: as for `bootstrap`.
        cost: what training costs, as for `plan`.
        progress: called with the number of fits just finished.

    Raises:
        DataError: the table cannot be read.
        NoEstimateError: no window has a certified fit.
        UsageError: no limit leaves enough runs below it and any above, or an argument is invalid.
    """
    import pandas as pd

    central_tails(level)
    law = read_law(law)
    runs = as_runs(data, "backtest", law.columns)
    count, seed = resample_count("resamples", resamples), seed_number(seed)
    priced = asked_cost(cost, runs.cost, "backtest")
    held_out = _held_out(runs, over, whole_number("windows", windows, low=1), _LEAST_WINDOW)
    frames, skipped = [], []
    boots: dict[str, BootstrapResult] = {}
    for number, (words, out) in enumerate(held_out):
        window = runs.take(np.flatnonzero(~out))
        boot = bootstrap(
            window, law, resamples=count, seed=(seed + number) % 2**32, objective=objective, delta=delta,
            scheme=scheme, progress=progress,
        )  # fmt: skip
        try:
            frames.append(_predicted(boot, window, runs, np.flatnonzero(out), words, level, priced))
            boots[words] = boot
        except NoEstimateError:
            skipped.append(f"{words}: the fit ended as {boot.point.status.name}")
    if not frames:
        raise NoEstimateError(f"backtest: no window has a certified fit ({skipped[0]}); give more runs")
    table = pd.concat(frames, ignore_index=True)
    return Backtest(
        table=table,
        bands=_bands(table),
        calibration=_calibration(table, level),
        optima=_optima(boots, fit(runs, law, objective=objective, delta=delta), runs, priced, level),
        cost=priced,
        level=float(level),
        over=over,
        skipped=tuple(skipped),
    )


def _held_out(runs: Runs, over: str, most: int, least: int) -> list[tuple[str, NDArray[np.bool_]]]:
    """Each window in words, and the runs outside it, (n,)."""
    if over not in AXES:
        members = members_of(runs, over)
        labels = [
            (f"without {over} {runs.groups[over][members == k][0]}", members == k)
            for k in range(int(members.max()) + 1)
        ]
        found = [(words, out) for words, out in labels if (~out).sum() >= least]
        if len(found) < 2:
            raise UsageError(f"backtest: column {short(over)} leaves no two windows of {least} runs")
        return found[:most]
    values = np.asarray(getattr(runs, over))
    groups = members_of(runs, over) if over != "tokens" else np.unique(values, return_inverse=True)[1]
    tops = np.array([values[groups == k].max() for k in np.unique(groups)])
    tops = np.sort(tops)[:-1]
    limits = [top for top in tops if (values <= top).sum() >= least]
    if not limits:
        raise UsageError(
            f"backtest: no limit of {over} leaves {least} runs below it and any above; give more runs, or "
            "another --over"
        )
    chosen = np.unique(np.linspace(0, len(limits) - 1, min(most, len(limits))).round().astype(int))
    return [(f"{over} up to {limits[k]:.3g}", values > limits[k]) for k in chosen]


def _predicted(
    boot: BootstrapResult,
    window: Runs,
    runs: Runs,
    out: NDArray[np.intp],
    words: str,
    level: float,
    cost: Cost,
) -> pd.DataFrame:
    held = runs.take(out)
    found = predict(boot, held, level=level, cost=cost).table
    observed = held.loss
    columns = ["params", "tokens", "flops", "loss", "mean_low", "mean_high", "new_run_low", "new_run_high"]
    table = found[[*columns, "log_distance"]].assign(
        window=words, row=[runs.name_row(int(each)) for each in out], observed=observed
    )
    table["error"] = table["loss"] / observed - 1
    for name in ("mean", "new_run"):
        table[f"in_{name}"] = (table[f"{name}_low"] <= observed) & (observed <= table[f"{name}_high"])
    return table.assign(**_rivals(window, held))


def _rivals(window: Runs, held: Runs) -> dict[str, Floats]:
    """What needs no law: the lowest loss, a power law of compute through the lowest ones, the nearest run."""
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


def _optima(
    boots: dict[str, BootstrapResult], every: FitResult, runs: Runs, cost: Cost, level: float
) -> pd.DataFrame:
    """The compute-optimal size at the budget of the largest run by each window, beside that by all runs."""
    import pandas as pd

    rows = []
    if every.status.certified and not every.model.columns and not no_optimum(every.law):
        flops = float(cost.flops(runs.params, runs.tokens).max())
        of_all = float(every.law.optimal(flops, cost)[0])
        for words, boot in boots.items():
            sizes = np.asarray(boot.laws[np.flatnonzero(boot.counted)].optimal(flops, cost)[0])
            low, high = quantiles_of_known(sizes[:, None], central_tails(level))[:, 0]
            size = float(boot.point.law.optimal(flops, cost)[0])
            rows.append((words, flops, size, low, high, of_all, bool(low <= of_all <= high)))
    return pd.DataFrame(rows, columns=["window", "flops", "params", "low", "high", "of_all", "holds"])


def _band_of(table: pd.DataFrame) -> NDArray[np.intp]:
    decades = table["log_distance"].to_numpy() / _DECADE
    return np.maximum(np.searchsorted(_BANDS, decades, side="right") - 1, 0)


def _bands(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for band, of in table.groupby(_band_of(table)):
        errors = [float((of[name] / of["observed"] - 1).abs().median()) for name in RIVALS]
        covered = [float(of[f"in_{name}"].mean()) for name in ("mean", "new_run")]
        rows.append((_BANDS[int(band)], len(of), float(of["error"].abs().median()), *covered, *errors))
    names = [f"error_{name}" for name in RIVALS]
    columns = ["from_decades", "n", "error", "covered_mean", "covered_new_run", *names]
    return pd.DataFrame(rows, columns=columns)


def _rank(count: int, level: float) -> int:
    """Which of the sorted scores is the conformal quantile; above `count` where that is infinite."""
    return math.ceil((count + 1) * level - 1e-9)


def _calibration(table: pd.DataFrame, level: float) -> Calibration | None:
    low, high, observed = (
        np.log(table[name].to_numpy()) for name in ("new_run_low", "new_run_high", "observed")
    )
    scores = np.abs(observed - (low + high) / 2) / np.maximum((high - low) / 2, _NARROWEST)
    bands = _band_of(table)
    decades: list[float] = []
    factors: list[float] = []
    counts: list[int] = []
    for band in np.unique(bands):
        of = np.sort(scores[bands == band])
        if len(of) < _LEAST_SCORES:
            continue
        rank = min(_rank(len(of), level), len(of))
        decades.append(_BANDS[int(band)])
        factors.append(max(float(of[rank - 1]), 1.0, *factors))
        counts.append(len(of))
    if not factors:
        return None
    return Calibration(
        decades=tuple(decades), factors=tuple(factors), counts=tuple(counts), level=float(level)
    )
