"""How well would the runs have been predicted before they were made? `backtest`.

| code     | symbol | shape | meaning                                                                        |
|----------|--------|-------|--------------------------------------------------------------------------------|
| window   |        |       | runs up to a value of compute, size or tokens, or all but one group            |
| distance | d      | (m,)  | ln of the compute of a run that was held out over the largest of its window    |
| error    |        | (m,)  | predicted over observed loss, less 1                                           |

Each window is fitted and bootstrapped as if the other runs did not exist, and predicts these with the
interval of the law's mean and that of a new run. Beside the law stand rivals (backtest_rivals.py). What the
predictions have missed by widens intervals of new runs (calibration.py), and whether that would have been
enough is judged on later windows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import NoEstimateError, UsageError, short
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.labels import percent_text, quantity_text
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.text import count_text
from chinchilla_jax._util.validation import resample_count, seed_number, whole_number
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.point_fit import fit_among_many
from chinchilla_jax.intervals.quantiles import central_tails, quantiles_of_known
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.measured_cost import asked_cost
from chinchilla_jax.laws.optimum import no_optimum
from chinchilla_jax.planning.backtest_rivals import RIVALS, difference_table, rivals
from chinchilla_jax.planning.calibration import (
    BANDS,
    Calibration,
    Judged,
    band_of,
    calibrate,
    calibrated_by_others,
    judgements,
    least_windows,
)
from chinchilla_jax.planning.prediction import predict

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.load import Reading
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Cost, Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]

AXES = ("flops", "params", "tokens")
"""What a window expands over; the name of a column of `Runs.groups` leaves each label out once instead."""
WINDOWS = 12
"""Windows at most, unless a caller says another number."""
_LEAST_WINDOW = 12
_BUDGET = 0.3  # of ln FLOP or ln N, as far as runs of one budget or one size may lie apart


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Backtest:
    """What `backtest` found.

    Attributes:
        table: one row per prediction: window (words), row (of the run in its table), params, tokens, flops,
            observed, loss (predicted), error, mean_low, mean_high, new_run_low, new_run_high, in_mean,
            in_new_run, log_distance, the predictions of `RIVALS`, and calibrated_low, calibrated_high: the
            interval of a new run widened by what other windows have missed of runs that its window holds; NaN
            where these are too few.
        bands: one row per band of distance: from_decades, n, error (median of its size), covered_mean,
            covered_new_run (shares), error_lowest, error_power_law, error_nearest; n_calibrated and
            covered_calibrated of the calibrated intervals, 0 and NaN for fewer than ten.
        differences: from the law, of its rivals: rival, from_decades, n, error, difference (mean of the size
            of the rival's errors less that of the law's: positive where it is worse), low, high.
        calibration: what the misses of all windows say of new runs; None for fewer than ten predictions.
        optima: the compute-optimal size at the largest run, by each window: window, flops, params, low, high,
            of_all (by all runs), holds (whether the interval holds that); empty where the law has none.
        cost: what training costs, by which distances and the budget of `optima` are counted.
        level: mass of the intervals.
        over: what the windows expand over.
        skipped: windows without a certified fit, and why, one sentence each.
    """

    table: pd.DataFrame
    bands: pd.DataFrame
    differences: pd.DataFrame
    calibration: Calibration | None
    optima: pd.DataFrame
    cost: Cost
    level: float
    over: str
    skipped: tuple[str, ...]

    def __repr__(self) -> str:
        """The numbers of the nearest band."""
        return f"<Backtest over {self.over}: {self.sentence}>"

    @written_in("chinchilla_jax.plots", "backtest")
    def plot(self, *, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw errors and coverage, as `chinchilla_jax.plots.backtest` does."""
        raise NotImplementedError

    @property
    def sentence(self) -> str:
        """Error and coverage over all predictions."""
        table = self.table
        return (
            f"{count_text(len(table), 'prediction')} from {count_text(table['window'].nunique(), 'window')}: "
            f"median error {100 * table['error'].abs().median():.3g}%; the {percent_text(self.level)} "
            f"interval of the mean holds {table['in_mean'].mean():.0%} of the runs, that of a new run "
            f"{table['in_new_run'].mean():.0%}"
        )


