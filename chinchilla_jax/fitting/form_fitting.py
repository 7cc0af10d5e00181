"""Point fits and bootstraps of any form under any of the objectives, with a weight for every run.

Notation
    R, n, p    resamples, runs, parameters of the form
    weights    user's: (n,), how much each run counts; with resampling counts: (R, n)
    pool       known optima, from which each resample starts; (K, p)

The five-parameter law under `Huber` or `Squared` is fitted by the main engine (solvers/), everything else by
the solver of this folder. Either way a lane has a status, and the same status means the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.fitting.form_results import FormBootstrap, FormFit
from chinchilla_jax.laws import form_objectives as objectives
from chinchilla_jax.laws.base import Floats, Form
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.families import FiveParameter, read_form
from chinchilla_jax.laws.form_objectives import AsymmetricError, FormObjective, check_objective
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.solvers.newton.solver import FormSolution, best_of, residuals, solve_form
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs

STARTS = 32
_FEWER = 4  # times fewer starts for the five-parameter fit that a form may start from
_MORE_STEPS = 600  # of a point fit that ran out of steps
_SQUARED_DELTA = 10.0  # no law is off by a factor e^10: within such a zone, and wider ones, Huber is squared
_APART = 0.1  # distance of optima, in standardised coordinates, that are worth starting from both
_MOST_POOL = 12
_POOL_WITHIN = 1.25  # times the lowest objective: higher optima are no resample's best
_RANKS = 2  # starts of a resample
_BLOCK = 2048  # resamples whose weights are in memory at a time


def fit_form(
    runs: Runs,
    form: Form | str = "chinchilla",
    *,
    objective: FormObjective = Huber(),  # noqa: B008 - frozen, shared on purpose
    weights: ArrayLike | None = None,
    starts: int = STARTS,
) -> FormFit:
    """Fit a form to `runs` from many starts; the best optimum with its certificate.

    Args:
        runs: n runs.
        form: a `Form` or its name: "chinchilla", "equal_exponents", "fixed_floor", "kaplan", "broken".
        objective: `Huber`, `Squared` or `AsymmetricError`.
        weights: how much each run counts, (n,), zero or more; None for all the same.
        starts: how many, spread over what is plausible; one more is the five-parameter fit, if it applies.

    Returns:
        The fit. It is returned, not raised, when it did not converge: look at `status`.

    Raises:
        UsageError: an argument that means nothing.
    """
    fitter, weights = prepared("fit_form", runs, form, objective, weights)
    if isinstance(starts, bool) or not isinstance(starts, (int, np.integer)) or starts < 1:
        raise UsageError(f"starts is {short(starts)}, expected a number of starts such as {STARTS}")
    return fitter.point(weights, int(starts))


def bootstrap_form(
    runs: Runs,
    form: Form | str = "chinchilla",
    *,
    resamples: int = 400,
    seed: int = 0,
    objective: FormObjective = Huber(),  # noqa: B008 - frozen, shared on purpose
    weights: ArrayLike | None = None,
    scheme: Scheme | str = "pairs",
) -> FormBootstrap:
    """Fit resamples of the runs; the same seed gives every form and objective the same resamples.

    Args:
        runs: n runs.
        form: as for `fit_form`.
        resamples: how many, at least 2.
        seed: whole number.
        objective: as for `fit_form`.
        weights: as for `fit_form`; a resample's counts are multiplied by them.
        scheme: how to resample: any scheme of schemes.py that is weights on the same runs.

    Raises:
        UsageError: an argument that means nothing.
    """
    fitter, weights = prepared("bootstrap_form", runs, form, objective, weights)
    drawn = resample_weights("bootstrap_form", runs, scheme, resamples, seed)
    point = fitter.point(weights, STARTS)
    found = fitter.lanes(drawn * weights, point.pool)
    return FormBootstrap(
        point=point,
        theta=found.theta,
        objective_value=found.objective_value,
        decrement=found.decrement,
        status_codes=found.status,
    )


def prepared(
    caller: str, runs: object, form: Form | str, objective: object, weights: ArrayLike | None
) -> tuple[Fitter, Floats]:
    """What fits the form to the runs, and the weights of the runs (n,); all arguments checked."""
    from chinchilla_jax.datasets import Runs

    if not isinstance(runs, Runs):
        raise UsageError(f"{caller}: runs is {short(runs)}, expected Runs; load_runs reads a table")
    chosen = check_objective(caller, objective)
    return Fitter(read_form(form), Design.from_runs(runs), chosen), check_weights(weights, len(runs))


def check_weights(weights: ArrayLike | None, n_runs: int) -> Floats:
    """The weights as float64 (n,), all ones for None.

    Raises:
        UsageError: not one number for each run, one that is negative or not finite, or all of them zero.
    """
    if weights is None:
        return np.ones(n_runs)
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"weights: {short(weights)} are no numbers; give one number of zero or more for each run"
        ) from None
    if array.shape != (n_runs,):
        raise UsageError(f"weights have shape {array.shape}; give one for each of {n_runs} runs")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if len(bad):
        raise UsageError(
            f"weights: {len(bad)} of {n_runs} are negative or not finite (first: {array[bad[0]]} of run "
            f"{bad[0] + 1}); give zero or more"
        )
    if not array.any():
        raise UsageError("weights: all are zero; give some run a weight")
    # Only their ratios mean something, and a mean of one keeps every threshold where it belongs.
    return np.asarray(array / array.max() / np.mean(array[array > 0] / array.max()))


def resample_weights(caller: str, runs: Runs, scheme: Scheme | str, resamples: int, seed: int) -> Floats:
    """Weights (R, n) of these resamples under a scheme that is weights on the same runs."""
    from chinchilla_jax.bootstrapping.schemes import Residual, Wild, read_scheme
    from chinchilla_jax.bootstrapping.weights import check_seed

    if isinstance(resamples, bool) or not isinstance(resamples, (int, np.integer)) or resamples < 2:
        raise UsageError(f"{caller}: resamples is {short(resamples)}, expected a whole number, at least 2")
    chosen = read_scheme(scheme)
    if isinstance(chosen, Residual | Wild) or chosen.factor(len(runs)) != 1 or not chosen.quantiles:
        raise UsageError(
            f"{caller}: scheme {chosen.name!r} is not weights on as many runs; use 'pairs', 'cluster' or "
            "'bayesian'"
        )
    ids = np.arange(int(resamples))
    return np.asarray(chosen.weights(runs, ids, check_seed(seed)), dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Fitter:
    """One form, one data set, one objective: point fits and many weightings."""

    form: Form
    design: Design
    objective: FormObjective

    def solve(self, weights: NDArray[Any], starts: Floats) -> FormSolution:
        """Fit every lane from its start: weights (R, n) or (1, n), starts (R, p)."""
        if not isinstance(self.form, FiveParameter) or isinstance(self.objective, AsymmetricError):
            return solve_form(self.form, self.design, weights, starts, objective=self.objective)
        from chinchilla_jax.solvers.base import SolverOptions
        from chinchilla_jax.solvers.batch import solve_newton

        delta = self.objective.delta if isinstance(self.objective, Huber) else _SQUARED_DELTA
        huber = Huber(min(delta, _SQUARED_DELTA))
        options = SolverOptions(wide_start=True)
        found = solve_newton(self.design, weights, starts, objective=huber, options=options)
        return FormSolution(**{f.name: getattr(found, f.name) for f in dataclasses.fields(FormSolution)})

    def point(self, weights: Floats, starts: int = STARTS, extra: Floats | None = None) -> FormFit:
        """The best optimum from `starts` starts, the five-parameter fit embedded, and `extra` (k, p)."""
        if not self.design.valid:
            return self._fit(FormSolution.invalid(1, self.form.size), weights)
        theta = [self.form.starts(self.design, starts)]
        if not isinstance(self.form, FiveParameter):
            five = Fitter(FiveParameter(), self.design, self.objective).point(
                weights, max(starts // _FEWER, 4)
            )
            near = self.form.embed(five.theta)
            theta += [] if near is None else [near[None]]
        theta += [] if extra is None else [extra]
        found = self.solve(weights[None], np.concatenate(theta))
        best = _best_lane(found)
        if found.status[best] == Status.MAX_STEPS:
            # Creeping along a kink or a valley: a fresh start from there usually gets home.
            again = solve_form(
                self.form,
                self.design,
                weights[None],
                found.theta[best][None],
                objective=self.objective,
                most_steps=_MORE_STEPS,
            )
            if again.objective_value[0] <= found.objective_value[best]:
                for field in dataclasses.fields(again):
                    getattr(found, field.name)[best] = getattr(again, field.name)[0]
        return self._fit(found, weights)

    def lanes(self, weights: Floats, pool: Floats) -> FormSolution:
        """Fit every weighting (R, n) from the best members of `pool` (K, p) under it; keep the best."""
        if not self.design.valid or not len(pool):
            return FormSolution.invalid(len(weights), self.form.size)
        return _concatenated(
            [self._block(weights[i : i + _BLOCK], pool) for i in range(0, len(weights), _BLOCK)]
        )

    def _block(self, weights: Floats, pool: Floats) -> FormSolution:
        order = self._ranked(weights, pool)
        ranks = range(min(_RANKS, len(pool)))
        found = best_of([self.solve(weights, pool[order[:, k]]) for k in ranks])
        # What is not certified gets every other start there is.
        for k in range(_RANKS, order.shape[1]):
            left = np.flatnonzero(~found.optimum)
            if not len(left):
                break
            again = self.solve(weights[left], pool[order[left, k]])
            better = best_of([found[left], again])
            for field in dataclasses.fields(found):
                getattr(found, field.name)[left] = getattr(better, field.name)
        return found

    def _ranked(self, weights: Floats, pool: Floats) -> NDArray[np.intp]:
        """Members of the pool for every weighting, lowest objective first; (R, K)."""
        down, up, _ = objectives.limits(self.objective)
        r = residuals(self.form, self.design, pool)
        psi = np.clip(r, -down, up)
        each = psi * (r - 0.5 * psi)
        return np.argsort(weights @ np.where(np.isfinite(each), each, 1e6).T, axis=1, kind="stable")

    def _fit(self, found: FormSolution, weights: Floats) -> FormFit:
        best = _best_lane(found)
        theta, value = found.theta[best], float(found.objective_value[best])
        with np.errstate(invalid="ignore"):
            near = np.abs(found.objective_value - value) <= 1e-9 * abs(value)
        natural = self.form.natural(theta, self.design)
        return FormFit(
            form=self.form,
            objective=self.objective,
            natural={name: float(each) for name, each in natural.items()},
            theta=theta,
            objective_value=value,
            status=Status(int(found.status[best])),
            decrement=float(found.decrement[best]),
            n_starts=len(found.status),
            n_at_best=int(np.sum(near & (found.status == found.status[best]))),
            pool=_pool(found),
            residuals=residuals(self.form, self.design, theta[None])[0],
            weights=weights,
            design=self.design,
        )


def _best_lane(found: FormSolution) -> int:
    """The lane of lowest objective; among equals the best certified one."""
    value = np.where(np.isfinite(found.objective_value), found.objective_value, np.inf)
    lowest = value.min()
    if not np.isfinite(lowest):
        return 0
    close = value <= lowest + 1e-9 * abs(lowest)
    return int(np.lexsort((found.decrement, found.status, ~close))[0])


def _pool(found: FormSolution) -> Floats:
    """Distinct optima among the lanes, best first; where there is none, the best end of a lane."""
    usable = np.flatnonzero(found.optimum & np.isfinite(found.objective_value))
    order = usable[np.argsort(found.objective_value[usable], kind="stable")]
    kept: list[Floats] = []
    for lane in order:
        theta = found.theta[lane]
        if found.objective_value[lane] > _POOL_WITHIN * found.objective_value[order[0]]:
            break
        if all(np.abs(theta - other).max() > _APART for other in kept):
            kept.append(theta)
        if len(kept) == _MOST_POOL:
            break
    if not kept and np.isfinite(found.objective_value).any():
        kept.append(found.theta[_best_lane(found)])
    return np.array(kept).reshape(-1, found.theta.shape[1])


def _concatenated(parts: list[FormSolution]) -> FormSolution:
    from chinchilla_jax.solvers.newton.solver import join

    return parts[0] if len(parts) == 1 else join(parts)
