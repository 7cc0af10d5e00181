"""From the arguments of a caller to a `Question`: the runs, their bootstrap, targets and candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import seed_number
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.problem_fit import fit_until_agreed
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.fitting.width import with_width
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute import training_flops, usual_budget
from chinchilla_jax.planning.design.candidates import Limits, read_limits
from chinchilla_jax.planning.design.question import Question
from chinchilla_jax.planning.design.steps import Steps, read_steps
from chinchilla_jax.planning.design.targets import Reading, Target, read_targets
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.planning.multipliers import Frontier, require_frontier
from chinchilla_jax.planning.prediction_places import Places

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Cost, Law, Objective
    from chinchilla_jax.laws.objectives import Delta
    from chinchilla_jax.solvers import SolverOptions


def ask(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    target: str | Target | Sequence[str | Target] = "tokens_per_param",
    flops: ArrayLike | None = None,
    allowance: float = math.inf,
    candidates: Places | TableLike | Callable[[Runs], Places] | None = None,
    limits: Limits | Mapping[str, object] | None = None,
    against: Runs | TableLike | None = None,
    once: bool = False,
    steps: Steps | Mapping[str, object] | None = None,
    level: float = 0.8,
    resamples: int = 1000,
    seed: int = 0,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    weights: ArrayLike | None = None,
    scheme: Scheme | str = "auto",
    cost: Cost | str | None = None,
    variables: Mapping[str, float] | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> Question:
    """The question that these arguments of `next_runs` ask; `candidates` may also be a function of the runs.

    Raises:
        DataError: a table cannot be read.
        UsageError: an argument has no meaning, the law has no such target, or no candidate is left.
        NoEstimateError: the fit is not certified, or most of the laws lack the target.
    """
    asked_law = read_law(law)
    read = as_runs(data, "next_runs", asked_law.columns)
    central_tails(level)
    usual = usual_budget(read.name, training_flops(read.params, read.tokens))
    targets = read_targets(target, asked_law, usual if flops is None else flops, against is not None)
    given, whole = read_limits(limits), read_steps(steps)
    boot = bootstrap(
        read, asked_law, resamples=resamples, seed=seed_number(seed), objective=objective, delta=delta,
        weights=weights, scheme=scheme, options=options, progress=progress,
    )  # fmt: skip
    reading = reading_of(boot, cost, variables, against)
    places = candidates(read) if callable(candidates) else candidates
    return Question.of(boot, read, reading, targets, places, given, allowance, level, once, whole)


def reading_of(
    boot: BootstrapResult,
    cost: Cost | str | None = None,
    variables: Mapping[str, float] | None = None,
    against: Runs | TableLike | None = None,
) -> Reading:
    """How targets are read off the laws of a bootstrap; arguments as for `next_runs`.

    Raises:
        NoEstimateError: its fit is not certified, or that of the other table.
        UsageError: none of its resamples has a certified fit, or an argument has no meaning.
    """
    require_estimate(boot.point.status, "next_runs", boot.point.reason)
    law = boot.point.model
    counted = np.flatnonzero(boot.counted)
    if len(counted) < 2:
        raise UsageError("next_runs: no resample has a certified fit; add runs, or give another scheme")
    sample = LawSample(
        laws=boot.laws[counted], point=boot.point.law, source="next_runs", cost=boot.point.cost
    ).at(cost, variables)
    other = None
    if against is not None:
        require_frontier(law)
        problem = read_problem("against", as_runs(against, "against", law.columns), law, "huber")
        found = fit_until_agreed(with_width(problem, None), None)
        require_estimate(found.status, "against", found.reason)
        other = Frontier.of(found.law)
    return Reading(sample=sample, other=other)
