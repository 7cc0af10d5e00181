"""Whether a table tells the terms of a law apart, and what it lacks where it does not.

Notation (n runs, p parameters)
    spread     how far the runs lie off a line of ln D in ln N, see laws/separation.py
    twin       the law with its terms exchanged along that line; the same losses where the spread is zero
    d_i        difference of the losses of run i under two laws; the objectives differ by sum_i d_i
    S          objective
    k          power with which S grows with the residuals: 2 where it squares them, 1 where it adds them

Two optima are told apart where the sum of the d_i is more than twice its sampling error sqrt(n) sd(d_i)
(Vuong 1989, Econometrica 57, for models that are not nested). Where few runs carry the difference, that error
is as large as the difference itself. So they are told apart as well where noise does not explain the
residuals of the worse: (S'/S)^(2/k) above 1 + p / (n - p) F, with F the 95% quantile of F(p, n - p), the
limit of the joint confidence region of a least-squares fit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.fitting.f_tail import f_quantile
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import HuberScale, own_residuals
from chinchilla_jax.laws.separation import NEAR_LINE, ON_LINE, spread_without_one, spreads_without_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

_APART = math.log(2.0)  # difference of ln tokens per parameter from which two optima prescribe differently
_TOLD = 2.0  # sampling errors by which objectives differ where the runs tell two optima apart
_AHEAD = 10.0  # the budget asked about, in budgets of the largest run
_LARGEST_F, _LARGEST_F_OF_THREE = 255.0, 10.2  # 95% quantiles for any numerator, for 1 and 3 degrees or more
_LEVEL = 0.05  # of F, above which noise explains the residuals of the worse optimum


@dataclasses.dataclass(frozen=True, kw_only=True)
class Separation:
    """How the sizes and the tokens of a table vary together.

    Attributes:
        spread: of all runs with a weight.
        without_one: of the same without the run that matters most.
        run: position of that run in the table.
        power: s of the line D ~ N^s; without that run where it is the one off the line.
        ratio: tokens per parameter at the middle of the same runs.
        params: their geometric mean; `same_params` says whether all have as many.
        tokens: theirs; and `same_tokens`.
    """

    spread: float
    without_one: float
    run: int
    power: float
    ratio: float
    params: float
    tokens: float
    same_params: bool
    same_tokens: bool

    @classmethod
    def of(cls, design: Design, weights: Floats | None) -> Separation:
        """That of the runs of `design` with a weight (n,)."""
        used = np.ones(len(design), bool) if weights is None else weights > 0
        whole, without = (spreads[0] for spreads in spreads_without_each(design, used[None]))
        run = int(np.argmin(without))
        if _one_carries(whole, without[run]):
            used = used.copy()
            used[run] = False
        x = design.params_location + design.params_scale * design.log_params[used]
        y = design.tokens_location + design.tokens_scale * design.log_tokens[used]
        square = float(np.sum((x - x.mean()) ** 2))
        return cls(
            spread=float(whole),
            without_one=float(without[run]),
            run=run,
            power=float((x - x.mean()) @ y) / square if square > 0 else math.inf,
            ratio=math.exp(y.mean() - x.mean()),
            params=math.exp(x.mean()),
            tokens=math.exp(y.mean()),
            same_params=bool(x.std() <= ON_LINE),
            same_tokens=bool(y.std() <= ON_LINE),
        )

    @property
    def on_line(self) -> bool:
        """Whether all runs, or all but one, are on a line."""
        return min(self.spread, self.without_one) <= ON_LINE

    @property
    def near_line(self) -> bool:
        """Whether they are close to one."""
        return min(self.spread, self.without_one) < NEAR_LINE

    @property
    def one_carries(self) -> bool:
        """Whether it is one run that is off the line."""
        return _one_carries(self.spread, self.without_one)

    @property
    def off_line(self) -> float:
        """How far the runs lie off their line, that one run left aside."""
        return self.without_one if self.one_carries else self.spread


def is_near_line(design: Design, weights: Floats | None) -> bool:
    """`Separation.near_line`, at less cost: the spreads of all runs of a table are computed once."""
    rows = np.ones((1, len(design))) if weights is None else weights[None]
    return bool(spread_without_one(design, rows)[0] < NEAR_LINE)


def _one_carries(spread: float, without_one: float) -> bool:
    return bool(spread >= max(3.0 * without_one, ON_LINE))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rival:
    """Another optimum that the runs do not tell from the best one, and that prescribes differently.

    Attributes:
        excess: by how much its objective is higher, relative to the best.
        errors: the same in sampling errors.
        ratio: its tokens per parameter at `_AHEAD` times the largest budget; NaN where it has no optimum.
    """

    excess: float
    errors: float
    ratio: float


def asked_budget(design: Design) -> float:
    """Ten times the compute of the largest run (FLOP)."""
    logs = (
        design.params_location
        + design.params_scale * design.log_params
        + design.tokens_location
        + design.tokens_scale * design.log_tokens
    )
    return float(_AHEAD * FLOPS_PER_PARAM_TOKEN * np.exp(np.minimum(logs.max(), 600.0)))


def ratios_at(problem: Problem, theta: Floats, budget: float) -> Floats:
    """Tokens per parameter of laws theta (K, p) at a budget, NaN where one has no optimum; (K,)."""
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(problem.law.fitted(theta, problem.design).tokens_per_param(budget), np.float64)
    except UsageError:  # the law has a variable without a default: no ratio until somebody gives it
        return np.full(len(theta), np.nan)
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)


def rival_of(problem: Problem, weights: Floats | None, theta: Floats, others: Floats) -> Rival | None:
    """The strongest rival of the optimum theta (p,) among `others` (K, p), or None."""
    if not len(others):
        return None
    w = np.ones(len(problem.design)) if weights is None else weights
    used = w > 0
    with np.errstate(all="ignore"):
        losses = problem.losses(np.concatenate([theta[None], others]))[:, used] * w[used]
        difference = losses[1:] - losses[0]
        excess = difference.sum(axis=1)
        error = math.sqrt(used.sum()) * difference.std(axis=1, ddof=1)
        best = max(float(losses[0].sum()), 1e-300)
        untold = np.isfinite(excess) & (excess <= np.maximum(_TOLD * error, 1e-9 * best))
        ratio = ratios_at(problem, np.concatenate([theta[None], others]), asked_budget(problem.design))
        differs = ~(np.abs(np.log(ratio[1:] / ratio[0])) <= _APART) & ~np.isnan(ratio[1:] + 0 * ratio[0])
        differs |= np.isnan(ratio[1:]) != np.isnan(ratio[0])
        found = np.flatnonzero(untold & differs)
        if len(found):
            found = found[excess[found] <= best * (_explained(problem, w, theta) - 1.0)]
    if not len(found):
        return None
    k = found[np.argmin(excess[found])]
    errors = float(excess[k] / error[k]) if error[k] > 0 else 0.0
    return Rival(excess=max(float(excess[k]) / best, 0.0), errors=max(errors, 0.0), ratio=float(ratio[1 + k]))


def constant_explains(problem: Problem, weights: Floats | None, theta: Floats, residuals: Floats) -> bool:
    """Whether one loss for all runs fits them as well as noise lets one tell from the law.

    Args:
        problem: what was fitted.
        weights: of the runs (n,), or None.
        theta: the law (p,).
        residuals: log predicted minus log observed loss there (n,).
    """
    w = np.ones(len(problem.design)) if weights is None else weights
    used = w > 0
    logs, size = problem.design.log_loss, problem.law.size
    count = int(np.count_nonzero(used))
    if count <= size:
        return False
    ordered, w_used = np.sort(logs[used]), w[used]
    median = 0.5 * (ordered[(count - 1) // 2] + ordered[count // 2])  # `np.median` takes ten times as long
    middles = [np.sum(logs[used] * w_used) / np.sum(w_used), median]
    with np.errstate(all="ignore"):
        constants = [float(problem.losses_of(middle - logs)[used] @ w_used) for middle in middles]
        best = float(problem.losses_of(residuals)[used] @ w_used)
    left = count - size
    ratio = min(constants) / max(best, 1e-300)
    # Beyond every quantile of F with so many degrees there is no need to compute this one.
    largest = 1.0 + size / left * (_LARGEST_F if left < 3 else _LARGEST_F_OF_THREE)
    return bool(ratio <= largest) and ratio <= _explained(problem, w, theta)


def _explained(problem: Problem, w: Floats, theta: Floats) -> float:
    """By what factor noise lets S exceed that of the best law theta (p,); inf for too few runs."""
    count, size = int(np.count_nonzero(w)), problem.law.size
    if count <= size:
        return math.inf
    # k by how the objective grows with the residuals; 2 where they vanish.
    squares = 1.0 + size / (count - size) * f_quantile(_LEVEL, size, count - size)
    return float(squares ** (0.5 * _growth(problem, w, theta)))


def _growth(problem: Problem, w: Floats, theta: Floats) -> float:
    """The power with which the objective grows with its residuals at theta (p,), from 1 to 2."""
    objective = problem.objective
    if isinstance(objective, HuberScale):  # see `Problem.losses`
        return 1.0
    residual = own_residuals(objective, problem.residuals(theta), problem.design.log_loss)
    values = [float(objective.value(factor * residual, w)) for factor in (1.0, 1.01)]
    if not (values[0] > 0 and math.isfinite(values[1])):
        return 2.0
    return min(max(math.log(values[1] / values[0]) / math.log(1.01), 1.0), 2.0)
