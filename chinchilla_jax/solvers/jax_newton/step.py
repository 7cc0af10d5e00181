"""Damped Newton with the exact Hessian for any law: one step of B lanes, driven by rounds.py.

Notation (B lanes; p coordinates)
    value, g, H     objective, gradient, exact Hessian at the trial point
    decrement       1/2 g' H^-1 g / value: relative decrease a full Newton step would still bring
    widening        how many times its own width the quadratic zone has; 1 in the end

One pass over the runs gives nearly everything: whether the last trial is accepted, the certificate, and the
next direction; a second one the length of the step. A rejected trial is answered by a quarter of the step
along the same curve, which needs no second pass. Directions are found in the law's frame (laws/frames.py).

The certificate follows Boyd & Vandenberghe, Convex Optimization, section 9.5.1 (Newton decrement), with the
Hessian positive definite: at such a point no nearby law is better by more than the stated fraction.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.laws.design import LARGEST_EXPONENT
from chinchilla_jax.solvers.jax_newton.frame_program import FrameProgram
from chinchilla_jax.solvers.jax_newton.line_search import step_length
from chinchilla_jax.solvers.jax_newton.passes import Residuals, RunsOfLanes, moments
from chinchilla_jax.solvers.jax_newton.small_matrix import (
    Symmetric,
    Systems,
    Vector,
    dot,
    factorise,
    quadratic_form,
    solve_shifted,
    symmetric,
)
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import (
    FULL_STEP_BELOW,
    HALVINGS,
    LARGEST_DAMPING,
    LARGEST_ZONE,
    MOST_REJECTIONS,
    NARROW_BELOW,
    NO_DAMPING,
    PAUSED,
    POLISHED,
    RUNNING,
    SETTLED,
    SHORTER,
    SMALLEST_VALUE,
    STIFF,
    WIDTH_FACTOR,
)

# Shifts of the Hessian's diagonal, relative to it, that are tried where it is not definite. Along a valley
# the curvature is 1e-6 of that across: a larger shift than is needed crawls.
LADDER = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_SMALLEST_FLOOR = 0.3  # a step of a bounded coordinate is no longer than itself, or this


class Rules(NamedTuple):
    """What a step needs to know of the law; static."""

    of: Residuals
    frame: FrameProgram
    bounded: tuple[int, ...]
    exponents: tuple[int, ...]
    amplitudes: tuple[int, ...]
    rounding: float  # relative, of an objective's value
    unrolled: bool = False  # whether short loops over lanes are written out, as few kernels on a GPU


class Lanes(NamedTuple):
    """State of B lanes between steps: (p, B), (p (p + 1) / 2, B) or (B,)."""

    theta: Array  # trial point
    anchor: Array  # last accepted point
    step: Array  # from the anchor, in the frame where `curved`
    length: Array
    curved: Array
    anchor_value: Array
    gradient: Array  # at the anchor, plain coordinates, bounds left aside
    hessian: Array  # likewise; lower triangle by rows
    rejections: Array
    damping: Array
    widening: Array
    decrement: Array
    status: Array  # RUNNING, PAUSED or a Status
    steps: Array


class Task(NamedTuple):
    """What each lane minimises: runs, ends of the zone (B,), sum of the weights, runs of the table (B,)."""

    runs: RunsOfLanes
    down: Array
    up: Array
    total: Array
    n_runs: Array


def start_lanes(theta: Array, widening: Array) -> Lanes:
    """Lanes that begin at `theta` (p, B) with these factors (B,) on the zone."""
    size = theta.shape[0]
    zero = jnp.zeros_like(widening)
    count = zero.astype(jnp.int32)
    infinite = jnp.full_like(widening, jnp.inf)
    nothing = jnp.zeros_like(theta)
    return Lanes(
        theta=theta,
        anchor=theta,
        step=nothing,
        length=zero,
        curved=zero > 0,
        anchor_value=infinite,
        gradient=nothing,
        hessian=jnp.zeros((size * (size + 1) // 2, *zero.shape), zero.dtype),
        rejections=count,
        damping=zero,
        widening=widening,
        decrement=infinite,
        status=count + RUNNING,
        steps=count,
    )


def step(
    rules: Rules, lanes: Lanes, task: Task, tolerance: Array, limit: Array, search_after: Array
) -> Lanes:
    """One step of every running lane: one pass over the runs, and one more for the line search.

    Args:
        rules: of the law.
        lanes: state of B lanes.
        task: what they minimise.
        tolerance: decrement at or below which a lane is certified; scalar.
        limit: steps after which a lane is paused; scalar.
        search_after: steps of a lane before its first line search; scalar. Without one a step is a full
            Newton step.
    """
    size, bounded = lanes.theta.shape[0], rules.bounded
    dtype = lanes.theta.dtype
    running = lanes.status == RUNNING
    theta = tuple(lanes.theta)
    down, up = task.down * lanes.widening, task.up * lanes.widening
    here = moments(rules.of, theta, task.runs, down, up)

    # Accept the trial: lower than the anchor, up to rounding, or the first of a series.
    rounding = rules.rounding
    parts = (here.value, *here.gradient, *(theta[j] for j in bounded))
    finite = functools.reduce(jnp.logical_and, map(jnp.isfinite, parts))
    # The logarithm carries an error of eps, which small residuals pass on to the value as eps |psi|. In
    # float32 that would be of the size of the steps: it is left to the float64 stage.
    noise: Array | float = 0.0
    if dtype == jnp.float64:
        noise = rounding * jnp.sqrt(lanes.anchor_value * (task.total / task.n_runs))
    accepted = finite & (here.value <= lanes.anchor_value * (1 + rounding) + noise)

    # A coordinate at zero and pushed further down stays there: the problem without it.
    held = {j: (theta[j] <= 0) & (here.gradient[j] >= 0) for j in bounded}
    any_held = functools.reduce(jnp.logical_or, held.values(), jnp.zeros_like(running))
    gradient = tuple(jnp.where(held[j], 0.0, g) if j in held else g for j, g in enumerate(here.gradient))
    hessian = dict(here.hessian)
    for (i, j), entry in here.hessian.items():
        for k in {i, j} & set(bounded):
            entry = jnp.where(held[k], 1.0 if i == j else 0.0, entry)
        hessian[i, j] = entry

    # Directions in coordinates where the valley is straight; at an optimum the certificate is the same.
    at = rules.frame.at(theta, any_held)
    gradient_phi, hessian_phi = rules.frame.pull_back(at, gradient, hessian)
    systems = _systems(rules, hessian_phi, gradient_phi, lanes.damping, running)
    zone = jnp.minimum(jnp.minimum(down, up), LARGEST_ZONE)
    scale = jnp.maximum(here.value, SMALLEST_VALUE * task.total * zone * zone)
    decrement = jnp.where(systems.definite, 0.5 * systems.form / scale, jnp.inf)
    at_target = lanes.widening <= 1 + rounding
    certified = accepted & (decrement <= tolerance) & at_target
    # A decrement of 1e-12 leaves 1e-6 in the parameters, which would depend on the way a lane came: one
    # more step, after which the certificate is far below the tolerance and the parameters stand still. It
    # also takes the gradient out of the Hessian in curved coordinates: what is left is that of the law.
    before = lanes.decrement <= tolerance
    polished = certified & (before | (decrement <= POLISHED * tolerance))
    # Rounding can refuse that last step; the anchor is certified already.
    refused = ~accepted & before & at_target
    still = 0.5 * systems.lifted_form / scale <= 0.1 * tolerance
    singular = accepted & ~systems.definite & systems.lifted_definite & still & at_target
    exponents = [jnp.abs(theta[j]) for j in rules.exponents]
    escaped = accepted & (functools.reduce(jnp.maximum, exponents, jnp.zeros_like(scale)) > LARGEST_EXPONENT)
    status = jnp.where(
        (polished & ~escaped) | refused,
        int(Status.CONVERGED),
        jnp.where(escaped | singular, int(Status.UNIDENTIFIED), RUNNING),
    )

    curved = at.applies
    direction = _limited(rules, lanes.theta, curved, -jnp.stack(systems.solution))
    # Next to the optimum the full step is right, and the search would cost another pass.
    search = running & accepted & ~(decrement < FULL_STEP_BELOW) & (lanes.steps >= search_after)

    def searched() -> Array:
        plain = rules.frame.push_forward(at, tuple(direction))
        slope = dot(gradient_phi, tuple(direction))
        form = quadratic_form(hessian_phi, tuple(direction))
        return step_length(rules.of, theta, plain, task.runs, down, up, slope, form)

    # The condition is a barrier as well: it keeps XLA from storing what both passes have in common.
    length = lax.cond(jnp.any(search), searched, lambda: jnp.ones_like(scale))
    length = jnp.where(search, length, 1.0)

    # Anchor, step and length from here if accepted; else a quarter of the last step from the old anchor.
    anchor = jnp.where(accepted, lanes.theta, lanes.anchor)
    taken = jnp.where(accepted, direction, lanes.step)
    curved = jnp.where(accepted, curved, lanes.curved)
    length = jnp.where(accepted, length, SHORTER * lanes.length)
    stuck = ~accepted & (lanes.rejections >= MOST_REJECTIONS)
    # A stuck lane restarts where it is and keeps its damping.
    following = jnp.where(stuck, anchor, _meet_bound(rules, anchor, curved, taken, length))

    narrow = accepted & systems.definite & (decrement < NARROW_BELOW) & ~at_target
    anchor_value = jnp.where(accepted, here.value, lanes.anchor_value)
    damping = jnp.where(
        accepted,
        jnp.where(lanes.damping > NO_DAMPING, 0.1 * lanes.damping, 0.0),
        jnp.clip(10.0 * lanes.damping, STIFF, LARGEST_DAMPING),
    )
    rejections = jnp.where(accepted | stuck, 0, lanes.rejections + 1)
    last_decrement = jnp.where(accepted, decrement, lanes.decrement)
    steps = lanes.steps + 1
    stop = steps >= limit
    if dtype != jnp.float64:
        # Rejected again and again near the optimum: float32 has nothing more to give.
        stop = stop | ((rejections >= 2) & (last_decrement < SETTLED))
    done = status != RUNNING
    triangle = jnp.stack([hessian[i, j] for i in range(size) for j in range(i + 1)])
    moved = Lanes(
        theta=jnp.where(refused, lanes.anchor, following),
        anchor=anchor,
        step=taken,
        length=length,
        curved=curved,
        # A narrower zone is another objective: values do not compare, so the next trial is taken as it is.
        anchor_value=jnp.where(narrow, jnp.inf, anchor_value),
        gradient=jnp.where(accepted, jnp.stack(gradient), lanes.gradient),
        hessian=jnp.where(accepted, triangle, lanes.hessian),
        rejections=rejections.astype(jnp.int32),
        damping=damping,
        widening=jnp.where(narrow, jnp.maximum(WIDTH_FACTOR * lanes.widening, 1.0), lanes.widening),
        decrement=last_decrement,
        status=jnp.where(done, status, jnp.where(stop, PAUSED, RUNNING)).astype(jnp.int32),
        steps=steps,
    )
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, lanes)


def _systems(rules: Rules, matrix: Symmetric, right: Vector, damping: Array, running: Array) -> Systems:
    """Solutions of M x = right; where M is not definite or a lane is damped, of a definite matrix near it."""
    if rules.unrolled:
        # Of some thousand places one always needs a shift, and a condition costs ten kernels. What is fused
        # with the factorisation is held in registers, and spilled.
        lower = {(i, j): entry for (i, j), entry in matrix.items() if j <= i}
        lower, right, damping = lax.optimization_barrier((lower, right, damping))
        return lax.optimization_barrier(solve_shifted(symmetric(lower), right, damping, LADDER))
    wide = {key: entry[:, None] for key, entry in matrix.items()}
    solution, form, definite = factorise(
        wide, right, jnp.zeros_like(damping)[:, None], running[:, None] & False
    )
    plain = Systems(form[:, 0], definite[:, 0], form[:, 0], definite[:, 0], tuple(x[:, 0] for x in solution))
    other = running & (~plain.definite | (damping > 0))
    # Most steps of most places need no shift.
    shifted = lax.cond(jnp.any(other), lambda: solve_shifted(matrix, right, damping, LADDER), lambda: plain)
    return jax.tree.map(lambda new, old: jnp.where(other, new, old), shifted, plain)


def _limited(rules: Rules, theta: Array, curved: Array, direction: Array) -> Array:
    """Shorten steps that leave the region where the quadratic model can mean anything."""
    limits = rules.frame.step_limits(theta, curved)
    size = jnp.ones_like(direction[0])
    for j in range(direction.shape[0]):
        longest = jnp.maximum(theta[j], _SMALLEST_FLOOR) if j in rules.bounded else jnp.ones_like(size)
        if j in limits:
            longest = jnp.minimum(longest, limits[j])
        size = jnp.maximum(size, jnp.abs(direction[j]) / longest)
    direction = direction / size
    for j in rules.bounded:
        # A lane on the bound leaves it inwards only.
        direction = direction.at[j].set(jnp.where((theta[j] <= 0) & (direction[j] < 0), 0.0, direction[j]))
    return direction


def _meet_bound(rules: Rules, anchor: Array, curved: Array, step: Array, length: Array) -> Array:
    """Point after the step, stopped where a bounded coordinate (or the frame) would leave its range."""
    frame = rules.frame
    length = frame.limit(anchor, curved, step, length)
    target = frame.take_step(anchor, curved, step, length)
    if not rules.bounded:
        return target
    places = jnp.array(rules.bounded)

    def below(target: Array) -> Array:
        return jnp.any(target[places] < 0, axis=0)

    def bisect() -> Array:
        # A bounded coordinate along the curve crosses zero once; this touches lanes only, no runs.
        def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            under = below(frame.take_step(anchor, curved, step, middle))
            return jnp.where(under, low, middle), jnp.where(under, middle, high)

        _, high = lax.fori_loop(0, HALVINGS, halve, (jnp.zeros_like(length), length), unroll=rules.unrolled)
        at_bound = frame.take_step(anchor, curved, step, high)
        stopped = at_bound.at[places].set(jnp.maximum(at_bound[places], 0.0))
        return jnp.where(below(target), stopped, target)

    return lax.cond(jnp.any(below(target)), bisect, lambda: target)
