"""Least absolute deviations at a certified optimum: residuals that vanish there as constraints.

Notation (per lane; p parameters, m constraints)
    f             sum_i w_i |r_i|, the objective
    active   Z    runs with r_i = 0 at the optimum, at most p; the sign of every other residual is fixed
    held          bounded coordinates (E) that are zero
    C, c          gradients (m, p) and values (m,) of the constraints: r_Z = 0, and theta_j = 0 where held
    multipliers   nu (m,) in g + C' nu = 0, g the gradient of the terms outside Z: a subgradient w_i lambda_i
                  of w_i |r_i| at zero, |lambda_i| <= 1; at most 0 for a held coordinate
    H             Hessian of sum_i w_i s_i r_i, with s_i the sign outside Z and lambda_i inside; (p, p)

Where p residuals vanish the optimum is a vertex, and the multipliers decide alone. The law is nonlinear, so
that fewer may vanish: along the null space of C, the curvature H of the others then holds the law in place.
Both are one condition: all |lambda_i| <= 1, and H positive definite on the null space (Osborne 1985, Finite
Algorithms in Optimization and Data Analysis, ch. 5; Nocedal & Wright, Numerical Optimization, ch. 12, 18).

Each step solves that system, goes no further than the first residual that would change its sign (which
becomes active), and drops a constraint whose multiplier is out of bounds.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.solvers.batch import in_blocks
from chinchilla_jax.solvers.constraint_rows import ConstraintRows
from chinchilla_jax.solvers.reduced_system import ReducedSystem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.batch import Batch

    Floats = NDArray[np.float64]

DUAL_TOLERANCE = 1e-9  # excess of the multipliers plus stationarity residual at which a point is certified
ZERO = 1e-12  # residual of an active run, in units of log loss
_MOST_STEPS = 40
_LONGEST = 0.2  # of a step, in standardised coordinates
_LAST_STEP = 1e-9  # the error after a Newton step is about its square
_VANISHED = 1e-50
_LARGEST = 1e12  # of H in those coordinates: finite, whatever a law overflows to


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LeastAbsolute:
    """Where the steps of R lanes ended.

    Attributes:
        theta: (R, p).
        excess: (R,) by how much the multipliers and stationarity miss; inf where the steps came to no end.
        certified: (R,) an optimum of the sum of absolute residuals, unique nearby.
        held: (R,) with a bounded coordinate at zero, pushed down.
        steps: (R,) int32.
    """

    theta: Floats
    excess: Floats
    certified: NDArray[np.bool_]
    held: NDArray[np.bool_]
    steps: NDArray[np.int32]


def least_absolute(batch: Batch, theta: Floats, width: Floats, workers: int | None = 1) -> LeastAbsolute:
    """Go from near an optimum to it.

    Args:
        batch: R lanes of n runs, p parameters.
        theta: (R, p), optima of a Huber objective with a narrow zone.
        width: (R,) half-width of that zone: residuals inside are the candidates for zero.
        workers: threads; None for one per available core.
    """
    parts = in_blocks(
        lambda some, theta, width: _Lanes(some, _merged(some), theta, width).solved(),
        batch,
        theta,
        width,
        workers=workers,
    )
    names = [field.name for field in dataclasses.fields(LeastAbsolute)]
    return LeastAbsolute(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _merged(batch: Batch) -> Floats:
    """Weights (R, n) with those of equal runs on the first of them.

    Equal runs vanish together, and are one constraint.
    """
    w = np.array(batch.rows, dtype=np.float64)
    for problem, lanes in batch.data_sets():
        first = problem.design.first_of_equal
        again = np.flatnonzero(first != np.arange(len(first)))
        if len(again):
            mine = w[lanes].T
            np.add.at(mine, first[again], mine[again])
            mine[again] = 0.0
            w[lanes] = mine.T
    return w


class _Lanes:
    """The state of R lanes."""

    def __init__(self, batch: Batch, w: Floats, theta: Floats, width: Floats) -> None:
        self.batch, self.w = batch, w
        self.bounded = list(batch.law.bounded)
        self.theta = theta.copy()
        count, p = theta.shape
        self.steps = np.zeros(count, np.int32)
        self.excess = np.full(count, np.inf)
        self.certified = np.zeros(count, bool)
        residual = batch.residuals(theta)
        size = np.where(w > 0, np.abs(residual), np.inf)
        self.held: NDArray[np.bool_] = np.zeros((count, p), bool)
        self.held[:, self.bounded] = theta[:, self.bounded] <= 0
        # The smallest of those in the zone, as many as there are directions.
        room = p - self.held.sum(axis=1)
        rank = np.argsort(np.argsort(size, axis=1), axis=1)
        near = size <= width[:, None] * (1 + 1e-6)
        self.active: NDArray[np.bool_] = np.asarray(near & (rank < room[:, None]))
        self.sign = np.sign(residual)
        inside = np.clip(residual / width[:, None], -1.0, 1.0)
        self.multiplier = np.where(self.active, w * inside, 0.0)

    def solved(self) -> LeastAbsolute:
        """All steps of all lanes."""
        running = np.asarray(np.isfinite(self.theta).all(axis=1))
        for _ in range(_MOST_STEPS):
            rows = np.flatnonzero(running)
            if not len(rows):
                break
            # On its way to infinity a law overflows; such a lane stops, or ends without a certificate.
            with np.errstate(over="ignore", invalid="ignore"):
                running[rows] = self._step(rows)
        return LeastAbsolute(
            theta=self.theta,
            excess=self.excess,
            certified=self.certified,
            held=np.asarray(self.held.any(axis=1)),
            steps=self.steps,
        )

    def _step(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """One step of these lanes; which of them continue."""
        theta, w, active, held = self.theta[rows], self.w[rows], self.active[rows], self.held[rows]
        p = theta.shape[1]
        some = self.batch[rows]
        residual, jacobian, sound = _linearised(some, theta, w > 0)
        # A run that has just left the constraints has no sign of its own yet.
        sign = np.where(np.abs(residual) > ZERO, np.sign(residual), self.sign[rows])
        signed = np.where(active, 0.0, w * sign)
        gradient = np.einsum("rn,rnk->rk", signed, jacobian)
        full = active.sum(axis=1) + held.sum(axis=1) >= p
        hessian = _hessian(some, theta, np.where(active, self.multiplier[rows], signed), full)

        # Coordinates in which sum_i w_i J_i J_i' has a unit diagonal.
        size = np.sqrt(np.einsum("rn,rnk->rk", w, jacobian * jacobian))
        # A term that has vanished has no unit: its law is not certified in any.
        size = np.where(size > _VANISHED, size, 1.0)
        rows_of = ConstraintRows(active, held)
        constraint, value = rows_of.filled(theta, residual, jacobian)
        scaled = np.clip(hessian / (size[:, :, None] * size[:, None]), -_LARGEST, _LARGEST)
        system = ReducedSystem(constraint / size[:, None], scaled)
        step = system.step(gradient / size, value)
        nu = system.multipliers(gradient / size + np.einsum("rjk,rk->rj", system.hessian, step))
        move = step / size
        longest = np.abs(move).max(axis=1)
        move *= np.minimum(1.0, _LONGEST / np.maximum(longest, 1e-300))[:, None]
        rate = np.einsum("rnk,rk->rn", jacobian, move)
        reach = _reach(residual, rate, sign, (w > 0) & ~active & ~full[:, None])
        theta, length = self._advanced(theta, move, reach, active, held)
        room = active.sum(axis=1) + held.sum(axis=1) <= p

        # The constraints in hand hold, and the step is over: what do the multipliers say?
        arrived = (length >= 1.0) & (longest < _LAST_STEP) & (np.abs(value).max(axis=1, initial=0.0) <= ZERO)
        of_runs, of_bound = rows_of.of_runs(nu), rows_of.of_bounds(nu)
        over = np.where(active, np.abs(of_runs) / np.maximum(w, 1e-300) - 1.0, 0.0)
        over_bound = np.where(held, of_bound / np.maximum(np.abs(gradient).max(axis=1), 1e-300)[:, None], 0.0)
        excess = np.maximum(np.maximum(over.max(axis=1), over_bound.max(axis=1, initial=0.0)), 0.0)
        optimal = arrived & (excess <= DUAL_TOLERANCE)
        _drop_worst(arrived & ~optimal, over, over_bound, of_runs, active, held, sign)
        left = gradient + np.einsum("rmk,rm->rk", constraint, nu)
        weight = np.maximum(np.einsum("rn,rnk->rk", w, np.abs(jacobian)), 1e-300)
        stationarity = np.abs(left / weight).max(axis=1)

        self.theta[rows] = np.where(sound[:, None], theta, self.theta[rows])
        self.active[rows], self.held[rows], self.sign[rows] = active, held, sign
        self.multiplier[rows] = np.clip(np.where(active, of_runs, 0.0), -w, w)
        self.steps[rows] += 1
        self.excess[rows] = np.where(optimal, excess + stationarity, np.inf)
        self.certified[rows] = optimal & sound & system.curved & (self.excess[rows] <= DUAL_TOLERANCE)
        return sound & ~optimal & room

    def _advanced(
        self,
        theta: Floats,
        move: Floats,
        reach: Floats,
        active: NDArray[np.bool_],
        held: NDArray[np.bool_],
    ) -> tuple[Floats, Floats]:
        """Where the step ends, (R, p), and what fraction of it that is, (R,).

        It ends where a residual changes its sign (`reach`, (R, n)) or a coordinate reaches its bound; that
        constraint joins `active` or `held`, in place.
        """
        count, p = theta.shape
        of_bounds = np.full((count, p), np.inf)
        bounded = np.zeros(p, bool)
        bounded[self.bounded] = True
        falling = bounded & ~held & (theta + move < 0)
        np.divide(theta, -move, out=of_bounds, where=falling)
        first, first_bound = reach.argmin(axis=1), of_bounds.argmin(axis=1)
        lanes = np.arange(count)
        to_run, to_bound = reach[lanes, first], of_bounds[lanes, first_bound]
        length = np.minimum(np.minimum(to_run, to_bound), 1.0)
        theta = theta + length[:, None] * move
        theta = np.where(held | (bounded & (theta < 0)), np.where(bounded, 0.0, theta), theta)
        met = (to_run < 1.0) & (to_run <= to_bound)
        active[lanes[met], first[met]] = True
        bound = (to_bound < 1.0) & ~met
        held[lanes[bound], first_bound[bound]] = True
        return theta, length


def _linearised(
    batch: Batch, theta: Floats, used: NDArray[np.bool_]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Residuals (R, n) and Jacobians (R, n, p), 0 where unused or not finite; which lanes are finite."""
    residual, jacobian = batch.residuals(theta), batch.jacobian(theta)
    if not used.all():
        residual, jacobian = np.where(used, residual, 0.0), np.where(used[..., None], jacobian, 0.0)
    sound = np.asarray(np.isfinite(residual).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2)))
    if not sound.all():
        residual, jacobian = (np.where(np.isfinite(each), each, 0.0) for each in (residual, jacobian))
    return residual, jacobian, sound


