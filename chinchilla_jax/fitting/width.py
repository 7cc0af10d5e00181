"""The width of Huber's zone that a fit of these runs both has and asks for."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.automatic_delta import EFFICIENT, ask_automatic_delta, highest_delta
from chinchilla_jax.fitting.optima_pool import apart
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.problem_fit import ask_problem_fit, ask_until_agreed
from chinchilla_jax.fitting.result import FitResult
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.objectives import AUTO, Huber, OwnObjective, RawHuber, is_unresolved
from chinchilla_jax.solvers.requests import Asking, alone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.solvers import Problem, SolverOptions

_PILOT_STARTS = 32  # of the first fit
_AGREED = 0.9  # share of them at the best optimum, below which fits with more starts confirm the width
_CONFIRMATIONS, _CONFIRMED = 3, 0.02  # how often, and the relative miss that is allowed
_LARGEST_POOL, _ONE = 32, 1e-6  # optima that a fit begins from, and the distance at which two are one


def decided_objective(
    runs: Runs,
    objective: Objective | None = None,
    options: SolverOptions | None = None,
    law: Law | str = CHINCHILLA,
) -> Objective:
    """The objective of `fit(runs)`, or this one, with the width of its zone as a number.

    Args:
        runs: the runs, which decide a width that is "auto".
        objective: None for the usual one.
        options: of the fits that decide it.
        law: what is fitted.
    """
    problem = read_problem("fit", runs, law, Huber.name if objective is None else objective)
    return with_width(problem, None, options).objective


def with_width(
    problem: Problem, weights: NDArray[np.float64] | None, options: SolverOptions | None = None
) -> Problem:
    """The problem with its `delta="auto"` decided by the runs, see automatic_delta.py; others as they are.

    A function of the runs, their weights, the law and the kind of objective alone.

    Args:
        problem: what is fitted.
        weights: as `read_weights` gives them.
        options: of the fits that decide it.
    """
    return alone(ask_with_width(problem, weights, options))


def ask_with_width(
    problem: Problem, weights: NDArray[np.float64] | None, options: SolverOptions | None = None
) -> Asking[Problem]:
    """`with_width` as a procedure, see solvers/requests.py."""
    objective = problem.objective
    if isinstance(objective, OwnObjective) and is_unresolved(objective):
        plain = dataclasses.replace(problem, objective=Huber(AUTO))
        robust = (yield from ask_with_width(plain, weights, options)).objective
        assert isinstance(robust, Huber)
        scale = float(f"{robust.down / EFFICIENT:.3g}")
        return dataclasses.replace(
            problem, objective=dataclasses.replace(objective, scale=scale, automatic=True)
        )
    if not isinstance(objective, Huber | RawHuber) or not is_unresolved(objective):
        return problem
    delta = yield from _ask_delta(problem, objective, weights, options)
    return dataclasses.replace(problem, objective=dataclasses.replace(objective, delta=delta, automatic=True))


def _ask_delta(
    problem: Problem,
    objective: Huber | RawHuber,
    weights: NDArray[np.float64] | None,
    options: SolverOptions | None,
) -> Asking[float]:
    """The delta of which a fit has residuals of scale delta / 1.345; a procedure, see solvers/requests.py.

    The first fit has a few starts, and each of the others those optima that were found before it. Unless the
    few agree, fits with more starts confirm the result, since they may find a lower optimum.
    """
    design, first = problem.design, float(type(objective)().down)
    if not design.valid:
        return first
    pilots = _Pilots(problem, objective, weights, options)
    losses = np.exp(design.log_loss) if objective.raw else design.log_loss
    highest = highest_delta(losses, weights, problem.law.size)
    delta = yield from ask_automatic_delta(pilots.scale_at, first, highest, problem.loss_unit)
    for _ in range(0 if pilots.agreed else _CONFIRMATIONS):
        asked = EFFICIENT * (yield from pilots.learn(delta, None)).residual_scale
        if not asked > 0 or abs(math.log(asked / delta)) <= _CONFIRMED:
            break
        delta = yield from ask_automatic_delta(pilots.scale_at, delta, highest, problem.loss_unit)
    return delta


class _Pilots:
    """Fits that know every optimum of those before them.

    Attributes:
        agreed: whether the starts of the first fit met at one certified optimum.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Huber | RawHuber,
        weights: NDArray[np.float64] | None,
        options: SolverOptions | None,
    ) -> None:
        self.agreed = False
        self._problem, self._objective, self._weights, self._options = problem, objective, weights, options
        self._known: FitResult | None = None

    def scale_at(self, delta: float) -> Asking[float]:
        """Scale of the residuals of a fit with this delta from what is known."""
        found = yield from self.learn(delta, _PILOT_STARTS if self._known is None else self._known)
        return found.residual_scale

    def learn(self, delta: float, starts: int | FitResult | None) -> Asking[FitResult]:
        """A fit from so many starts, from the optima of another, or (None) from as many as agree.

        Its optima are known from then on.
        """
        objective = dataclasses.replace(self._objective, delta=delta)
        trial = dataclasses.replace(self._problem, objective=objective)
        if starts is None:
            options = self._options
            found = yield from ask_until_agreed(trial, self._weights, options=options, among_many=True)
        else:
            # Of a fit from known optima only the residuals are asked for.
            judged = not isinstance(starts, FitResult)
            found = yield from ask_problem_fit(
                trial, self._weights, starts=starts, options=self._options, judged=judged
            )
        # Where the runs leave many laws, the best end is no optimum of its own, and is kept all the same.
        pool = [found.theta[None], found.starts.minima]
        if self._known is None:
            self.agreed = found.status.certified and found.starts.n_at_best >= _AGREED * found.starts.n
        else:
            pool.append(self._known.starts.minima)
        optima = apart(np.concatenate(pool), _ONE)[:_LARGEST_POOL]
        self._known = dataclasses.replace(found, starts=dataclasses.replace(found.starts, minima=optima))
        return found
