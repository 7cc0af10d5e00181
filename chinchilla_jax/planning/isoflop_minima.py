"""The IsoFLOP estimate: one parabola per compute budget, and a power law through their minima.

| code       | symbol | shape  | unit                                                                  |
|------------|--------|--------|-----------------------------------------------------------------------|
| flops      | C      | (k,)   | FLOP, the budgets                                                     |
| x          | x      | (n,)   | ln N less its mean over the runs of a budget                          |
| parabola   |        | (R, 3) | loss = c0 + c1 x + c2 x^2 by least squares, per resample              |
| params     | N*     | (R, k) | exp(mean - c1 / (2 c2))                                               |
| per_token  | kappa  | (R, k) | FLOP per parameter and token at N*: C / (N D) of the runs, see below  |
| tokens     | D*     | (R, k) | C / (kappa N*)                                                        |
| exponent   | a      | (R,)   | slope of ln N* on ln C                                                |
| of_tokens  | b      | (R,)   | slope of ln D* on ln C; 1 - a where kappa is the same at every budget |

Approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556, section 3.2), which publishes a = 0.49 (0.462 to 0.534).
Resamples draw runs with replacement within each budget, or weight them as a scheme of the bootstrap does. A
scheme that takes or leaves whole budgets says nothing of the minimum of one, and what a whole budget errs by
does not move its minimum: runs are then drawn within each budget too.

A minimum outside the sizes of its budget is extrapolated, often by orders of magnitude, and one such value
moves the slope more than all others. Such budgets stay out of the power law where two others remain.

Tokens are the table's. Where it counts compute as something other than 6 N D (attention, an embedding that is
not multiplied), kappa is not 6 and may change with size: ln kappa of the runs of a budget is a line in ln N
by least squares, taken at N*. Where tokens or compute were derived as 6 N D, kappa is 6.

Its bias on a noise-free law is known (Czech et al. 2026, arXiv:2603.22339). Around the optimum of its budget
the excess loss is proportional to beta exp(-alpha x) + alpha exp(beta x) at every budget. Equal exponents on
grids centred on the optimum give the exact minimum. Otherwise a parabola misses it by a factor that is the
same at every budget as long as the grid lies the same way around the optimum: the exponents are then exact
and the sizes are not. If the centre of the grid drifts with compute, the exponents are off too.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.limits import WEIGHTS
from chinchilla_jax._util.validation import positive_number, resample_count, seed_number
from chinchilla_jax.bootstrapping.schemes import Pairs
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, Cost
from chinchilla_jax.laws.scaling_law import PARAMETERS
from chinchilla_jax.planning.isoflop_budgets import LEAST_BUDGETS, grouped_by_budget
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.planning.law_sample import LawSample

_ALIKE = 1e-9  # relative difference of sizes that is rounding
_DERIVED = 1e-6  # relative difference of C and 6 N D that rounding in a table can make
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IsoflopResult:
    """Minima and their power law, for all runs and for each resample.

    Attributes:
        flops: budgets, (k,).
        n_runs: runs per budget, (k,).
        n_left_out: runs that belong to no budget, or to one with too few runs.
        params: optimal sizes, row 0 from all runs, then one per resample, (1 + R, k); NaN where the parabola
            has no minimum.
        tokens: optimal tokens, (1 + R, k).
        loss: loss at the minima, (1 + R, k).
        exponent: a of params ~ C^a, (1 + R,); NaN where fewer than two budgets have a minimum.
        log_coefficient: ln of the size at C = 1, (1 + R,).
        tokens_exponent: b of tokens ~ C^b, (1 + R,).
        log_tokens_coefficient: ln of the tokens at C = 1, (1 + R,).
        outside: whether the minimum on all runs lies outside the sizes that were trained, (k,); False
            without a minimum.
        used: whether a budget is in the power law, (k,).
        n_sizes: distinct sizes per budget, (k,).
        parabolas: on all runs, (k, 4): mean of ln N, then c0, c1, c2 of the loss in ln N less that mean.
        members: positions of the runs of each budget, k arrays.
        within: whether runs were drawn within each budget, and not as a scheme weights them.
        cost: what training costs: that of the runs' own FLOP, or the one that was asked for.
        runs: the runs, the very `Runs` and no copy.
    """

    flops: Array
    n_runs: NDArray[np.int64]
    n_left_out: int
    params: Array
    tokens: Array
    loss: Array
    exponent: Array
    log_coefficient: Array
    tokens_exponent: Array
    log_tokens_coefficient: Array
    outside: NDArray[np.bool_]
    used: NDArray[np.bool_]
    n_sizes: NDArray[np.int64]
    parabolas: Array
    members: tuple[NDArray[np.intp], ...]
    within: bool
    cost: Cost
    runs: Runs = dataclasses.field(repr=False, compare=False)

    @written_in("chinchilla_jax.plots", "isoflop")
    def plot(
        self,
        laws: LawSample | BootstrapResult | None = None,
        *,
        level: float = 0.8,
        beyond: float = 100.0,
        axes: Sequence[Axes] | None = None,
    ) -> tuple[Axes, Axes]:
        """Draw the parabolas and their minima, as `chinchilla_jax.plots.isoflop` does."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """The budgets and the exponents."""
        return (
            f"<IsoflopResult of {len(self.flops)} budgets and {len(self.exponent) - 1:,} resamples: params ~ "
            f"C^{self.exponent[0]:.4g}, tokens ~ C^{self.tokens_exponent[0]:.4g}>"
        )

    @property
    def n_failed(self) -> int:
        """Resamples without a power law."""
        return int(np.isnan(self.exponent[1:]).sum())

    @property
    def per_token(self) -> Array:
        """FLOP per parameter and token at the minima on all runs, (k,); NaN without a minimum."""
        return self.flops / (self.params[0] * self.tokens[0])

    def minima(self, level: float = 0.8) -> pd.DataFrame:
        """One row per budget.

        Returns:
            flops, n_runs, params (all runs), low, high (percentile interval of params over the resamples
            that have a minimum; NaN where all have the same one), tokens, tokens_per_param,
            flops_per_param_token, loss, outside, used, n_sizes, n_without_minimum (resamples).
        """
        import pandas as pd

        limits = [_interval(self.params[1:, i], level) for i in range(len(self.flops))]
        return pd.DataFrame(
            {
                "flops": self.flops,
                "n_runs": self.n_runs,
                "params": self.params[0],
                "low": [low for low, _ in limits],
                "high": [high for _, high in limits],
                "tokens": self.tokens[0],
                "tokens_per_param": self.tokens[0] / self.params[0],
                "flops_per_param_token": self.per_token,
                "loss": self.loss[0],
                "outside": self.outside,
                "used": self.used,
                "n_sizes": self.n_sizes,
                "n_without_minimum": np.isnan(self.params[1:]).sum(axis=0),
            }
        )

    def exponents(self, level: float = 0.8) -> pd.DataFrame:
        """Rows params and tokens; columns quantity, estimate (on all runs), low, high, median."""
        import pandas as pd

        exponents = {"params": self.exponent, "tokens": self.tokens_exponent}
        rows = [(name, *summary(values[0], values[1:], level)) for name, values in exponents.items()]
        return pd.DataFrame(rows, columns=["quantity", *SUMMARY_COLUMNS])

    def optimal(self, flops: ArrayLike) -> tuple[Array, Array]:
        """(params, tokens) of every power law at each budget, (1 + R, t) for t budgets."""
        budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
        log_flops = np.log(budgets)
        log_params = self.log_coefficient[:, None] + self.exponent[:, None] * log_flops
        log_tokens = self.log_tokens_coefficient[:, None] + self.tokens_exponent[:, None] * log_flops
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(log_params), np.exp(log_tokens)


def isoflop(
    runs: Runs | TableLike,
    *,
    budgets: ArrayLike | None = None,
    tolerance: float = 0.15,
    resamples: int = 4000,
    seed: int = 0,
    scheme: Scheme | None = None,
    extrapolated: bool = False,
    cost: Cost | None = None,
) -> IsoflopResult:
    """Estimate the optimum by IsoFLOP parabolas.

    Args:
        runs: the runs, or anything that `load_runs` takes; their `flops` tell their budget.
        budgets: budgets (FLOP); None for the values of `runs.flops` that at least four runs share (to one
            part in a thousand), or for "chinchilla" its nine published ones.
        tolerance: a run belongs to the nearest budget if its compute differs by at most this share.
        resamples: bootstrap resamples, 0 or more.
        seed: of the resamples.
        scheme: weights the runs of all budgets at once, as in a bootstrap; None, `Pairs`, or one that takes
            whole budgets, draws runs with replacement within each budget.
        extrapolated: keep minima outside the sizes of their budget in the power law, as published fits do.
        cost: what training costs, which gives the tokens of a minimum; None for the table's own tokens.

    Raises:
        UsageError: an argument is out of range, or the scheme has no weights.
        DataError: fewer than two budgets have four runs of three sizes, or have a minimum.
    """
    remedy = "give a share between 0 and 1"
    if positive_number("tolerance", tolerance, remedy=remedy) >= 1:
        raise UsageError(f"tolerance is {tolerance:g}; {remedy}")
    runs = as_runs(runs, "isoflop")
    resample_count("resamples", resamples, low=0)
    WEIGHTS.require(f"{resamples:,} resamples of {len(runs):,} runs", resamples * len(runs))
    seed = seed_number(seed)
    groups = grouped_by_budget(runs, budgets, tolerance)
    flops = np.array([budget for budget, _ in groups])
    weights, within = _weights(runs, [rows for _, rows in groups], resamples, seed, scheme)
    minima = [
        _minima(np.log(runs.params[rows]), runs.loss[rows], own)
        for (_, rows), own in zip(groups, weights, strict=True)
    ]
    log_params = np.stack([each[0] for each in minima], axis=1)
    loss = np.stack([each[1] for each in minima], axis=1)
    per_token = [
        _log_per_token(runs, rows, each[0], own, cost)
        for (_, rows), each, own in zip(groups, minima, weights, strict=True)
    ]
    log_tokens = np.log(flops) - np.stack(per_token, axis=1) - log_params
    sizes = [(runs.params[rows].min(), runs.params[rows].max()) for _, rows in groups]
    with beyond_float64():
        params, tokens = np.exp(log_params), np.exp(log_tokens)
    outside = np.array([bool(n < low or n > high) for n, (low, high) in zip(params[0], sizes, strict=True)])
    found = ~np.isnan(log_params[0])
    used = found if extrapolated or (found & ~outside).sum() < LEAST_BUDGETS else found & ~outside
    exponent, intercept = _power_law(np.log(flops[used]), log_params[:, used])
    tokens_exponent, tokens_intercept = _power_law(np.log(flops[used]), log_tokens[:, used])
    if np.isnan(exponent[0]):
        raise DataError(f"{runs.name or 'runs'}: fewer than two budgets have a parabola with a minimum")
    return IsoflopResult(
        flops=flops,
        n_runs=np.array([len(rows) for _, rows in groups]),
        n_left_out=len(runs) - sum(len(rows) for _, rows in groups),
        params=params,
        tokens=tokens,
        loss=loss,
        exponent=exponent,
        log_coefficient=intercept,
        tokens_exponent=tokens_exponent,
        log_tokens_coefficient=tokens_intercept,
        outside=outside,
        used=used,
        n_sizes=np.array([len(np.unique(runs.params[rows])) for _, rows in groups]),
        parabolas=np.array([each[2] for each in minima]),
        members=tuple(rows for _, rows in groups),
        within=within,
        cost=runs.cost if cost is None else cost,
        runs=runs,
    )


@beyond_float64()
def parabola_shift(alpha: float, beta: float, offsets: ArrayLike) -> float:
    """ln(N* of the parabola / true N*) on a noise-free law, the same at every budget.

    Args:
        alpha: exponent of the parameters, positive.
        beta: exponent of the tokens, positive.
        offsets: ln(N / true N*) of the runs of one budget, three distinct ones or more.

    Returns:
        NaN where the losses at the offsets lie beyond float64, or have no parabola.
    """
    x = np.asarray(offsets, dtype=np.float64)
    mean = x.mean()
    excess = beta * np.exp(-alpha * x) + alpha * np.exp(beta * x)
    powers = np.vander(x - mean, 3, increasing=True)
    if not (np.isfinite(powers).all() and np.isfinite(excess).all()):
        return float("nan")
    slope, curve = np.linalg.lstsq(powers, excess, rcond=None)[0][1:]
    return float(mean - slope / (2 * curve))


def _weights(
    runs: Runs, members: Sequence[NDArray[np.intp]], resamples: int, seed: int, scheme: Scheme | None
) -> tuple[list[Array], bool]:
    """Weights (1 + R, runs of the budget) for each budget, row 0 counts every run once; `within`."""
    drawn: list[NDArray[np.generic]] = []
    within = scheme is None or isinstance(scheme, Pairs)
    if scheme is not None and not within:
        weights = scheme.completed(len(runs), len(PARAMETERS)).weights(runs, np.arange(resamples), seed)
        drawn = [weights[:, rows] for rows in members]
        within = all((each == each[:, :1]).all() for each in drawn)
    if within:
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        drawn = [
            generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), resamples) for rows in members
        ]
    return [np.concatenate([np.ones((1, each.shape[1])), each]) for each in drawn], within


def _interval(values: Array, level: float) -> tuple[float, float]:
    """Limits of what resamples found; NaN where all found the same, which says nothing of how sure it is."""
    _, low, high, _ = summary(np.nan, values, level)
    known = values[~np.isnan(values)]
    alike = len(known) > 0 and np.ptp(known) <= _ALIKE * known.max()
    return (math.nan, math.nan) if alike else (low, high)


def _minima(log_params: Array, loss: Array, weights: Array) -> tuple[Array, Array, Array]:
    """(ln N*, loss there), each (1 + R,), NaN without a minimum, and the parabola of all runs (4,)."""
    mean, scale = log_params.mean(), np.ptp(log_params) or 1.0
    design = np.vander((log_params - mean) / scale, 3, increasing=True)
    # By a run's mean weight, for the test of the determinant; a budget of which nothing was drawn has none.
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300) * len(loss)
    normal = np.einsum("rn,ni,nj->rij", weights, design, design)
    right = np.einsum("rn,ni,n->ri", weights, design, loss)
    # With fewer than three sizes drawn the parabola is undetermined: its determinant is zero up to rounding.
    solvable = np.linalg.det(normal) > 1e-9
    normal[~solvable] = np.eye(3)
    c0, c1, c2 = np.moveaxis(np.linalg.solve(normal, right[..., None])[..., 0], -1, 0)
    found = solvable & (c2 > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = -c1 / (2 * c2)
    parabola = np.array([mean, c0[0], c1[0] / scale, c2[0] / scale**2])
    return (
        np.where(found, mean + scale * place, np.nan),
        np.where(found, c0 + c1 * place / 2, np.nan),
        parabola,
    )


def _log_per_token(
    runs: Runs, rows: NDArray[np.intp], log_params: Array, weights: NDArray[Any], cost: Cost | None
) -> Array:
    """ln(C / (N D)) at each ln N* of one budget: of the cost, or of the runs as a line in ln N.

    The line is that of the runs with their weights in each resample; of all, where one has a single size.
    """
    if cost is not None:
        log_flops = np.log(np.median(runs.flops[rows]))
        log_tokens = (log_flops - cost.log_flops(log_params, 0.0)) / cost.tokens_power
        return np.asarray(log_flops - log_params - log_tokens)
    log_n = np.log(runs.params[rows])
    log_kappa = np.log(runs.flops[rows]) - log_n - np.log(runs.tokens[rows])
    if np.all(np.abs(log_kappa - math.log(FLOPS_PER_PARAM_TOKEN)) < _DERIVED):
        return np.full(log_params.shape, math.log(FLOPS_PER_PARAM_TOKEN))
    w = np.asarray(weights, np.float64)
    lone = np.array([len(np.unique(log_n[row > 0])) < 2 for row in w])
    w = np.where(lone[:, None], 1.0, w)
    w = w / w.sum(axis=1, keepdims=True)
    centre, level = w @ log_n, w @ log_kappa
    x = log_n - centre[:, None]
    slope = (w * x * (log_kappa - level[:, None])).sum(axis=1) / (w * x * x).sum(axis=1)
    return np.asarray(level + slope * (log_params - centre))


def _power_law(log_flops: Array, log_params: Array) -> tuple[Array, Array]:
    """Slope and intercept of ln N* on ln C per row, over budgets with a minimum; NaN with fewer than two."""
    known = ~np.isnan(log_params)
    weights, y = known.astype(np.float64), np.where(known, log_params, 0.0)
    total = np.maximum(weights.sum(axis=1), 1.0)
    x_mean, y_mean = (weights @ log_flops) / total, (weights * y).sum(axis=1) / total
    x = weights * (log_flops - x_mean[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (x * (y - y_mean[:, None])).sum(axis=1) / (x * x).sum(axis=1)
    slope = np.where(known.sum(axis=1) >= LEAST_BUDGETS, slope, np.nan)
    return slope, y_mean - slope * x_mean
