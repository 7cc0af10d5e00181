"""Damped Newton steps for any smooth law: derivatives of one run by JAX, the rest common to all laws.

Notation (one lane; vmap makes B of them)
    theta     (p,)       internal coordinates; `lower` is what they cannot go below
    m, y                 log of the predicted and of the observed loss of each run; (n,)
    r         m - y      residuals (n,), or raw ones, exp(m) - exp(y) in units of a typical loss
    J, M                 gradient (n, p) and Hessian (n, p, p) of the residuals, by autodiff
    psi, zone            derivative of the loss of one residual, and 1 where it is quadratic; (n,)
    g, H                 sum_i w_i psi_i J_i, and sum_i w_i (zone_i J_i J_i' + psi_i M_i)
    widening             factor on the quadratic zone: large at first, 1 in the end
    damping   mu         added to the eigenvalues of H, scaled to a unit diagonal

A step goes along -(|H| + mu)^-1 g, |H| with the eigenvalues made positive, and takes the best of several
lengths: next to kinks, where the model of a step is wrong at once, some length is nearly always right. Where
none lowers the objective, mu grows tenfold. Coordinates at their bound are held while g pushes them down.
(Nocedal & Wright, Numerical Optimization, 3.4 for |H| + mu; 16.7 for the projection.)
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from chinchilla_jax.laws.objectives import influence, residual_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from chinchilla_jax.laws.law import Law

LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3)
SMALLEST_EIGENVALUE = 1e-9  # of H with a unit diagonal: below, a direction counts as flat
MOST_DAMPING = 1e10
NARROW_BELOW = 1e-2  # decrement at which the zone is narrowed
NARROWING = 4.0
_SCALE = 1e-12  # a perfect fit has objective 0: what a decrement is then relative to, in squared zones


class Runs(NamedTuple):
    """What all lanes share: standardised logarithms (n,), constants of the law (k,), bounds (p,)."""

    u: Array
    v: Array
    log_loss: Array
    loss: Array  # (n,) relative to `Problem.loss_unit`, for raw residuals
    constants: Array
    lower: Array


class Point(NamedTuple):
    """What the derivatives of one lane say."""

    value: Array
    gradient: Array  # zero where held or not finite
    eigenvalues: Array  # of H with a unit diagonal, ascending
    eigenvectors: Array
    size: Array  # roots of the diagonal of H
    along: Array  # gradient in those coordinates
    decrement: Array
    held: Array  # (p,) at the bound and pushed down
    finite: Array
    shares: Array  # (p,) largest relative derivative of a loss, over the runs with a weight


class Lane(NamedTuple):
    """State of one lane."""

    theta: Array
    down: Array  # ends of the objective's own zone
    up: Array
    widening: Array
    damping: Array
    decrement: Array
    running: Array
    steps: Array


@dataclasses.dataclass(frozen=True)
class Residual:
    """What a residual is: of the log loss, or of the loss itself. Static, one program each."""

    law: type[Law]
    raw: bool

    def __call__(self, theta: Array, run: tuple[Array, ...], constants: Array) -> Array:
        """That of one run (u, v, log loss, loss)."""
        u, v, log_loss, loss = run
        off = self.law.log_loss(theta, u, v, constants) - log_loss
        return loss * jnp.expm1(off) if self.raw else off

    def each(self, function: Callable[..., Array], theta: Array, runs: Runs) -> Array:
        """A function of (theta, run, constants), this one or a derivative, at every run."""
        columns = (runs.u, runs.v, runs.log_loss, runs.loss)
        return jax.vmap(lambda run: function(theta, run, runs.constants))(columns)


def objective(residual: Residual, theta: Array, weights: Array, runs: Runs, down: Array, up: Array) -> Array:
    """The objective with this zone; inf where it is not a number."""
    r = jnp.where(weights > 0, residual.each(residual, theta, runs), 0.0)
    value = jnp.sum(weights * residual_loss(r, down, up))
    return jnp.where(jnp.isnan(value), jnp.inf, value)


def look(residual: Residual, theta: Array, weights: Array, runs: Runs, down: Array, up: Array) -> Point:
    """Value, derivatives and certificate of one lane with this zone."""
    first, second = jax.jacfwd(residual), jax.jacfwd(jax.jacfwd(residual))
    used = weights > 0
    r = jnp.where(used, residual.each(residual, theta, runs), 0.0)
    jacobian = jnp.where(used[:, None], residual.each(first, theta, runs), 0.0)
    curvature = jnp.where(used[:, None, None], residual.each(second, theta, runs), 0.0)
    psi = influence(r, down, up)
    zone = ((r >= -down) & (r <= up)).astype(r.dtype)
    value = jnp.sum(weights * residual_loss(r, down, up))
    gradient = (weights * psi) @ jacobian
    hessian = jnp.einsum("i,ij,ik->jk", weights * zone, jacobian, jacobian)
    hessian = hessian + jnp.einsum("i,ijk->jk", weights * psi, curvature)
    finite = jnp.isfinite(value) & jnp.isfinite(gradient).all() & jnp.isfinite(hessian).all()
    held = finite & (theta <= runs.lower) & (gradient >= 0)
    eye = jnp.eye(len(theta))
    gradient = jnp.where(finite & ~held, gradient, 0.0)
    hessian = jnp.where(finite, hessian, eye)
    hessian = jnp.where(held[:, None] | held[None, :], eye, hessian)
    diagonal = jnp.abs(jnp.diag(hessian))
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    eigenvalues, eigenvectors = jnp.linalg.eigh(hessian / jnp.outer(size, size))
    along = eigenvectors.T @ (gradient / size)
    span = jnp.minimum(down, up)
    share = jnp.abs(jacobian) / runs.loss[:, None] if residual.raw else jnp.abs(jacobian)
    # No log loss is off by more than one where a fit is any good, however wide the zone.
    scale = jnp.maximum(value, _SCALE * jnp.sum(weights) * jnp.minimum(span, 1.0) ** 2)
    positive = finite & (eigenvalues[0] > 0)
    decrement = 0.5 * jnp.sum(along**2 / jnp.where(positive, eigenvalues, 1.0)) / scale
    return Point(
        value=value,
        gradient=gradient,
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors,
        size=size,
        along=along,
        decrement=jnp.where(positive, decrement, jnp.inf),
        held=held,
        finite=finite,
        shares=jnp.max(share, axis=0),
    )


def step(residual: Residual, lane: Lane, weights: Array, runs: Runs, tolerance: Array) -> tuple[Lane, Point]:
    """One step of one lane, and what its derivatives said where it began."""
    down, up = lane.down * lane.widening, lane.up * lane.widening
    point = look(residual, lane.theta, weights, runs, down, up)
    settled = point.decrement <= jnp.where(lane.widening > 1, NARROW_BELOW, tolerance)
    done = settled & (lane.widening <= 1)

    curvature = jnp.maximum(jnp.abs(point.eigenvalues), SMALLEST_EIGENVALUE) + lane.damping
    direction = -(point.eigenvectors @ (point.along / curvature)) / point.size
    trials = jnp.maximum(lane.theta + jnp.asarray(LENGTHS)[:, None] * direction[None, :], runs.lower[None, :])
    values = jax.vmap(lambda trial: objective(residual, trial, weights, runs, down, up))(trials)
    best = jnp.argmin(values)
    better = point.finite & (values[best] < point.value)
    theta = jnp.where(better, trials[best], lane.theta)
    calmer = jnp.where(best == 0, lane.damping * 0.1, lane.damping)
    calmer = jnp.where(calmer < 1e-12, 0.0, calmer)
    damping = jnp.where(better, calmer, jnp.maximum(lane.damping * 10, 1e-6))
    narrower = jnp.maximum(lane.widening / NARROWING, 1.0)
    # A lane stuck in a wide zone narrows it; it stops only in the objective's own.
    stuck = ~better & (damping > MOST_DAMPING)
    narrow = (settled | stuck) & (lane.widening > 1)
    moved = lane._replace(
        theta=jnp.where(done, lane.theta, theta),
        widening=jnp.where(narrow, narrower, lane.widening),
        damping=jnp.where(narrow, 0.0, damping),
        decrement=point.decrement,
        running=~(done | (stuck & ~narrow) | ~point.finite),
        steps=lane.steps + 1,
    )
    return jax.tree.map(lambda new, old: jnp.where(lane.running, new, old), moved, lane), point


@functools.cache
def compiled(law: type[Law], raw: bool = False) -> Callable[..., tuple[Lane, Point]]:
    """`step` for B lanes, compiled once per law, kind of residual and number of runs.

    The loop over steps is in Python: a step of a chunk takes milliseconds, and lanes that are done can make
    room for others after any of them.
    """
    residual = Residual(law, raw)

    @jax.jit
    def steps(lanes: Lane, weights: Array, runs: Runs, tolerance: Array) -> tuple[Lane, Point]:
        return jax.vmap(lambda lane, w: step(residual, lane, w, runs, tolerance))(lanes, weights)

    return steps
