"""A bootstrap, targets and candidates together: what a design is asked, and its linear answer.

| code      | shape     | meaning                                                                         |
|-----------|-----------|---------------------------------------------------------------------------------|
| values    | (R,)      | a target of the laws of the bootstrap that count                                |
| theta     | (V, p)    | the point fit, then laws of the bootstrap at even quantiles of the first target |
| width     | (T,)      | of an interval of the level, on the scale of each target                        |
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import NoEstimateError, UsageError
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.bootstrapping.group_correlation import PermutedResiduals
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.fitted import FittedLaw
from chinchilla_jax.laws.objectives import HuberScale
from chinchilla_jax.planning.design.candidates import Limits, listed, place_members, suggested_grid
from chinchilla_jax.planning.design.exchange import Exchange
from chinchilla_jax.planning.design.information import Influences, View, bent, scores_of
from chinchilla_jax.planning.design.steps import Steps
from chinchilla_jax.planning.design.targets import Reading, Target
from chinchilla_jax.planning.design.unequal_noise import Spread, log_counts, spread_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.planning.prediction_places import Places
    from chinchilla_jax.solvers import Problem

    Floats = NDArray[np.float64]

_LAWS = 8  # of the bootstrap, beside the point fit
_NO_STEPS = Steps()
_LEAST_CLEAR = 0.5  # share of the laws that must have a target


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What a design is asked.

    Attributes:
        boot: the bootstrap of the runs.
        runs: n runs.
        problem: what is fitted to them.
        reading: how targets are read off laws.
        targets: T of them.
        places: m candidates.
        off: |ln| of their tokens per parameter over the optimum's at their compute, (m,); NaN without one.
        plain: the choice among them under the law.
        bent: the same where the law may bend, see information.py.
        noise: tau of the residuals.
        spread: how large errors are at a place beside those of the runs.
        level: mass of the intervals.
    """

    boot: BootstrapResult
    runs: Runs
    problem: Problem
    reading: Reading
    targets: tuple[Target, ...]
    places: Places
    off: Floats
    plain: Exchange
    bent: Exchange
    noise: float
    spread: Spread
    level: float

    @classmethod
    def of(
        cls,
        boot: BootstrapResult,
        runs: Runs,
        reading: Reading,
        targets: tuple[Target, ...],
        candidates: Places | TableLike | None,
        limits: Limits,
        allowance: float,
        level: float,
        once: bool = False,
        steps: Steps = _NO_STEPS,
    ) -> Question:
        """Everything that follows from these.

        Raises:
            UsageError: no candidate is left, or the laws lack a target.
        """
        cost = reading.sample.cost
        problem = read_problem("next_runs", runs, boot.point.model, boot.point.objective)
        if candidates is None:
            asked = steps.filled(suggested_grid(boot, runs, cost, limits), cost)
        else:
            asked = steps.whole(listed(candidates, boot, runs, cost), cost)
        off, paid = _off_frontier(reading, asked), steps.paid(asked.flops)
        kept = limits.allow(asked, off, paid)
        if not kept.any():
            raise UsageError(f"next_runs: none of {len(asked)} candidates keeps the limits; widen them")
        affordable = kept & (paid <= allowance * (1 + 1e-9))
        if not affordable.any():
            raise UsageError(
                f"allowance {flops_text(allowance, 6)} FLOP pays for no candidate; the cheapest costs "
                f"{flops_text(paid[kept].min())}: allow more, or give smaller candidates"
            )
        chosen = np.flatnonzero(affordable)
        places, off, paid = asked.take(chosen), off[chosen], paid[chosen]
        for target in targets:
            target_values(reading, target, boot)  # refuses one that most laws lack
        theta = _laws_at_quantiles(boot, reading, targets[0])
        influences, spread = _influences(problem, boot), spread_of(boot)
        views, bent_views = _views(boot, runs, problem, influences, spread, reading, targets, places, theta)
        shares = np.array([target.weight for target in targets])
        shares = shares / shares.sum()
        return cls(
            boot=boot, runs=runs, problem=problem, reading=reading, targets=targets, places=places, off=off,
            plain=Exchange(views=views, shares=shares, costs=paid, once=once),
            bent=Exchange(views=bent_views, shares=shares, costs=paid, once=once),
            noise=influences.noise, spread=spread, level=level,
        )  # fmt: skip

    @property
    def paid(self) -> Floats:
        """What each candidate is paid for with (FLOP), (m,)."""
        return self.plain.costs

    def widths(self, chosen: Sequence[int], *, bend: bool = False) -> Floats:
        """Linear widths of the intervals after these runs, geometric means over the laws; (T,)."""
        exchange = self.bent if bend else self.plain
        logs = [0.5 * np.log(view.variances(view.after(chosen))) for view in exchange.views]
        return self._width(np.mean(logs, axis=0))

    def rests_on_law(self, chosen: Sequence[int]) -> float:
        """Share of the first target's gain that is lost if the law may bend; NaN where nothing is gained."""
        with np.errstate(all="ignore"):
            gains = [
                float(np.log(self.widths((), bend=bend)[0] / self.widths(chosen, bend=bend)[0]))
                for bend in (False, True)
            ]
        return min(max(1 - gains[1] / gains[0], 0.0), 1.0) if gains[0] > 0 else math.nan

    def width_with_each(self, chosen: Sequence[int]) -> Floats:
        """The width of the first target after these and one run more at each candidate, (m,)."""
        logs = [0.5 * np.log(view.variances_with_each(view.after(chosen))[:, 0]) for view in self.plain.views]
        return self._width(np.mean(logs, axis=0))

    def _width(self, log_errors: Floats) -> Floats:
        return np.asarray(2 * NormalDist().inv_cdf((1 + self.level) / 2) * self.noise * np.exp(log_errors))

    @property
    def expected(self) -> View:
        """What runs of such sizes and tokens are expected to say, at the point fit and without residuals."""
        view = self.plain.views[0]
        ones = np.ones(len(self.runs))
        return dataclasses.replace(
            view, scores=ones, slopes=ones, members=np.full(len(self.runs), -1), correlation=0.0
        )

    def interval(self, target: Target) -> Floats:
        """Low, median and high of a target over the bootstrap's laws, on its scale."""
        return low_median_high(target_values(self.reading, target, self.boot), self.level)


