"""The width of Huber's zone that a fit of these runs both has and asks for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.automatic_delta import EFFICIENT, ask_automatic_delta, highest_delta
from chinchilla_jax.fitting.optima_pool import apart
from chinchilla_jax.laws.objectives import ZonedObjective
from chinchilla_jax.solvers.requests import Asking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.solvers import Problem

    FitWith = Callable[[float, int | FitResult | None], Asking[FitResult]]

_PILOT_STARTS = 32  # of the first fit
_AGREED = 0.9  # share of them at the best optimum, below which fits with all starts confirm the width
_CONFIRMATIONS, _CONFIRMED = 3, 0.02  # how often, and the relative miss that is allowed
_LARGEST_POOL, _ONE = 32, 1e-6  # optima that a fit begins from, and the distance at which two are one


def ask_decided_delta(
    problem: Problem,
    weights: NDArray[np.float64] | None,
    fit_with: FitWith,
    first: float,
) -> Asking[float]:
    """The delta of which a fit has residuals of scale delta / 1.345; a procedure, see solvers/requests.py.

    The first fit has a few starts, and each of the others those optima that were found before it. Unless the
    few agree, fits with all starts confirm the result, since they may find a lower optimum.

    Args:
        problem: what is fitted, with a `Huber` or `RawHuber` of any delta.
        weights: of the runs (n,), or None.
        fit_with: a fit with a delta, from a number of starts, the optima of a fit, or (None) all starts.
        first: delta to begin with.
    """
    design, objective = problem.design, problem.objective
    if not design.valid:
        return first
    pilots = _Pilots(fit_with)
    raw = isinstance(objective, ZonedObjective) and objective.raw
    highest = highest_delta(np.exp(design.log_loss) if raw else design.log_loss, weights, problem.law.size)
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

    def __init__(self, fit_with: FitWith) -> None:
        self.agreed = False
        self._fit_with = fit_with
        self._known: FitResult | None = None

    def scale_at(self, delta: float) -> Asking[float]:
        """Scale of the residuals of a fit with this delta from what is known."""
        found = yield from self.learn(delta, _PILOT_STARTS if self._known is None else self._known)
        return found.residual_scale

    def learn(self, delta: float, starts: int | FitResult | None) -> Asking[FitResult]:
        """A fit, whose optima are known from then on."""
        found = yield from self._fit_with(delta, starts)
        # Where the runs leave many laws, the best end is no optimum of its own, and is kept all the same.
        pool = [found.theta[None], found.starts.minima]
        if self._known is None:
            self.agreed = found.status.certified and found.starts.n_at_best >= _AGREED * found.starts.n
        else:
            pool.append(self._known.starts.minima)
        optima = apart(np.concatenate(pool), _ONE)[:_LARGEST_POOL]
        self._known = dataclasses.replace(found, starts=dataclasses.replace(found.starts, minima=optima))
        return found
