"""From a job to its answers: point fits, their scouting, resamples, and what each law prescribes. Pure.

| code    | symbol  | shape           | unit                                                                |
|---------|---------|-----------------|---------------------------------------------------------------------|
| params  | N*      | (S, F, 1 + R)   | parameters, by the plain counting; of the point fit, then resamples |
| tokens  | D*      | (S, F, 1 + R)   | training tokens                                                     |
| loss    | L*      | (S, F, 1 + R)   | nats per token                                                      |
| flops   | C       | (F,)            | training FLOP                                                       |

S are the specifications of the job in their order, R resamples. A fit that is not certified has no answer:
NaN. As in a study, the starts of a resample race; on few runs too, see `ask_scout`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.text import flops_text
from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.residual import residual_bootstrap
from chinchilla_jax.bootstrapping.schemes import Pairs, Scheme
from chinchilla_jax.datasets import Runs
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.problem_fit import ask_problem_fit
from chinchilla_jax.fitting.result import FitResult
from chinchilla_jax.fitting.width import ask_with_width
from chinchilla_jax.laws.drawn_cost import CostDraws, draw_costs
from chinchilla_jax.laws.prediction import paired_log_losses
from chinchilla_jax.laws.scaling_law import ScalingLaw, log_terms
from chinchilla_jax.planning.plausibility import cost_doubt
from chinchilla_jax.solvers import Problem, Solution, SolverOptions
from chinchilla_jax.solvers.counted import counted_lanes
from chinchilla_jax.solvers.requests import Asking, side_by_side
from chinchilla_jax.study.execution.cache import SingleFlightCache
from chinchilla_jax.study.multiverse.costs import MEASURED, cost_of
from chinchilla_jax.study.multiverse.counts import Restated
from chinchilla_jax.study.multiverse.specifications import Job

if TYPE_CHECKING:
    from chinchilla_jax.laws.compute import Cost
    from chinchilla_jax.laws.fitted import FittedLaws

Floats = NDArray[np.float64]
ANSWERS = ("params", "tokens", "loss")
FACTS = ("n_runs", "status", "n_failed", "reason", "warning")
_POINT_STARTS = 64  # as a bootstrap begins with
_KEPT_BYTES = 2**26


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What all jobs of a multiverse share.

    Attributes:
        by_counting: all runs of the table, by counting.
        masks: which of them each option of rows counts, by name, (n,) each.
        schemes: how the runs of an option of rows are resampled, by the names of both.
        restated: how counts are stated in the plain counting, by counting.
        flops: budgets, (F,).
        resamples: R.
        seed: of the resamples.
        options: how hard the solver tries; one thread, since jobs are what runs in parallel.
    """

    by_counting: Mapping[str, Runs]
    masks: Mapping[str, NDArray[np.bool_]]
    schemes: Mapping[tuple[str, str], Scheme]
    restated: Mapping[str, Restated]
    flops: Floats
    resamples: int
    seed: int
    options: SolverOptions

    @functools.cached_property
    def drawn(self) -> SingleFlightCache[NDArray[Any]]:
        """Weights of resamples, which the jobs of all laws share; as many as fit into `_KEPT_BYTES`."""
        runs = max(len(each) for each in self.by_counting.values())
        return SingleFlightCache(max(_KEPT_BYTES // (8 * max(self.resamples * runs, 1)), 1))

    def runs(self, job: Job, counting: int) -> Runs:
        """The runs that count in a job, in a counting."""
        whole = self.by_counting[job.choices.countings[counting]]
        return whole.take(self.masks[job.choices.rows[job.rows]])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class JobResult:
    """The answers of a job.

    Attributes:
        answers: params, tokens and loss, (S, F, 1 + R) each.
        facts: by the names in `FACTS`, one of each specification: runs that count, status of the point fit,
            resamples without a certified fit, why the point fit has no estimate, and its first warning.
    """

    answers: Mapping[str, Floats]
    facts: Mapping[str, list[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """One objective in one counting: its point fit, and how its resamples are started."""

    runs: Runs
    problem: Problem
    point: FitResult
    fitter: ResampleFitter


def run_job(work: Work, job: Job, advance: Callable[[int], None] | None = None) -> JobResult:
    """The answers of a job, a function of the two alone.

    Args:
        work: what all jobs share.
        job: which specifications.
        advance: called with the number of fits just finished, from this thread.
    """
    cells = list(job.fitted())
    runs = [work.runs(job, counting) for counting in range(job.shape[1])]
    prepared = side_by_side([_ask_prepared(work, job, runs[c], o) for o, c in cells])
    of_cell = dict(zip(cells, prepared, strict=True))
    ids = np.arange(work.resamples, dtype=np.int32)
    asked = [(cell, scheme) for cell in cells for scheme in job.choices.schemes]
    schemes = {name: work.schemes[job.choices.rows[job.rows], name] for name in job.choices.schemes}
    drawn = _Weights(work, job, runs[0])
    weighted = [each for each in asked if not isinstance(schemes[each[1]], DrawnErrors)]
    fits = side_by_side(
        [_ask_resamples(of_cell[cell], drawn.of(schemes[name]), advance) for cell, name in weighted]
    )
    found = dict(zip(weighted, fits, strict=True))
    for cell, name in asked:
        scheme = schemes[name]
        if isinstance(scheme, DrawnErrors):
            found[cell, name] = _drawn_errors(of_cell[cell], scheme, ids, work.seed, advance)
    return _answers(work, job, of_cell, found, schemes, drawn)


def _ask_prepared(work: Work, job: Job, runs: Runs, objective: int) -> Asking[_Prepared]:
    """The point fit of one objective in one counting, and its scouting; a procedure."""
    law, asked = job.choices.laws[job.law], job.choices.objectives[objective].objective
    given = read_problem("multiverse", runs, law, asked)
    problem = yield from ask_with_width(given, None, work.options)
    point = yield from ask_problem_fit(problem, None, starts=_POINT_STARTS, options=work.options)
    fitter = yield from ResampleFitter.ask_prepared(
        problem, point, options=work.options, raced=True, search_small=False
    )
    return _Prepared(runs, problem, point, dataclasses.replace(fitter, follows=False))


class _Weights:
    """Weights of the resamples by scheme, drawn once for all specifications of these rows."""

    def __init__(self, work: Work, job: Job, runs: Runs) -> None:
        self.runs = runs
        self._work, self._rows = work, job.choices.rows[job.rows]
        self.of = functools.cache(self._of)

    def _of(self, scheme: Scheme) -> NDArray[Any]:
        def draw() -> NDArray[Any]:
            ids = np.arange(self._work.resamples, dtype=np.int32)
            return np.ascontiguousarray(scheme.weights(self.runs, ids, self._work.seed))

        return self._work.drawn.get((self._rows, scheme), draw)


def _ask_resamples(
    prepared: _Prepared, weights: NDArray[Any], advance: Callable[[int], None] | None
) -> Asking[Solution]:
    fitter = prepared.fitter
    return (yield from fitter.ask_fit(weights, fitter.starts(weights), advance))


def _drawn_errors(
    prepared: _Prepared,
    scheme: DrawnErrors,
    ids: NDArray[np.int32],
    seed: int,
    advance: Callable[[int], None] | None,
) -> Solution:
    """Resamples whose losses are drawn; none where the point fit gives no residuals to draw."""
    point = prepared.point
    if not point.status.certified:
        if advance is not None:
            advance(len(ids))
        return Solution.invalid(len(ids), prepared.problem.law.size)
    return residual_bootstrap(
        prepared.fitter, scheme, ids, seed, point=point, boundary="keep", on_progress=advance
    ).solution


def _answers(
    work: Work,
    job: Job,
    of_cell: Mapping[tuple[int, int], _Prepared],
    found: Mapping[tuple[tuple[int, int], str], Solution],
    schemes: Mapping[str, Scheme],
    drawn: _Weights,
) -> JobResult:
    """What every fit prescribes by every cost."""
    shape = (*job.shape, len(work.flops), 1 + work.resamples)
    answers = {name: np.full(shape, np.nan) for name in ANSWERS}
    facts: dict[str, list[Any]] = {name: [] for name in FACTS}
    costs = _Costs(job, of_cell, schemes, drawn)
    for o, c, k, s in np.ndindex(*job.shape):
        prepared, scheme = of_cell[o, c], job.choices.schemes[s]
        point, solution = prepared.point, found[(o, c), scheme]
        counted = counted_lanes(solution.status)
        theta = np.concatenate([point.theta[None], solution.theta])
        kept = np.concatenate([[point.status.certified], counted])
        params, tokens, loss = _prescribed(
            prepared.problem, theta, kept, work.flops, costs.of_all(c, k), costs.of_resamples(c, k, scheme)
        )
        answers["params"][o, c, k, s] = work.restated[job.choices.countings[c]](params).T
        answers["tokens"][o, c, k, s] = tokens.T
        answers["loss"][o, c, k, s] = loss.T
        facts["n_runs"].append(len(prepared.runs))
        facts["status"].append(point.status.name)
        facts["n_failed"].append(int(np.sum(~counted)))
        facts["reason"].append("" if point.status.certified else point.reason)
        doubt = _cost_doubt(work.flops, costs.of_all(c, k), params[0], tokens[0])
        facts["warning"].append(doubt or (point.warnings[0] if point.warnings else ""))
    flat = (-1, *shape[-2:])
    return JobResult(answers={name: each.reshape(flat) for name, each in answers.items()}, facts=facts)


def _cost_doubt(flops: Floats, cost: Cost, params: Floats, tokens: Floats) -> str:
    """At which budget a cost is extrapolated to what no run of the table costs; "" for none."""
    for budget, n, d in zip(flops.tolist(), params.tolist(), tokens.tolist(), strict=True):
        if cost.evidence is not None and cost_doubt(cost, n, d):
            # Without its number: the same doubt of several specifications is counted as one.
            than = "less" if cost.per_6nd(n, d) < cost.evidence.lowest else "more"
            return (
                f"at {flops_text(budget)} FLOP the cost is extrapolated: {than}, over 6 N D, than of any run"
            )
    return ""


class _Costs:
    """What training costs by each option and counting: by all runs, and by those of each resample."""

    def __init__(
        self,
        job: Job,
        of_cell: Mapping[tuple[int, int], _Prepared],
        schemes: Mapping[str, Scheme],
        drawn: _Weights,
    ) -> None:
        self._job, self._schemes, self._drawn = job, schemes, drawn
        self._runs = [of_cell[0, c].runs for c in range(job.shape[1])]
        self.of_all = functools.cache(self._of_all)
        self.of_resamples = functools.cache(self._of_resamples)

    def _of_all(self, counting: int, option: int) -> Cost:
        return cost_of(self._job.choices.costs[option], self._runs[counting], self._drawn.runs)

    def _of_resamples(self, counting: int, option: int, scheme: str) -> CostDraws | None:
        """The cost by the runs of each resample, where it was measured on these runs; else None."""
        if self._job.choices.costs[option] != MEASURED:
            return None
        runs, drawn = self._runs[counting], self._schemes[scheme]
        # Errors are drawn of losses; what runs cost is resampled with the runs.
        weights = self._drawn.of(Pairs() if isinstance(drawn, DrawnErrors) else drawn)
        cost = self.of_all(counting, option)
        return None if cost.is_6nd else draw_costs(cost, runs.active, runs.tokens, runs.flops, [weights])


def _prescribed(
    problem: Problem,
    theta: Floats,
    kept: NDArray[np.bool_],
    flops: Floats,
    cost: Cost,
    costs: CostDraws | None,
) -> tuple[Floats, Floats, Floats]:
    """N*, D* and the loss there, (1 + R, F) each, of laws theta (1 + R, p); NaN where not `kept`.

    The first law is that of the point fit, by the cost of all runs.
    """
    params, tokens, loss = np.full((3, len(theta), len(flops)), np.nan)
    lanes = np.flatnonzero(kept)
    first, others = lanes[lanes == 0], lanes[lanes > 0]
    parts: list[tuple[NDArray[np.intp], Cost]] = [(lanes, cost)]
    if costs is not None:
        parts = [(first, cost), (others, costs[others - 1])]
    for some, own in parts:
        if not len(some):
            continue
        laws = problem.law.fitted(theta[some], problem.design)
        params[some], tokens[some] = laws.optimal(flops, own)
        for place in range(len(flops)):
            loss[some, place] = _losses_at(
                problem, laws, theta[some], params[some, place], tokens[some, place]
            )
    return params, tokens, loss


def _losses_at(problem: Problem, laws: FittedLaws, theta: Floats, params: Floats, tokens: Floats) -> Floats:
    """The loss of each law at a place of its own, (R,); NaN where the place is no number."""
    known = (params > 0) & (tokens > 0) & np.isfinite(params) & np.isfinite(tokens)
    log_n, log_d = (np.log(np.where(known, each, 1.0)) for each in (params, tokens))
    design = problem.design
    with np.errstate(all="ignore"):
        if isinstance(laws, ScalingLaw):  # in closed form, without JAX
            logs = log_terms(np.log(laws.A), np.log(laws.B), laws.alpha, laws.beta, log_n, log_d)
            found = laws.E + np.exp(logs[0]) + np.exp(logs[1])
        else:
            places = design.standardised(log_n, log_d)
            found = np.exp(paired_log_losses(problem.law, theta, places, problem.law.constants(design)))
    return np.where(known, found, np.nan)
