"""Batched damped Newton with the exact Hessian: the step of one lane, driven by solvers/xla/stages.py.

Notation (B lanes; theta, u, v as in laws/chinchilla.py)
    value, g, H     objective, gradient, exact Hessian at the trial point
    decrement       1/2 g' H^-1 g / value: relative decrease a full Newton step would still bring
    floor           E, bounded below by zero; held there while the gradient pushes it down
    width           current half-width of the quadratic zone, at least the objective's delta

One pass over the runs gives nearly everything: whether the last trial is accepted, the certificate, and the
next direction; a second one the length of the step. A rejected trial is answered by a quarter of the step
along the same curve, which needs no second pass.

The certificate follows Boyd & Vandenberghe, Convex Optimization, section 9.5.1 (Newton decrement), with the
Hessian positive definite: at such a point no nearby law is better by more than the stated fraction.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.laws.design import FLOOR, LARGEST_EXPONENT
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import (
    FULL_STEP_BELOW,
    HALVINGS,
    LARGEST_DAMPING,
    LARGEST_ZONE,
    MOST_REJECTIONS,
    NARROW_BELOW,
    NO_DAMPING,
    POLISHED,
    RUNNING,
    SHORTER,
    SMALLEST_VALUE,
    STIFF,
    WIDTH_FACTOR,
)
from chinchilla_jax.solvers.xla import slope_coordinates
from chinchilla_jax.solvers.xla.line_search import step_length
from chinchilla_jax.solvers.xla.moments import Columns, moments
from chinchilla_jax.solvers.xla.small_matrix import dot, quadratic_form, solve_shifted


class Lanes(NamedTuple):
    """State of B lanes between steps: (5, B) or (B,)."""

    theta: Array  # trial point
    anchor: Array  # last accepted point
    step: Array  # from the anchor, in slope coordinates where `curved`
    length: Array
    curved: Array
    anchor_value: Array
    rejections: Array
    damping: Array
    width: Array
    decrement: Array
    status: Array  # RUNNING or a Status
    steps: Array


def start_lanes(theta: Array, width: Array) -> Lanes:
    """Lanes that begin at `theta` (5, B) with zone half-width (B,)."""
    zero = jnp.zeros_like(width)
    count = zero.astype(jnp.int32)
    infinite = jnp.full_like(width, jnp.inf)
    return Lanes(
        theta=theta,
        anchor=theta,
        step=jnp.zeros_like(theta),
        length=zero,
        curved=zero > 0,
        anchor_value=infinite,
        rejections=count,
        damping=zero,
        width=width,
        decrement=infinite,
        status=count + RUNNING,
        steps=count,
    )


def step(
    lanes: Lanes,
    weights: Array,
    total: Array,
    columns: Columns,
    target_width: Array,
    tolerance: Array,
    may_search: Array,
) -> Lanes:
    """One step of every running lane: one pass over the runs, and one more for the line search.

    Args:
        lanes: state of B lanes.
        weights: (B, n), any real dtype.
        total: sum of the weights; (B,).
        columns: the runs.
        target_width: the objective's own zone half-width; (B,).
        tolerance: decrement at or below which a lane is certified; scalar.
        may_search: whether line searches are allowed; scalar. Without one a step is a full Newton step.
    """
    dtype = lanes.theta.dtype
    running = lanes.status == RUNNING
    theta, width = lanes.theta, lanes.width
    here = moments(theta, weights, columns, width)

    # Accept the trial: lower than the anchor, up to rounding, or the first of a series.
    rounding = 8 * jnp.finfo(dtype).eps
    # Where a term overflows, the gradient does; where E is infinite, nothing else shows it.
    parts = (here.value, *here.gradient, theta[FLOOR])
    finite = functools.reduce(jnp.logical_and, map(jnp.isfinite, parts))
    # The logarithm carries an error of eps, which small residuals pass on to the value as eps |psi|. In
    # float32 that would be of the size of the steps: it is left to the float64 stage.
    noise: Array | float = 0.0
    if dtype == jnp.float64:
        noise = rounding * jnp.sqrt(lanes.anchor_value * (total / columns.log_params.shape[0]))
    accepted = finite & (here.value <= lanes.anchor_value * (1 + rounding) + noise)

    # E at zero and pushed further down stays there: the problem without E.
    floor = theta[FLOOR]
    held = (floor <= 0) & (here.gradient[FLOOR] >= 0)
    gradient = tuple(jnp.where(held, 0.0, g) if j == FLOOR else g for j, g in enumerate(here.gradient))
    hessian = {
        (i, j): jnp.where(held, 1.0 if i == j else 0.0, entry) if FLOOR in (i, j) else entry
        for (i, j), entry in here.hessian.items()
    }

    # Directions in coordinates where the valley is straight; at an optimum the certificate is the same.
    at = slope_coordinates.coordinates_at(theta, held)
    gradient_phi, hessian_phi = slope_coordinates.pull_back(at, gradient, hessian)
    systems = solve_shifted(hessian_phi, gradient_phi, lanes.damping)
    zone = jnp.minimum(width, LARGEST_ZONE)
    smallest = SMALLEST_VALUE * total * zone * zone
    scale = jnp.maximum(here.value, smallest)
    decrement = jnp.where(systems.definite, 0.5 * systems.form / scale, jnp.inf)
    at_target = width <= target_width * (1 + rounding)
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
    escaped = accepted & (jnp.maximum(jnp.abs(theta[3]), jnp.abs(theta[4])) > LARGEST_EXPONENT)
    optimum = jnp.where(held & ~refused, int(Status.BOUNDARY), int(Status.CONVERGED))
    status = jnp.where(
        (polished & ~escaped) | refused,
        optimum,
        jnp.where(escaped | singular, int(Status.UNIDENTIFIED), RUNNING),
    )

    curved = at.curved
    direction = _limit(theta, curved, -jnp.stack(systems.solution))
    # A lane on the bound leaves it inwards only.
    inwards = jnp.where((floor <= 0) & (direction[FLOOR] < 0), 0.0, direction[FLOOR])
    direction = direction.at[FLOOR].set(inwards)
    # Next to the optimum the full step is right, and the search would cost another pass.
    search = running & accepted & ~(decrement < FULL_STEP_BELOW) & may_search

    def searched() -> Array:
        plain = slope_coordinates.push_forward(at, direction)
        slope = dot(gradient_phi, tuple(direction))
        form = quadratic_form(hessian_phi, tuple(direction))
        return step_length(theta, plain, weights, columns, width, slope, form)

    # The condition is a barrier as well: it keeps XLA from storing what both passes have in common.
    length = lax.cond(jnp.any(search), searched, lambda: jnp.ones_like(floor))
    length = jnp.where(search, length, 1.0)

    # Anchor, step and length from here if accepted; else a quarter of the last step from the old anchor.
    anchor = jnp.where(accepted, theta, lanes.anchor)
    taken = jnp.where(accepted, direction, lanes.step)
    curved = jnp.where(accepted, curved, lanes.curved)
    length = jnp.where(accepted, length, SHORTER * lanes.length)
    stuck = ~accepted & (lanes.rejections >= MOST_REJECTIONS)
    # A stuck lane restarts where it is and keeps its damping.
    following = jnp.where(stuck, anchor, _meet_bound(anchor, curved, taken, length))

    narrow = accepted & systems.definite & (decrement < NARROW_BELOW) & ~at_target
    next_width = jnp.maximum(jnp.where(narrow, WIDTH_FACTOR * width, width), target_width)
    anchor_value = jnp.where(accepted, here.value, lanes.anchor_value)
    # A narrower zone is another objective: its values do not compare, so the next trial is taken as it is.
    anchor_value = jnp.where(narrow, jnp.inf, anchor_value)
    damping = jnp.where(
        accepted,
        jnp.where(lanes.damping > NO_DAMPING, 0.1 * lanes.damping, 0.0),
        jnp.clip(10.0 * lanes.damping, STIFF, LARGEST_DAMPING),
    )
    done = running & (status != RUNNING)
    final = jnp.where(refused, lanes.anchor, theta)
    final_value = jnp.where(refused, lanes.anchor_value, here.value)
    final_decrement = jnp.where(refused, lanes.decrement, decrement)

    def keep(new: Array, last: Array, old: Array) -> Array:
        return jnp.where(running, jnp.where(done, last, new), old)

    return Lanes(
        theta=keep(following, jnp.where(refused, lanes.anchor, following), lanes.theta),
        anchor=keep(anchor, final, lanes.anchor),
        step=keep(taken, taken, lanes.step),
        length=keep(length, length, lanes.length),
        curved=jnp.where(running, curved, lanes.curved),
        anchor_value=keep(anchor_value, final_value, lanes.anchor_value),
        rejections=keep(
            jnp.where(accepted | stuck, 0, lanes.rejections + 1), lanes.rejections, lanes.rejections
        ),
        damping=keep(damping, damping, lanes.damping),
        width=keep(next_width, width, lanes.width),
        decrement=keep(jnp.where(accepted, decrement, lanes.decrement), final_decrement, lanes.decrement),
        status=jnp.where(running, status, lanes.status).astype(lanes.status.dtype),
        steps=lanes.steps + running,
    )


def _limit(theta: Array, curved: Array, direction: Array) -> Array:
    """Shorten steps that leave the region where the quadratic model can mean anything."""
    exponent = jnp.abs(direction[3]) / jnp.where(curved, theta[3], 1.0)
    relative = jnp.where(curved, jnp.maximum(exponent, jnp.abs(direction[0])) / 0.7, 0.0)
    floor = jnp.abs(direction[FLOOR]) / jnp.maximum(theta[FLOOR], 0.3)
    sizes = (jnp.abs(direction[j]) for j in (0, 1, 3, 4))
    return direction / functools.reduce(jnp.maximum, (relative, floor, *sizes), jnp.ones_like(floor))


def _meet_bound(anchor: Array, curved: Array, step: Array, length: Array) -> Array:
    """Point after the step, stopped where E or (in slope coordinates) alpha would reach its bound."""
    falls = curved & (step[3] < 0)
    most = 0.9 * anchor[3] / jnp.where(falls, -step[3], 1.0)
    length = jnp.where(falls, jnp.minimum(length, most), length)
    target = slope_coordinates.take_step(anchor, curved, step, length)

    def bisect() -> Array:
        # E along the curve crosses zero once; this touches lanes only, no runs.
        def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            below = slope_coordinates.take_step(anchor, curved, step, middle)[FLOOR] < 0
            return jnp.where(below, low, middle), jnp.where(below, middle, high)

        _, high = lax.fori_loop(0, HALVINGS, halve, (jnp.zeros_like(length), length))
        at_bound = slope_coordinates.take_step(anchor, curved, step, high)
        return jnp.where(target[FLOOR] < 0, at_bound.at[FLOOR].set(0.0), target)

    return lax.cond(jnp.any(target[FLOOR] < 0), bisect, lambda: target)
