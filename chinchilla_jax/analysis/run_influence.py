"""Which runs the answer rests on: fits without each run, and without the worst of them.

| code     | symbol | shape | meaning                                                                  |
|----------|--------|-------|--------------------------------------------------------------------------|
| ratio    |        | ()    | compute-optimal tokens per parameter at the budget                       |
| change   | d_i    | (n,)  | ln of the ratio without run i, less that with all runs                   |
| error    |        | ()    | sqrt((m - 1)/m sum (d_i - mean d)^2), the jackknife's error of ln ratio  |
| residual | r_i    | (n,)  | log predicted minus log observed loss, by the fit to all runs            |
| left_out |        | (n,)  | the same by the fit without run i, which it has not drawn towards itself |

Every number is of a fit that was made, none of a linear approximation: without a run the law can jump to
another optimum. The width of Huber's zone is that of the fit to all runs throughout. The worst runs are left
out together in three ways: those with the largest residuals, and those that raise and that lower the ratio
most, one by one (Broderick, Giordano & Meager 2020, arXiv:2011.14999, ask what so few runs can do to a
conclusion).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter, fit_all
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.intervals.tokens_per_param import positive_budgets
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute import Cost, usual_budget
from chinchilla_jax.solvers.status import STATUS_NAMES, is_certified

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta
    from chinchilla_jax.solvers import Solution, SolverOptions

    Floats = NDArray[np.float64]

SHARES = (0.01, 0.02, 0.05)
WAYS = {
    "residual": "the largest residuals",
    "raise": "those that raise it most",
    "lower": "those that lower it most",
}
"""How the worst runs are chosen, in words."""
_DOMINANT = 0.25  # of the jackknife's variance, from which one run is named


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Influence:
    """What was found; n runs.

    Attributes:
        table: one row for each run, in their order: row (its name in the table), params, tokens, loss,
            residual, left_out, tokens_per_param (without the run), change (of its logarithm), times_error
            (change over `error`), the parameters of the law without the run, and the status of that fit,
            whose numbers are NaN unless it is certified.
        without: one row for each share of the runs that was left out, and each way in `WAYS`: way, share,
            n_left_out, rows (their names), tokens_per_param, change, the parameters and the status.
        point: the fit to all runs.
        flops: the budget (FLOP), of several the first, to which both tables belong.
        ratio: tokens per parameter there, of all runs; NaN where the law has no optimum.
        error: standard error of ln ratio by the jackknife; NaN where most fits without a run have no ratio.
        sentence: what it comes to.
        budgets: one row for each budget: flops, tokens_per_param (of all runs), standard_error (of its
            logarithm), and of the run that moves it most: row, without (tokens per parameter without it),
            change (of the logarithm), times_error.
        warnings: those of the fit, and what limits this.
    """

    table: pd.DataFrame
    without: pd.DataFrame
    point: FitResult
    flops: float
    ratio: float
    error: float
    sentence: str
    budgets: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The sentence; the numbers are in the tables."""
        return f"<Influence of {len(self.table)} runs: {self.sentence}>"

    @written_in("chinchilla_jax.plots", "influence")
    def plot(self, *, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw which runs move the answer, as `chinchilla_jax.plots.influence` does."""
        raise NotImplementedError

    def most_influential(self, count: int = 10) -> pd.DataFrame:
        """The rows of `table` whose removal changes tokens per parameter most."""
        return self.table.sort_values("change", key=np.abs, ascending=False, kind="stable").head(count)

    def largest_residuals(self, count: int = 10) -> pd.DataFrame:
        """The rows of `table` with the largest residuals by the fits without them."""
        return self.table.sort_values("left_out", key=np.abs, ascending=False, kind="stable").head(count)


@reporting
def influence(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    flops: ArrayLike | None = None,
    shares: Sequence[float] = SHARES,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    weights: ArrayLike | None = None,
    options: SolverOptions | None = None,
    progress: ProgressLike = "auto",
) -> Influence:
    """Fit without each run in turn, and without the worst shares of them.

    Args:
        data: n runs, or a table that `load_runs` reads.
        law: as for `fit`.
        flops: the budget (FLOP) of the answer, or several: the tables are about the first, and
            `Influence.budgets` has every one. None for that of Gopher and Chinchilla (5.76e23) on
            "chinchilla", and for the largest run on other tables. FLOP are by what training costs: as the
            runs' own were counted, and 6 N D where they have none.
        shares: of the runs, how many of the worst are left out together; at least one run is.
        objective: as for `fit`.
        delta: as for `fit`.
        weights: as for `fit`.
        options: as for `fit`.
        progress: as for `bootstrap`; a function is called with the number of fits
            just finished, out of n and one for each share and way.

    Raises:
        UsageError: an argument has no meaning.
        NoEstimateError: the fit to all runs is not certified.
    """
    runs = as_runs(data, "influence", read_law(law).columns)
    cost = runs.cost
    budgets = _budgets(runs, flops, cost)
    counts = _counts(shares, len(runs))
    own = read_weights(weights, len(runs))
    point = fit(runs, law, objective=objective, delta=delta, weights=own, options=options)
    require_estimate(point.status, "influence", point.reason)
    problem = read_problem("influence", runs, point.model, point.objective)
    fitter = ResampleFitter.prepared(problem, point, own=own, options=options)
    n = len(runs)
    advance = started(progress, "influence", n)

    def without_each(lanes: slice) -> NDArray[np.uint8]:
        rows = np.arange(lanes.start, lanes.stop)
        return (np.arange(n) != rows[:, None]).astype(np.uint8)

    names = [runs.name_row(i) for i in range(n)]
    single = _Fits(fitter, cost, fit_all(fitter, without_each, n, on_progress=advance))
    answers = [_Answer.at(each, point, names, single.at(each), cost) for each in budgets]
    first = answers[0]
    change, error = first.change, first.error
    with np.errstate(all="ignore"):
        left_out = np.diagonal(problem.residuals(single.found.theta)).copy()
    left_out[~is_certified(single.found.status)] = np.nan
    chosen = _worst(counts, left_out, change, np.ones(n) if own is None else own)
    masks = np.stack([(~np.isin(np.arange(n), each)).astype(np.uint8) for _, _, each in chosen])
    several = _Fits(
        fitter, cost, fit_all(fitter, lambda lanes: masks[lanes], len(masks), on_progress=advance)
    )
    ratios = several.at(first.flops)
    table = single.frame(
        row=names, params=runs.params, tokens=runs.tokens, loss=runs.loss, residual=point.residuals,
        left_out=left_out, tokens_per_param=first.ratios, change=change, times_error=change / error,
    )  # fmt: skip
    without = several.frame(
        way=[way for way, _, _ in chosen],
        share=[share for _, share, _ in chosen],
        n_left_out=[len(each) for _, _, each in chosen],
        rows=[[names[i] for i in each] for _, _, each in chosen],
        tokens_per_param=ratios,
        change=np.log(ratios / first.ratio),
    )
    return Influence(
        table=table, without=without, point=point, flops=first.flops, ratio=first.ratio, error=error,
        sentence="; ".join(dict.fromkeys(each.sentence for each in answers)), budgets=_budgets_frame(answers),
        warnings=(*point.warnings, *_warnings(single.found)),
    )  # fmt: skip


class _Fits:
    """k fits with some weights."""

    def __init__(self, fitter: ResampleFitter, cost: Cost, found: Solution) -> None:
        self.found, self.cost = found, cost
        self.laws = fitter.problem.law.fitted(found.theta, fitter.problem.design)

    def at(self, budget: float) -> Floats:
        """Their tokens per parameter at a budget, (k,); NaN where there is none."""
        of = self.laws.tokens_per_param(budget, self.cost)
        ratios = np.array(np.broadcast_to(of, (len(self.found),)), np.float64)
        usable = is_certified(self.found.status) & np.isfinite(ratios) & (ratios > 0)
        return np.where(usable, ratios, np.nan)

    def frame(self, **columns: object) -> pd.DataFrame:
        """These columns, the parameters and the status."""
        import pandas as pd

        certified = is_certified(self.found.status)
        parameters = {
            name: np.where(certified, np.broadcast_to(values, certified.shape), np.nan)
            for name, values in self.laws.as_dict().items()
        }
        status = [STATUS_NAMES[code] for code in self.found.status]
        return pd.DataFrame({**columns, **parameters, "status": status})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Answer:
    """Tokens per parameter at one budget, with every run and without each; see `Influence`."""

    flops: float
    names: Sequence[str]
    ratio: float
    ratios: Floats
    change: Floats
    error: float

    @classmethod
    def at(cls, flops: float, point: FitResult, names: Sequence[str], ratios: Floats, cost: Cost) -> _Answer:
        ratio = float(np.asarray(point.law.tokens_per_param(flops, cost)))
        ratio = ratio if 0 < ratio < math.inf else math.nan
        with np.errstate(all="ignore"):
            change = np.log(ratios / ratio)
        return cls(
            flops=flops, names=names, ratio=ratio, ratios=ratios, change=change,
            error=_jackknife_error(change),
        )  # fmt: skip

    @property
    def most(self) -> int | None:
        """The run that moves it most; None where no run has a number."""
        return int(np.nanargmax(np.abs(self.change))) if np.isfinite(self.change).any() else None

    @property
    def sentence(self) -> str:
        """The run that moves it most, and whether it is alone."""
        most, change = self.most, self.change
        if most is None:
            return "the law has no compute-optimal tokens per parameter, which the runs could move"
        said = (
            f"without {self.names[most]}, tokens per parameter at {flops_text(self.flops)} FLOP are "
            f"{self.ratios[most]:.3g} and not {self.ratio:.3g} ({math.expm1(change[most]):+.1%}"
        )
        said += f", {abs(change[most]) / self.error:.2g} of the standard error)" if self.error > 0 else ")"
        share = (change[most] - np.nanmean(change)) ** 2 / np.nansum((change - np.nanmean(change)) ** 2)
        if share >= _DOMINANT:
            return f"{said}: this run alone makes {share:.0%} of the jackknife's variance"
        return f"{said}, the most that any run moves them"


def _budgets_frame(answers: Sequence[_Answer]) -> pd.DataFrame:
    import pandas as pd

    def of(answer: _Answer, values: Floats) -> float:
        return math.nan if answer.most is None else float(values[answer.most])

    return pd.DataFrame(
        {
            "flops": [each.flops for each in answers],
            "tokens_per_param": [each.ratio for each in answers],
            "standard_error": [each.error for each in answers],
            "row": ["" if each.most is None else each.names[each.most] for each in answers],
            "without": [of(each, each.ratios) for each in answers],
            "change": [of(each, each.change) for each in answers],
            "times_error": [of(each, each.change / each.error) for each in answers],
        }
    )


def _budgets(runs: Runs, flops: ArrayLike | None, cost: Cost) -> list[float]:
    if flops is None:
        return [usual_budget(runs.name, cost.flops(runs.active, runs.tokens))]
    return positive_budgets(flops).tolist()


def _counts(shares: Sequence[float], n: int) -> dict[float, int]:
    """How many runs each share is."""
    counts = {}
    for share in shares:
        if not 0 < share < 0.5:
            raise UsageError(
                f"influence: a share is {short(share)}; give shares of the runs between 0 and 0.5"
            )
        counts[float(share)] = max(round(share * n), 1)
    return counts


def _worst(
    counts: dict[float, int], left_out: Floats, change: Floats, weights: Floats
) -> list[tuple[str, float, NDArray[np.intp]]]:
    """Way, share and positions of the runs to leave out together; without numbers a run comes last."""
    counted = weights > 0

    def first(scores: Floats) -> NDArray[np.intp]:
        return np.argsort(-np.where(counted & np.isfinite(scores), scores, -np.inf), kind="stable")

    # Without a run that raises the ratio, the ratio is lower.
    orders = {"residual": first(np.abs(left_out)), "raise": first(-change), "lower": first(change)}
    return [
        (way, share, np.sort(order[:count]))
        for way, order in orders.items()
        for share, count in counts.items()
    ]


def _jackknife_error(change: Floats) -> float:
    usable = change[np.isfinite(change)]
    if len(usable) < 2 or 2 * len(usable) < len(change):
        return math.nan
    return float(np.sqrt((len(usable) - 1) / len(usable) * np.sum((usable - usable.mean()) ** 2)))


def _warnings(found: Solution) -> list[str]:
    failed = int(np.sum(~is_certified(found.status)))
    if not failed:
        return []
    return [
        f"{failed} of {len(found)} fits without a run are not certified: these runs are needed to determine "
        "the law; they are in no number but their status"
    ]
