"""The fit of a problem: many starts in one batched call, the best of them certified.

Notation: see laws/objectives.py and laws/law.py; n runs, p parameters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.fitting.automatic_delta import robust_scale
from chinchilla_jax.fitting.doubts import Judgement, judge_fit
from chinchilla_jax.fitting.optima_pool import distinct_minima
from chinchilla_jax.fitting.problem import require_fit_of
from chinchilla_jax.fitting.result import Certificate, FitResult, StartsReport
from chinchilla_jax.laws import CHINCHILLA, Chinchilla
from chinchilla_jax.laws.objectives import Huber, HuberScale, OwnObjective, own_residuals
from chinchilla_jax.laws.separation import NEAR_LINE
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, Status
from chinchilla_jax.solvers.dispatch import has_kernel, solve_generally
from chinchilla_jax.solvers.huber_scale import VERTEX_BELOW
from chinchilla_jax.solvers.least_absolute import DUAL_TOLERANCE, ZERO
from chinchilla_jax.solvers.raw_loss import log_objective
from chinchilla_jax.solvers.requests import Asking, Request, alone
from chinchilla_jax.solvers.status import status_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS_FAST, _STEPS = 150, 300  # of each start, unless the options say otherwise
_SLOW_STARTS = 32  # where no kernel fits the law
# Stages of a fast fit that others build on: starts, and the share of them that must be at the best optimum
# for these to be enough. On large tables nearly all of the first reach one optimum.
_STAGES = ((64, 0.9),)
_STAGES_AMONG_MANY = ((64, 0.9), (512, 0.25))
_FEWER = 4  # the five-parameter fit that gives another law a start has this many times fewer starts
_MORE_STEPS = 600  # of a point fit that ran out of steps


def fit_problem(
    problem: Problem,
    weights: NDArray[np.float64] | None,
    *,
    solver: str = "newton",
    starts: str | int | FitResult = "auto",
    options: SolverOptions | None = None,
) -> FitResult:
    """`fit` with its arguments checked and the runs standardised.

    Args:
        problem: what is fitted.
        weights: as `read_weights` gives them.
        solver: its name.
        starts: as for `fit`.
        options: as for `fit`.
    """
    return alone(ask_problem_fit(problem, weights, solver=solver, starts=starts, options=options))


def ask_problem_fit(
    problem: Problem,
    weights: NDArray[np.float64] | None,
    *,
    solver: str = "newton",
    starts: str | int | FitResult = "auto",
    options: SolverOptions | None = None,
    judged: bool = True,
    warned: bool = True,
) -> Asking[FitResult]:
    """`fit_problem` as a procedure, see solvers/requests.py.

    Not `judged`, the status is that of the best start, and nothing is said of whether the runs determine the
    law. Not `warned`, that is judged, and the fit has no warnings.
    """
    design, law = problem.design, problem.law
    fast, given = has_kernel(law, problem.objective), options
    options, more_steps = _steps(problem, options)
    if not isinstance(starts, FitResult):  # these starts are far from the optimum
        options = dataclasses.replace(options, wide_start=True)
    rows = np.ones((1, len(design)), np.uint8) if weights is None else weights[None]
    theta = [_start_points(problem, starts, fast)]
    if not design.valid:
        return _result(problem, Solution.invalid(len(theta[0]), law.size), weights, options, judged, warned)
    own = isinstance(problem.objective, OwnObjective)
    if (own or not isinstance(law, Chinchilla)) and not isinstance(starts, FitResult):
        objective, of_five = problem.objective, weights
        if isinstance(objective, OwnObjective):
            objective = Huber(objective.down)
        elif problem.raw:
            # For a start, losses by their logarithms: the kernel fits these, without a program of its own.
            objective, factor = log_objective(problem)
            of_five = factor if weights is None else weights * factor
        plain = dataclasses.replace(design, further=())
        five = Problem(law=CHINCHILLA, design=plain, objective=objective)
        count = max(len(theta[0]) // _FEWER, 4)
        # Only its coordinates are asked for.
        fit_of_five = yield from ask_problem_fit(five, of_five, starts=count, options=given, judged=False)
        found_there = fit_of_five.theta
        embedded = found_there if isinstance(law, Chinchilla) else law.embed(found_there, design)
        theta += [] if embedded is None else [embedded[None]]

    def request(theta: NDArray[np.float64]) -> Request:
        return Request(problem=problem, weights=rows, starts=[theta], solver=solver, options=options)

    found = yield request(np.concatenate(theta))
    best = found.best_lane()
    if found.status[best] == Status.MAX_STEPS and more_steps and solver == "newton":
        # It creeps along a kink or a valley; a fresh start from there usually converges.
        more = dataclasses.replace(options, wide_start=True, max_steps=more_steps)
        again = solve_generally(problem, rows, found.theta[best][None], options=more)
        if again.objective_value[0] <= found.objective_value[best]:
            found.put(np.array([best]), again)
    twin = law.exchanged(found.theta[best]) if design.line_spreads[1] < NEAR_LINE else None
    if twin is not None:
        # Near a line the terms can exchange places, and which way round is lower the starts may not show.
        also = yield request(twin[None])
        found = Solution.concatenated([found, also])
    return _result(problem, found, weights, options, judged, warned)


def fit_until_agreed(
    problem: Problem,
    weights: NDArray[np.float64] | None,
    *,
    solver: str = "newton",
    options: SolverOptions | None = None,
    among_many: bool = False,
) -> FitResult:
    """The fit of `fit_problem` with starts="auto", sooner where a few starts already agree.

    Where the CPU kernel fits the law, 64 starts come first; unless nine in ten of them are certified at the
    best optimum, all are tried. The arguments are those of `fit_problem`, but for one.

    `among_many`, for a fit that is not reported by itself, as that of a window of a backtest, 512 starts come
    before all, and a quarter of them at the best optimum is enough. On few runs eight of ten end there as a
    rule, but its basin may have one start in a hundred, which 64 miss in every second case and 512 in one of
    two hundred. No fit of `benchmarks/misses.py --points` misses the lowest minimum of all 4,500.
    """
    asking = ask_until_agreed(problem, weights, solver=solver, options=options, among_many=among_many)
    return alone(asking)


def ask_until_agreed(
    problem: Problem,
    weights: NDArray[np.float64] | None,
    *,
    solver: str = "newton",
    options: SolverOptions | None = None,
    among_many: bool = False,
) -> Asking[FitResult]:
    """`fit_until_agreed` as a procedure, see solvers/requests.py."""
    if has_kernel(problem.law, problem.objective):
        for starts, share in _STAGES_AMONG_MANY if among_many else _STAGES:
            found = yield from ask_problem_fit(
                problem, weights, solver=solver, starts=starts, options=options
            )
            certified = found.certificate.holds if among_many else found.status.certified
            agreed = certified and found.starts.n_at_best >= share * found.starts.n
            if agreed or not problem.design.valid or solver != "newton":
                return found
    return (yield from ask_problem_fit(problem, weights, solver=solver, options=options))


def _steps(problem: Problem, options: SolverOptions | None) -> tuple[SolverOptions, int]:
    """Options of a point fit with the limit for each start, and the steps that the best may take beyond it.

    Every point fit gets them here, so that a table has one status whichever command fits it. A caller who
    sets `max_steps` gets just that.
    """
    options = options or SolverOptions()
    if options.max_steps != SolverOptions.max_steps:
        return options, 0
    steps = _STEPS_FAST if has_kernel(problem.law, problem.objective) else _STEPS
    more = 0 if isinstance(problem.objective, HuberScale) else _MORE_STEPS
    return dataclasses.replace(options, max_steps=steps), more


def _start_points(problem: Problem, starts: object, fast: bool) -> NDArray[np.float64]:
    """Starting points (S, p) in internal coordinates."""
    law, design = problem.law, problem.design
    if isinstance(starts, FitResult):
        if starts.model != law:
            raise UsageError(
                f"starts is a fit of law {starts.model.name}; give one of law {law.name}, or a number"
            )
        require_fit_of(problem, starts, "starts")
        # A fit that found nothing (INVALID) has no optima; one start then carries the status on.
        return starts.starts.minima if len(starts.starts.minima) else np.zeros((1, law.size))
    if starts == "auto":
        return law.starts(design, law.grid_size if fast else _SLOW_STARTS)
    remedy = "give 'auto', a number of starts such as 64, or a fit"
    return law.starts(design, whole_number("starts", starts, low=1, high=10**7, remedy=remedy))


def _result(
    problem: Problem,
    solution: Solution,
    weights: NDArray[np.float64] | None,
    options: SolverOptions,
    judged: bool,
    warned: bool,
) -> FitResult:
    objective, design = problem.objective, problem.design
    best = solution.best_lane()
    value = float(solution.objective_value[best])
    report = StartsReport(
        n=len(solution),
        status=status_counts(solution.status),
        n_at_best=int(np.sum(solution.same_value(value) & (solution.status == solution.status[best]))),
        minima=distinct_minima(solution),
    )
    status, theta = Status(int(solution.status[best])), solution.theta[best]
    residuals = problem.residuals(theta) if design.valid else np.full(len(design), np.nan)
    dual = isinstance(objective, HuberScale) and _is_sharp(residuals, objective, weights)
    certificate = Certificate(
        kind="dual" if dual else "newton_decrement",
        value=float(solution.decrement[best]),
        tolerance=DUAL_TOLERANCE if dual else options.tolerance,
        holds=status.certified,
    )
    if judged:
        judgement = judge_fit(problem, weights, theta, status, report.minima[1:], residuals, warned=warned)
    else:
        judgement = Judgement(status=status, reason=status.sentence)
    return FitResult(
        law=problem.law.fitted(theta, design),
        model=problem.law,
        objective_value=value,
        status=judgement.status,
        reason=judgement.reason,
        certificate=certificate,
        steps=int(solution.steps[best]),
        starts=report,
        objective=objective,
        theta=theta,
        residuals=residuals,
        residual_scale=robust_scale(
            own_residuals(objective, residuals, design.log_loss), weights, problem.law.size
        ),
        weights=weights,
        n_runs=len(design),
        warnings=judgement.warnings,
    )


def _is_sharp(
    residuals: NDArray[np.float64], objective: HuberScale, weights: NDArray[np.float64] | None
) -> bool:
    """Whether some residuals vanish, and the zone is tiny beside the typical one: see least_absolute.py."""
    w = np.ones_like(residuals) if weights is None else weights
    width = objective.delta * objective.scale(residuals, w)
    found = np.abs(residuals)[w > 0]
    return bool(width < VERTEX_BELOW * found.mean() and np.any(found <= ZERO))
