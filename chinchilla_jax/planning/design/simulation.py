"""Widths after new runs by simulation: draw their losses, fit again, resample, and measure the intervals.

| code     | shape         | meaning                                                                         |
|----------|---------------|---------------------------------------------------------------------------------|
| truths   | (K, p)        | laws of the bootstrap, each of which a table's new runs follow                  |
| errors   | (K, k)        | of the log losses of the k new runs: residuals, corrected (planning/run_errors) |
|          |               | and scaled to the size that errors have there (unequal_noise.py)                |
| tables   | (K,)          | the runs as they are, and k new ones                                            |
| fits     | (K, R, p)     | R resamples of each table                                                       |
| widths   | (K, T)        | of the interval of each target                                                  |

What the runs leave open is what the bootstrap's laws differ in; a new run narrows it whatever it turns out to
be, and by how much depends on what it turns out to be. Hence the mean over the tables is the expected width,
and its Monte-Carlo error their standard deviation over root K. Every choice has the same truths, errors and
resample ids.

Where errors have correlation rho within a group, a run that joins a group of k shares what its residuals have
in common: rho k / (1 + (k - 1) rho) of their mean is expected of it, and new runs of a new group share a part
sqrt(rho) of their errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
from chinchilla_jax.bootstrapping.few_groups import scheme_for_few
from chinchilla_jax.bootstrapping.schemes import Bayesian, Cluster, Pairs, Scheme
from chinchilla_jax.datasets import Runs
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.design.question import design_at
from chinchilla_jax.planning.design.unequal_noise import counted_rows, log_counts
from chinchilla_jax.planning.run_errors import RunErrors
from chinchilla_jax.solvers import Problem, SolverOptions
from chinchilla_jax.solvers.counted import counted_lanes
from chinchilla_jax.solvers.requests import Asking, Request, side_by_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.planning.design.question import Question
    from chinchilla_jax.solvers import Solution

    Floats = NDArray[np.float64]

_STREAM = 21  # separates these draws from others of one seed
_LEAST_COUNTED = 0.5  # of the resamples of a table, below which its width is unknown
_TABLES = 16  # at a time, between two reports of progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulated:
    """Expected intervals after one choice of runs; T targets.

    Attributes:
        every: widths of each table, (K, T); NaN where too few resamples have the target.
        widths: mean over the tables, (T,), on the scale of each target.
        errors: their Monte-Carlo errors, (T,).
        low: mean lower limits, (T,), and
        high: upper ones.
        n_fits: fits behind it.
    """

    every: Floats
    widths: Floats
    errors: Floats
    low: Floats
    high: Floats
    n_fits: int

    def over(self, other: Simulated, shares: Floats) -> tuple[float, float]:
        """Mean over the tables of ln of the widths over those of another choice, and its Monte-Carlo error.

        Args:
            other: of the same truths and errors.
            shares: weights of the targets, (T,).

        Returns:
            (inf, 0) where fewer than two tables have all widths.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(self.every / other.every) @ shares
        logs = logs[np.isfinite(logs)]
        if len(logs) < 2:
            return math.inf, 0.0
        return float(logs.mean()), float(logs.std(ddof=1) / math.sqrt(len(logs)))


def require_weights(question: Question) -> None:
    """Refuse a bootstrap whose scheme cannot resample runs that are not made yet.

    Raises:
        UsageError: it is one.
    """
    scheme = question.boot.scheme
    if isinstance(scheme, DrawnErrors) or not scheme.keeps_spread(len(question.runs)):
        raise UsageError(
            f"next_runs: scheme {scheme.name!r} does not resample runs at their own number; use 'pairs', "
            "'cluster' or 'bayesian'"
        )


def simulate(
    question: Question,
    choices: Sequence[Sequence[int]],
    *,
    tables: int,
    resamples: int,
    seed: int,
    options: SolverOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Simulated]:
    """Expected intervals after each of several choices of candidates.

    Args:
        question: the bootstrap, the targets and the candidates.
        choices: positions of candidates, each one run; none for the runs as they are.
        tables: K.
        resamples: R.
        seed: of everything that is drawn.
        options: of the fits.
        progress: called with the number of fits just finished.
    """
    require_weights(question)
    draws = _Draws.of(question, tables, max(map(len, choices), default=0), seed)
    return [_of_choice(question, choice, draws, resamples, seed, options, progress) for choice in choices]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Draws:
    """What all choices have in common: truths (K, p), own errors (K, k) and shared ones (K, k)."""

    truths: Floats
    own: Floats
    shared: Floats

    @classmethod
    def of(cls, question: Question, tables: int, most: int, seed: int) -> _Draws:
        boot = question.boot
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _STREAM])))
        counted = np.flatnonzero(boot.counted)
        chosen = generator.choice(counted, tables, replace=tables > len(counted))
        pool = RunErrors.of(boot)
        at_runs = question.spread.at(log_counts(boot.design)[counted_rows(boot)])
        alike = dataclasses.replace(pool, errors=pool.errors / at_runs)
        drawn = alike.draw(max(2 * tables * most, 1), seed)
        own, shared = drawn[: 2 * tables * most].reshape(2, tables, most)
        return cls(truths=boot.solution.theta[chosen], own=own, shared=shared)

    def errors(self, question: Question, places: NDArray[np.intp]) -> Floats:
        """Errors of new runs at these candidates, (K, k)."""
        view = question.plain.views[0]
        rho, groups = view.correlation, view.place_members[places]
        spreads = question.spread.at(log_counts(question.places.take(places)))
        own = self.own[:, : len(places)] * spreads
        if not rho:
            return own
        residuals = -question.problem.residuals(self.truths)  # observed less predicted, (K, n)
        found = own.copy()
        for group in np.unique(groups[groups >= 0]).tolist():
            at, of = np.flatnonzero(groups == group), view.members == group
            k = int(of.sum())
            known = rho * k / (1 + (k - 1) * rho)
            middle = known * np.median(residuals[:, of], axis=1) if k else np.zeros(len(own))
            share = rho * (1 - known)  # of the variance, that new runs of the group still have in common
            found[:, at] = (
                middle[:, None]
                + np.sqrt(share) * self.shared[:, at[:1]] * spreads[at]
                + np.sqrt(max(1 - rho, 0.0)) * own[:, at]
            )
        return found