def target_values(reading: Reading, target: Target, boot: BootstrapResult) -> Floats:
    """The target of the laws of the bootstrap that count, on its scale; laws without it are left out.

    Raises:
        NoEstimateError: most of the laws have none.
    """
    laws = boot.laws[np.flatnonzero(boot.counted)]
    found = reading.values(target, laws)
    known = found[np.isfinite(found)]
    if not len(known):
        raise NoEstimateError(
            f"target {target.text}: none of {len(found):,} laws has one; law {boot.point.model.name} may "
            "have none whatever the runs: give another target, such as loss@N,D"
        )
    if len(known) < max(_LEAST_CLEAR * len(found), 2):
        raise NoEstimateError(
            f"target {target.text}: {len(known):,} of {len(found):,} laws have one; the runs do not "
            "determine it well enough to say what would: give another target, or add runs first"
        )
    return known


def _laws_at_quantiles(boot: BootstrapResult, reading: Reading, target: Target) -> Floats:
    """Theta (V, p) of the point fit, and of the laws at even quantiles of the target."""
    counted = np.flatnonzero(boot.counted)
    values = reading.values(target, boot.laws[counted])
    order = counted[np.argsort(values, kind="stable")][: int(np.isfinite(values).sum())]  # NaN come last
    at = ((np.arange(_LAWS) + 0.5) / _LAWS * len(order)).astype(int)
    return np.concatenate([boot.point.theta[None], boot.solution.theta[order[at]]])


def _off_frontier(reading: Reading, places: Places) -> Floats:
    sample = reading.sample
    if isinstance(sample.point, FittedLaw) and not sample.point.model.has_optimum:
        return np.full(len(places), np.nan)
    with np.errstate(all="ignore"):
        budgets, back = np.unique(places.flops, return_inverse=True)
        params, tokens = sample.optimal(sample.point, budgets)
        return np.abs(np.log(places.tokens / places.params / (tokens / params)[back]))


