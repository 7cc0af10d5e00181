"""What loss a run will end at: the law's mean, one new run, and how far from the runs that is.

| code      | symbol | shape  | unit                                                    |
|-----------|--------|--------|---------------------------------------------------------|
| places    | N, D   | (m,)   | see prediction_places.py                                   |
| log_means | ln L   | (R, m) | of the laws that count                                  |
| errors    | e      | (K,)   | of the log loss of new runs, see run_errors.py; K >= R  |
| log_runs  |        | (K, m) | ln L + e: losses of new runs                            |

The interval of the mean says where the law is, and shrinks as runs are added. The interval of a new run is
where a single run will end, and is never narrower than its noise.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.cards import Card, ShownInNotebooks, frame_card
from chinchilla_jax._util.digits import interval_texts
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.labels import NATS, percent_text
from chinchilla_jax._util.text import count_text
from chinchilla_jax._util.validation import seed_number
from chinchilla_jax.bootstrapping.asking import as_bootstrap
from chinchilla_jax.bootstrapping.ensemble import Ensemble
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.intervals.quantiles import central_tails, low_median_high, quantiles_of_known
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.measured_cost import asked_cost
from chinchilla_jax.planning.mixed_draws import mixed_limits, spreads
from chinchilla_jax.planning.plausibility import compute_doubt, interval_doubt
from chinchilla_jax.planning.prediction_places import (
    Places,
    distance,
    inside_hull,
    largest_flops,
    read_places,
    together,
)
from chinchilla_jax.planning.run_errors import RunErrors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.datasets.table import Table
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.planning.calibration import Calibration

    Floats = NDArray[np.float64]

_DRAWS = 20_000  # of new runs, at least
_BLOCK = 64  # places at a time
_LIMITS = ("mean_low", "mean_high", "new_run_low", "new_run_high")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(ShownInNotebooks):
    """Predicted losses, with both intervals.

    Attributes:
        table: one row per place: params, tokens, the law's further variables, flops; loss (of the point fit);
            mean_low, mean_high (the law's loss); new_run_low, new_run_high (the loss of one run);
            log_distance (ln of the compute over that of the largest run); inside (whether in the convex hull
            of the runs' ln N and ln D; for a law of compute alone, within the range of their compute).
            Of an ensemble also within and between: standard deviations of ln L within the laws and between
            them.
        level: mass of the intervals.
        errors: what the errors of new runs were drawn from.
        n_laws: laws that count.
        largest_flops: compute of the largest run (FLOP).
        cost: what training costs.
        loss_unit: unit of the losses, `Runs.loss_unit`.
        warnings: of the bootstrap.
        by_law: of an ensemble, one row per place and law: place (row of `table`), law, weight, loss,
            mean_low, mean_high; None for a single law.
        calibration: what the intervals of new runs were widened by, or None.
    """

    table: pd.DataFrame
    level: float
    errors: RunErrors
    n_laws: int
    largest_flops: float
    warnings: tuple[str, ...] = ()
    by_law: pd.DataFrame | None = None
    calibration: Calibration | None = None
    cost: Cost = SIX_ND
    loss_unit: str = NATS

    def __repr__(self) -> str:
        """The first row; all of them are in `table`."""
        first = self.table.iloc[0]
        return (
            f"<Prediction of {count_text(len(self.table), 'place')}: loss {first['loss']:.4g} at the first, "
            f"of one run {first['new_run_low']:.4g} to {first['new_run_high']:.4g} "
            f"({percent_text(self.level)} interval); {self.errors.sentence}>"
        )

    def _card(self) -> Card:
        counts = [name for name in self.table if name in ("params", "tokens", "flops")]
        columns = {name: name for name in counts} | dict.fromkeys(("loss", *_LIMITS), "loss")
        level = percent_text(self.level)
        notes = [
            *(f"row {row}: {doubt}" for row, doubt in enumerate(self.doubts) if doubt),
            f"{level} intervals, of the law's mean and of the loss of one new run",
            self.errors.sentence,
            *self.warnings,
        ]
        title = f"Predicted loss at {count_text(len(self.table), 'place')}"
        return frame_card(title, self.table, columns, notes, self.loss_unit)

    @written_in("chinchilla_jax.plots", "prediction")
    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the losses with their intervals, as `chinchilla_jax.plots.prediction` does."""
        raise NotImplementedError

    @property
    def doubts(self) -> list[str]:
        """What makes each row hard to believe; "" for most."""
        found = []
        for row in self.table.to_dict("records"):
            far = compute_doubt(math.exp(row["log_distance"]), 1.0) or (
                "" if row["inside"] else "outside the runs"
            )
            apart = interval_doubt(row["loss"], row["new_run_low"], row["new_run_high"], "of a new run ")
            found.append("; ".join(filter(None, (far, apart))))
        return found


def predict(
    boot: BootstrapResult | Ensemble | FitResult | Runs | TableLike,
    places: Places | Runs | Table | TableLike,
    *,
    level: float = 0.8,
    seed: int = 0,
    calibration: Calibration | None = None,
    cost: Cost | str | None = None,
) -> Prediction:
    """The loss at places, with the interval of the law's mean and that of one new run.

    Args:
        boot: a bootstrap of any law, or an ensemble of several (`analysis.stack_laws`), whose intervals are
            those of the mixture of their draws. A fit is bootstrapped first, and so are runs, or anything
            else that `load_runs` takes.
        places: where: `Runs`, or a table or a mapping with two of params, tokens and flops and the law's
            further variables; or with flops alone, for compute-optimal runs. Anything that `load_runs` reads.
        level: mass of the central intervals.
        seed: of the errors of new runs.
        calibration: what `backtest` has measured of these runs, by which intervals of new runs are widened.
        cost: what training costs, as for `plan`: None takes what was measured where the runs have FLOP of
            their own, and 6 N D elsewhere.

    Raises:
        NoEstimateError: the point fit is not certified.
        UsageError: the calibration is of another level or given for an ensemble, the scheme of the bootstrap
            has no quantiles, no resample is certified, or an argument is invalid.

    Example:
        >>> found = cj.predict(boot, {"params": [7e9], "tokens": [1.4e11]})
        >>> found.table[["loss", "mean_low", "mean_high"]].round(2)
           loss  mean_low  mean_high
        0  2.17      2.17       2.18
    """
    import pandas as pd

    tails = central_tails(level)
    if isinstance(boot, Ensemble):
        if calibration is not None:
            raise UsageError(
                "predict: a calibration is of one law, not of an ensemble; leave one of them out"
            )
        return _predict_together(boot, places, level, seed, cost)
    boot = _checked(as_bootstrap(boot, "predict"))
    priced = asked_cost(cost, boot.point.cost, "predict")
    found = read_places(places, boot, priced)
    errors = RunErrors.of(boot)
    point = found.log_losses(boot.point.law, boot.point.model)
    limits = np.empty((4, len(found)))
    for first in range(0, len(found), _BLOCK):
        part = slice(first, first + _BLOCK)
        means, runs = _log_draws(boot, found, part, errors, seed)
        for row, values in ((0, means), (2, runs)):
            limits[row : row + 2, part] = np.exp(quantiles_of_known(values, tails))
    if calibration is not None:
        _require_level(calibration, level)
        limits[2:] = np.exp(calibration.widened(np.log(limits[2:]), distance(found, boot, priced)))
    counts = {name: getattr(found, name) for name in ("params", "tokens")}
    table = pd.DataFrame({**counts, **found.variables, "flops": found.flops, "loss": np.exp(point)})
    table = table.assign(**dict(zip(_LIMITS, limits, strict=True)))
    table["log_distance"] = distance(found, boot, priced)
    table["inside"] = _inside(found, boot)
    return Prediction(
        table=table,
        level=float(level),
        errors=errors,
        n_laws=int(boot.counted.sum()),
        largest_flops=largest_flops(boot, priced),
        warnings=boot.warnings,
        calibration=calibration,
        cost=priced,
        loss_unit=boot.point.loss_unit,
    )


def _predict_together(
    ensemble: Ensemble,
    source: Places | Runs | Table | TableLike,
    level: float,
    seed: int,
    cost: Cost | str | None,
) -> Prediction:
    """`predict` by the mixture of the laws; compute-optimal places are those of the law of most weight."""
    import pandas as pd

    boots, weights = [_checked(boot) for boot in ensemble.boots], ensemble.weights
    able = [place for place, boot in enumerate(boots) if boot.point.model.has_optimum] or range(len(boots))
    first = max(able, key=lambda place: weights[place])
    lead = boots[first]
    priced = asked_cost(cost, lead.point.cost, "predict")
    of_law = together(source, lead, boots, priced)
    found, errors = of_law[first], [RunErrors.of(boot) for boot in boots]
    points = [at.log_losses(b.point.law, b.point.model) for at, b in zip(of_law, boots, strict=True)]
    limits, spread = np.empty((4, len(found))), np.empty((2, len(found)))
    single = np.empty((len(boots), 2, len(found)))
    for begin in range(0, len(found), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        drawn = [_log_draws(b, at, part, e, seed) for b, at, e in zip(boots, of_law, errors, strict=True)]
        means, runs = ([each[kind] for each in drawn] for kind in (0, 1))
        limits[:2, part], limits[2:, part] = (mixed_limits(each, weights, level) for each in (means, runs))
        spread[:, part] = spreads(means, weights)
        single[:, :, part] = [low_median_high(each, level)[[0, 2]] for each in means]
    variables = {name: values for at in of_law for name, values in at.variables.items()}
    table = pd.DataFrame({"params": found.params, "tokens": found.tokens, **variables, "flops": found.flops})
    table["loss"] = np.exp(weights @ np.array(points))
    table = table.assign(**dict(zip(_LIMITS, np.exp(limits), strict=True)))
    table["within"], table["between"] = spread
    table["log_distance"] = distance(found, lead, priced)
    table["inside"] = _inside(found, lead)
    by_law = pd.DataFrame(
        {
            "place": np.repeat(np.arange(len(found)), len(boots)),
            "law": ensemble.names * len(found),
            "weight": np.tile(weights, len(found)),
            "loss": np.exp(np.transpose(points)).ravel(),
            "mean_low": np.exp(single[:, 0]).T.ravel(),
            "mean_high": np.exp(single[:, 1]).T.ravel(),
        }
    )
    return Prediction(
        table=table,
        level=float(level),
        errors=errors[first],
        n_laws=sum(int(boot.counted.sum()) for boot in boots),
        largest_flops=largest_flops(lead, priced),
        warnings=ensemble.warnings,
        cost=priced,
        by_law=by_law,
        loss_unit=lead.point.loss_unit,
    )


def loss_texts(row: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """A row of `Prediction.table` or `Against.table` to the digits that each interval supports.

    Returns:
        The loss with the limits of the mean; and the limits of a new run, with what was observed if it was.
    """
    mean, run = ([row[f"{name}_low"], row[f"{name}_high"]] for name in ("mean", "new_run"))
    seen = [row["observed"]] if "observed" in row else []
    of_law = interval_texts([row["loss"], *mean], (mean[1] - mean[0]) / 2, digits=5)
    return of_law, interval_texts([*run, *seen], (run[1] - run[0]) / 2, digits=5)


def _require_level(calibration: Calibration, level: float) -> None:
    if abs(calibration.level - level) > 1e-9:
        raise UsageError(
            f"predict: the calibration is of level {calibration.level:g}, the intervals of {level:g}; "
            "backtest at the level of the intervals"
        )


def share_below(boot: BootstrapResult, places: Places, losses: Floats, seed: int = 0) -> Floats:
    """Share of new runs that end below these losses (nats per token) at these places, (m,)."""
    errors, found = RunErrors.of(boot), np.empty(len(places))
    for first in range(0, len(places), _BLOCK):
        part = slice(first, first + _BLOCK)
        found[part] = (_log_draws(boot, places, part, errors, seed)[1] < np.log(losses[part])).mean(axis=0)
    return found


def _log_draws(
    boot: BootstrapResult, places: Places, part: slice, errors: RunErrors, seed: int
) -> tuple[Floats, Floats]:
    """Ln of the loss at some places: of the laws (R, k), and of new runs (K, k)."""
    some = places.take(part)
    model, point = boot.point.model, boot.point
    means = some.log_losses(boot.laws[np.flatnonzero(boot.counted)], model)
    factor = boot.scheme.factor(point.n_runs, model.size)
    if factor != 1:
        centre = some.log_losses(point.law, model)
        means = centre + factor * (means - centre)
    repeats = math.ceil(_DRAWS / len(means))
    drawn = errors.draw(len(means) * repeats, seed_number(seed))
    return means, (means + drawn.reshape(repeats, -1, 1)).reshape(len(drawn), -1)


def _inside(places: Places, boot: BootstrapResult) -> NDArray[np.bool_]:
    if np.isnan(places.params).any():
        law = boot.point.model
        of_runs = boot.design.further[law.variables[2:].index("flops")]
        return np.asarray((places.flops >= of_runs.min()) & (places.flops <= of_runs.max()))
    return inside_hull(places, boot.design)


def _checked(boot: BootstrapResult) -> BootstrapResult:
    require_estimate(boot.point.status, "predict", boot.point.reason)
    if not boot.scheme.quantiles:
        raise UsageError(
            f"predict: scheme {boot.scheme.name!r} estimates a spread but no quantiles; use another scheme"
        )
    if not boot.counted.any():
        raise UsageError("predict: no resample is certified; use more runs or another law")
    return boot