def _of_choice(
    question: Question,
    choice: Sequence[int],
    draws: _Draws,
    resamples: int,
    seed: int,
    options: SolverOptions | None,
    progress: Callable[[int], None] | None,
) -> Simulated:
    places = np.asarray(choice, np.intp)
    tables = len(draws.truths)
    problems = _tables(question, places, draws)
    ids = np.arange(tables * resamples, dtype=np.int32)
    weights = _weights(question, places, ids, seed)
    point = question.boot.point.theta
    options = dataclasses.replace(options or SolverOptions(), wide_start=True)

    def fits(k: int) -> Asking[Solution]:
        lanes = (resamples, len(point))
        starts = [np.broadcast_to(each, lanes) for each in (point, draws.truths[k])]
        rows = weights[k * resamples : (k + 1) * resamples]
        found = yield Request(
            problem=problems[k], weights=rows, starts=[np.array(each) for each in starts], options=options
        )
        return found

    limits = np.full((tables, 3, len(question.targets)), np.nan)
    for first in range(0, tables, _TABLES):
        block = range(first, min(first + _TABLES, tables))
        limits[block] = _limits(question, side_by_side([fits(k) for k in block]))
        if progress is not None:
            progress(len(block) * resamples)
    widths = limits[:, 2] - limits[:, 0]
    known = np.isfinite(widths)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known.any(axis=0), np.nansum(widths, axis=0) / count, np.nan)
        spread = np.sqrt(np.nansum((widths - mean) ** 2, axis=0) / np.maximum(count - 1, 1) / count)
        low, high = (np.nansum(limits[:, i], axis=0) / count for i in (0, 2))
    return Simulated(
        every=widths, widths=mean, errors=spread, low=low, high=high, n_fits=tables * resamples
    )  # fmt: skip


def _tables(question: Question, places: NDArray[np.intp], draws: _Draws) -> list[Problem]:
    """The runs and the new ones, whose losses follow each truth, as problems in the units of the runs."""
    problem = question.problem
    design, law = problem.design, problem.law
    at = design_at(question.places.take(places), design, law)
    losses = law.log_losses(draws.truths, at.places, at) + draws.errors(question, places)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(design, name), getattr(at, name)])
        for name in ("log_params", "log_tokens")
    }
    further = tuple(np.concatenate(pair) for pair in zip(design.further, at.further, strict=True))
    return [
        Problem(
            law=law,
            design=dataclasses.replace(
                design, **columns, further=further, log_loss=np.concatenate([design.log_loss, loss])
            ),
            objective=problem.objective,
        )
        for loss in losses
    ]


def _weights(
    question: Question, places: NDArray[np.intp], ids: NDArray[np.int32], seed: int
) -> NDArray[np.generic]:
    """Weights of the resamples of all tables, (K R, n + k), by the scheme of the bootstrap."""
    boot, runs = question.boot, question.runs
    added = question.places.take(places)
    every = Runs(
        params=np.concatenate([runs.params, added.params]),
        tokens=np.concatenate([runs.tokens, added.tokens]),
        loss=np.concatenate([runs.loss, np.ones(len(added))]),
    )
    view = question.plain.views[0]
    scheme: Scheme = boot.scheme
    if isinstance(scheme, Cluster):
        assert boot.members is not None
        groups = view.place_members[places]
        fresh = groups.max(initial=int(boot.members.max())) + 1 + np.arange(len(groups))
        labels = np.concatenate([boot.members, np.where(groups < 0, fresh, groups)])
        scheme = Cluster(labels=labels, concentration=scheme.concentration)
    if boot.dependence is not None:  # as "auto" would resample so many runs
        counts = Pairs() if isinstance(scheme, Bayesian) else scheme
        if isinstance(counts, Cluster):
            counts = dataclasses.replace(counts, concentration=None)
        scheme = scheme_for_few(counts, every, np.concatenate([view.runs, view.places[places]]))
    drawn = np.asarray(scheme.weights(every, ids, seed))
    if boot.point.weights is None:
        return drawn
    return drawn * np.concatenate([boot.point.weights, np.ones(len(added))])


def _limits(question: Question, fits: Sequence[Solution]) -> Floats:
    """Low, median and high of each target by each table, (K, 3, T); NaN where too few resamples have it."""
    limits = np.full((len(fits), 3, len(question.targets)), np.nan)
    least = [_LEAST_COUNTED * len(found) for found in fits]
    counted = [np.flatnonzero(counted_lanes(found.status, question.boot.boundary)) for found in fits]
    enough = [k for k, lanes in enumerate(counted) if len(lanes) >= least[k]]
    if not enough:
        return limits
    theta = [fits[k].theta[counted[k]] for k in enough]
    laws = question.problem.law.fitted(np.concatenate(theta), question.problem.design)
    ends = np.cumsum([len(each) for each in theta])[:-1]
    for t, target in enumerate(question.targets):
        for k, values in zip(enough, np.split(question.reading.values(target, laws), ends), strict=True):
            known = values[np.isfinite(values)]
            if len(known) >= least[k]:
                limits[k, :, t] = low_median_high(known, question.level)
    return limits