def _influences(problem: Problem, boot: BootstrapResult) -> Influences:
    counted = problem.counted(boot.point.theta)
    weights = np.ones(len(counted)) if boot.point.weights is None else boot.point.weights
    objective, unit = problem.objective, problem.loss_unit
    if isinstance(objective, HuberScale):  # least absolute deviations
        down = up = 1e-3 * float(np.median(np.abs(counted)))
    else:
        down, up = objective.down / unit, objective.up / unit
    return Influences.of(counted, down, up, weights, problem.law.size)


def design_at(places: Places, design: Design, law: Law) -> Design:
    """Places as a design in the units of another; their log losses are zero."""
    known = {"flops": places.flops, **places.variables}
    given = {name: values for name, values in known.items() if name in law.variables[2:]}
    u, v = design.standardised(np.log(places.params), np.log(places.tokens))
    return dataclasses.replace(
        design,
        log_params=u,
        log_tokens=v,
        log_loss=np.zeros(len(places)),
        further=law.further(given, places.params, places.tokens),
    )


def _views(
    boot: BootstrapResult,
    runs: Runs,
    problem: Problem,
    influences: Influences,
    spread: Spread,
    reading: Reading,
    targets: Sequence[Target],
    places: Places,
    theta: Floats,
) -> tuple[list[View], list[View]]:
    law, design = problem.law, problem.design
    at = design_at(places, design, law)
    weights = np.ones(len(runs)) if boot.point.weights is None else boot.point.weights
    members = np.full(len(runs), -1, np.int64) if boot.members is None else boot.members
    rho = 0.0
    if boot.members is not None and len(np.unique(members)) < len(members):
        jacobian = law.jacobian(boot.point.theta, design)
        rho = float(np.clip(PermutedResiduals(boot.point.residuals, jacobian).within(members).icc, 0, 0.99))
    groups = place_members(places, boot, runs)
    at_runs = np.stack([design.log_params, design.log_tokens], axis=1)
    at_places = np.stack([at.log_params, at.log_tokens], axis=1)
    alone = np.full(len(runs), -1, np.int64)
    spreads = spread.at(log_counts(places))
    plain, bending = [], []
    scores = scores_of(influences.psi, weights, law.jacobian(boot.point.theta, design))
    for each in theta:
        of_runs, of_places = law.jacobian(each, design), law.jacobian(each, at)
        if problem.raw:  # derivatives of the loss itself
            of_runs = (
                of_runs * np.exp(law.log_losses(each, design.places, design))[:, None] / problem.loss_unit
            )
            of_places = of_places * np.exp(law.log_losses(each, at.places, at))[:, None] / problem.loss_unit
        aims = reading.gradients(targets, lambda rows: law.fitted(rows, design), each)
        if not (np.isfinite(aims).all() and np.isfinite(of_runs).all() and np.isfinite(of_places).all()):
            continue
        plain.append(
            View.of(
                of_runs, of_places, aims, weights, scores, influences.slopes, members, groups, rho,
                spreads=spreads,
            )
        )  # fmt: skip
        terms, place_terms = bent(of_runs, of_places, at_runs, at_places)
        zeros = np.zeros((len(targets), terms.shape[1]))
        prior = np.concatenate([np.zeros(law.size), np.ones(terms.shape[1])])
        bending.append(
            View.of(
                np.concatenate([of_runs, terms], axis=1), np.concatenate([of_places, place_terms], axis=1),
                np.concatenate([aims, zeros], axis=1), weights, np.ones(len(runs)), np.ones(len(runs)),
                alone, -np.ones_like(groups), 0.0, prior, spreads,
            )
        )  # fmt: skip
    if not plain:
        raise NoEstimateError(
            f"target {targets[0].text}: the laws have no derivative of it; give another target"
        )
    return plain, bending