def _hessian(batch: Batch, theta: Floats, factors: Floats, full: NDArray[np.bool_]) -> Floats:
    """H (R, p, p); zero at a vertex, where no direction is left in which to curve."""
    count, p = theta.shape
    hessian = np.zeros((count, p, p))
    if not full.all():
        curvature = batch[~full].curvature(theta[~full], factors[~full])
        hessian[~full] = np.where(np.isfinite(curvature), curvature, 0.0)
    return hessian


def _reach(residual: Floats, rate: Floats, sign: Floats, free: NDArray[np.bool_]) -> Floats:
    """Fraction (R, n) of the step at which a residual changes its sign; inf where it does not."""
    crosses = free & (sign * (residual + rate) < 0) & (sign * rate < 0)
    found = np.full(residual.shape, np.inf)
    np.divide(np.maximum(sign * residual, 0.0), -sign * rate, out=found, where=crosses)
    return found


def _drop_worst(
    drop: NDArray[np.bool_],
    over: Floats,
    over_bound: Floats,
    of_runs: Floats,
    active: NDArray[np.bool_],
    held: NDArray[np.bool_],
    sign: Floats,
) -> None:
    """In the lanes `drop` (R,), free the constraint whose multiplier is farthest out of bounds, in place.

    A run that is freed takes the sign of its multiplier.

    Args:
        drop: which lanes.
        over: (R, n) excess of the multipliers of active runs.
        over_bound: (R, p) excess of those of held coordinates.
        of_runs: (R, n) multipliers of the runs.
        active: (R, n), changed.
        held: (R, p), changed.
        sign: (R, n), changed.
    """
    lanes = np.arange(len(drop))
    of_run = drop & (over.max(axis=1) >= over_bound.max(axis=1, initial=0.0))
    which = over.argmax(axis=1)
    active[lanes[of_run], which[of_run]] = False
    sign[lanes[of_run], which[of_run]] = np.sign(of_runs[lanes[of_run], which[of_run]])
    at_bound, which = drop & ~of_run, over_bound.argmax(axis=1)
    held[lanes[at_bound], which[at_bound]] = False