@reporting
def backtest(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    over: str = "flops",
    windows: int | None = None,
    level: float = 0.8,
    resamples: int = 400,
    seed: int = 0,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    scheme: Scheme | str = "auto",
    cost: Cost | str | None = None,
    progress: ProgressLike = "auto",
    **reading: Unpack[Reading],
) -> Backtest:
    """Fit the runs below each of several limits, and predict those above.

    Args:
        data: runs, or anything that `load_runs` takes.
        law: a law or its name.
        over: "flops", "params" or "tokens", for windows that expand over it; or a column of groups, each of
            which is left out in turn.
        windows: how many at most, spread over the limits that leave enough runs; None for 12, or up to 24
            where the level needs them to be calibrated.
        level: mass of the intervals.
        resamples: of each window.
        seed: of the resamples.
        objective: as for `bootstrap`.
        delta: as for `bootstrap`.
        scheme: as for `bootstrap`.
        cost: what training costs, as for `plan`.
        progress: as for `bootstrap`; a function is called with the number of fits just finished.
        **reading: how a table is read: keywords of `load_runs`.

    Raises:
        DataError: the table cannot be read.
        NoEstimateError: no window has a certified fit.
        UsageError: no limit leaves enough runs below it and any above, or an argument is invalid.

    Example:
        >>> found = cj.backtest(runs, windows=3, resamples=20)
        >>> found.table["window"].nunique()
        3
    """
    import pandas as pd

    central_tails(level)
    law = read_law(law)
    runs = as_runs(data, "backtest", law.columns, reading)
    count, seed = resample_count("resamples", resamples), seed_number(seed)
    priced = asked_cost(cost, runs.cost, "backtest")
    most = window_count(level) if windows is None else whole_number("windows", windows, low=1)
    outside = held_out(runs, over, most)
    advance = started(progress, "backtest", count * len(outside))
    frames, skipped = [], []
    boots: dict[str, BootstrapResult] = {}
    for number, (words, out) in enumerate(outside):
        window = runs.take(np.flatnonzero(~out))
        point = fit_among_many(window, law, objective=objective, delta=delta)
        boot = bootstrap(
            window, law, resamples=count, seed=(seed + number) % 2**32, objective=point.objective,
            scheme=scheme, point=point, progress=advance,
        )  # fmt: skip
        try:
            found = _predicted(boot, window, runs, np.flatnonzero(out), words, level, priced)
            frames.append(found.assign(number=number, run=np.flatnonzero(out)))
            boots[words] = boot
        except NoEstimateError:
            skipped.append(f"{words}: the fit ended as {boot.point.status.name}")
    if not frames:
        raise NoEstimateError(f"backtest: no window has a certified fit ({skipped[0]}); give more runs")
    table = pd.concat(frames, ignore_index=True)
    limits = calibrated_by_others(table, table["run"].to_numpy(), [out for _, out in outside], level)
    table = table.drop(columns=["number", "run"])
    table["calibrated_low"], table["calibrated_high"] = np.exp(limits)
    losses = {name: table[name].to_numpy() for name in RIVALS}
    judged = judgements(table)
    every = fit_among_many(runs, law, objective=objective, delta=delta)
    return Backtest(
        table=table,
        bands=_bands(table, judged),
        differences=difference_table(table, losses, level, seed),
        calibration=calibrate(table, level, judged),
        optima=_optima(boots, every, runs, priced, level),
        cost=priced,
        level=float(level),
        over=over,
        skipped=tuple(skipped),
    )


def window_count(level: float) -> int:
    """How many windows are made at most unless a caller says: 12, or up to 24 where the level needs them."""
    return min(max(WINDOWS, least_windows(level)), 2 * WINDOWS)


def held_out(
    runs: Runs, over: str, most: int, least: int = _LEAST_WINDOW
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Each window in words, and the runs outside it, (n,); arguments and errors as for `backtest`."""
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
    of_groups = [values[groups == k] for k in np.unique(groups)]
    if max(float(np.ptp(np.log(each))) for each in of_groups) > _BUDGET:  # a chain, and no budgets
        of_groups = [np.array([each]) for each in np.unique(values)]
    tops = np.sort([each.max() for each in of_groups])[:-1]
    limits = [top for top in tops if (values <= top).sum() >= least]
    if not limits:
        raise UsageError(
            f"backtest: no limit of {over} leaves {least} runs below it and any above; give more runs, or "
            "another --over"
        )
    chosen = np.unique(np.linspace(0, len(limits) - 1, min(most, len(limits))).round().astype(int))
    return [(f"{over} up to {quantity_text(over, float(limits[k]), 3)}", values > limits[k]) for k in chosen]


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
    return table.assign(**rivals(window, held))


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
            counted, costs = np.flatnonzero(boot.counted), boot.costs_for(cost)
            own = cost if costs is None else costs[counted]
            sizes = np.asarray(boot.laws[counted].optimal(flops, own)[0])
            low, high = quantiles_of_known(sizes[:, None], central_tails(level))[:, 0]
            size = float(boot.point.law.optimal(flops, cost)[0])
            rows.append((words, flops, size, low, high, of_all, bool(low <= of_all <= high)))
    return pd.DataFrame(rows, columns=["window", "flops", "params", "low", "high", "of_all", "holds"])


def _bands(table: pd.DataFrame, judged: Sequence[Judged]) -> pd.DataFrame:
    import pandas as pd

    held = {each.from_decades: (each.n, each.calibrated) for each in judged}
    rows = []
    for band, of in table.groupby(band_of(table)):
        errors = [float((of[name] / of["observed"] - 1).abs().median()) for name in RIVALS]
        covered = [float(of[f"in_{name}"].mean()) for name in ("mean", "new_run")]
        begins, error = BANDS[int(band)], float(of["error"].abs().median())
        rows.append((begins, len(of), error, *covered, *errors, *held.get(begins, (0, np.nan))))
    names = [f"error_{name}" for name in RIVALS]
    columns = ["from_decades", "n", "error", "covered_mean", "covered_new_run", *names]
    return pd.DataFrame(rows, columns=[*columns, "n_calibrated", "covered_calibrated"])
