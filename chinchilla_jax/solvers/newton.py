"""Batched damped Newton with the exact Hessian: the step of one lane. The driver is in solvers/batch.py.

Notation (B lanes; theta, u, v as in solvers/design.py)
    value, g, H     objective, gradient, exact Hessian at the trial point
    decrement       1/2 g' H^-1 g / value: relative decrease a full Newton step would still bring
    floor           E, bounded below by zero; held there while the gradient pushes it down
    width           current half-width of the quadratic zone, at least the objective's delta

One pass over the runs per step gives everything: whether the last trial is accepted, the certificate, the
next direction, and the residuals on which the line search runs. A rejected trial is answered by a quarter of
the step along the same curve, which needs no second pass.

The certificate follows Boyd & Vandenberghe, Convex Optimization, section 9.5.1 (Newton decrement), with the
Hessian positive definite: at such a point no nearby law is better by more than the stated fraction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from chinchilla_jax.solvers import slope_coordinates
from chinchilla_jax.solvers.line_search import step_length
from chinchilla_jax.solvers.moments import Columns, Kernel, PerRun, moments
from chinchilla_jax.solvers.small_matrix import SIZE, dot, lowest_definite, quadratic_form, solve_shifted
from chinchilla_jax.solvers.status import Status

RUNNING = -1
# Shifts of the Hessian's diagonal: none, just off singular, then by tens. _STIFF is the first real damping.
_LADDER = (0.0, 1e-7, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_STIFF = 1e-2
# Lanes per pass over the runs: their arrays (64 x 240 float64, 123 kB each) stay in the second-level cache.
_PASS = 64
_MOST_REJECTIONS = 6
_LARGEST_EXPONENT = 12.0  # standardised; beyond it a term touches the smallest runs only
_WIDTH_FACTOR = 0.2
_FULL_STEP_BELOW = 1e-7
_POLISHED = 1e-8  # of the tolerance: so far below it no further step is needed
_NARROW_BELOW = 1e-2  # decrement at which the zone is narrowed


class Lanes(NamedTuple):
    """State of B lanes between steps: (5, B) or (B,), of JAX inside a call and of NumPy between calls."""

    theta: Any  # trial point
    anchor: Any  # last accepted point
    step: Any  # from the anchor, in slope coordinates where `curved`
    length: Any
    curved: Any
    anchor_value: Any
    rejections: Any
    damping: Any
    width: Any
    decrement: Any
    status: Any  # RUNNING or a Status
    steps: Any


def start_lanes(theta: NDArray[np.float64], width: NDArray[np.float64], dtype: Any) -> Lanes:
    """Lanes that begin at `theta` (5, B) with zone half-width (B,), as NumPy arrays of `dtype`."""
    count = theta.shape[1]

    def fill(value: float, kind: Any = dtype) -> NDArray[Any]:
        return np.full(count, value, kind)

    return Lanes(
        theta=theta.astype(dtype),
        anchor=theta.astype(dtype),
        step=np.zeros_like(theta, dtype),
        length=fill(0),
        curved=fill(False, bool),
        anchor_value=fill(np.inf),
        rejections=fill(0, np.int32),
        damping=fill(0),
        width=width.astype(dtype),
        decrement=fill(np.inf),
        status=fill(RUNNING, np.int32),
        steps=fill(0, np.int32),
    )


def advance(
    lanes: Lanes,
    weights: Array,
    columns: Columns,
    kernel: Kernel,
    width: Array,
    tolerance: Array,
    steps: Array,
) -> Lanes:
    """Take up to `steps` steps, until no lane is running.

    Args:
        lanes: state of B lanes.
        weights: (B, n), any real dtype.
        columns: the runs.
        kernel: loss of one residual (static).
        width: the objective's own zone half-width; (B,).
        tolerance: decrement at or below which a lane is certified; scalar.
        steps: step limit of this call; scalar.
    """
    weights = weights.astype(lanes.theta.dtype)

    def proceed(carry: tuple[Array, Lanes]) -> Array:
        taken, state = carry
        return (taken < steps) & jnp.any(state.status == RUNNING)

    def body(carry: tuple[Array, Lanes]) -> tuple[Array, Lanes]:
        taken, state = carry
        return taken + 1, _step(state, weights, columns, kernel, width, tolerance)

    return lax.while_loop(proceed, body, (jnp.zeros_like(steps), lanes))[1]


def _step(
    lanes: Lanes, weights: Array, columns: Columns, kernel: Kernel, target_width: Array, tolerance: Array
) -> Lanes:
    dtype = lanes.theta.dtype
    running = lanes.status == RUNNING
    theta, width = lanes.theta, lanes.width
    here, runs = _by_pass(lambda th, w, wd: moments(th, w, columns, kernel, wd), (theta.T, weights, width))

    # Accept the trial: lower than the anchor, up to rounding, or the first of a series.
    rounding = 8 * jnp.finfo(dtype).eps
    finite = jnp.isfinite(here.value) & jnp.all(jnp.isfinite(here.gradient), axis=1)
    accepted = finite & (here.value <= lanes.anchor_value * (1 + rounding))

    # E at zero and pushed further down stays there: the problem without E.
    floor = theta[2]
    held = (floor <= 0) & (here.gradient[:, 2] >= 0)
    is_floor = (jnp.arange(SIZE) == 2)[:, None]
    gradient = jnp.where(is_floor & held, 0.0, here.gradient.T)
    in_floor = is_floor[:, None] | is_floor[None, :]
    identity = jnp.eye(SIZE, dtype=dtype)[:, :, None]
    hessian = jnp.where(in_floor & held, identity, here.hessian.T.reshape(SIZE, SIZE, -1))

    # Directions in coordinates where the valley is straight; at an optimum the certificate is the same.
    at = slope_coordinates.frame(theta, held)
    gradient_phi, hessian_phi = slope_coordinates.pull_back(at, gradient, hessian)
    # The first two rungs serve the certificate, the others start at the lane's own damping.
    ladder = jnp.asarray(_LADDER, dtype)[:, None]
    damped = jnp.where(jnp.arange(len(_LADDER))[:, None] < 2, ladder, jnp.maximum(ladder, lanes.damping))
    rungs = solve_shifted(hessian_phi, gradient_phi, damped)
    # A perfect fit has value 0: relative to this, residuals of 1e-6 of the zone, it still has a decrement.
    smallest = 1e-12 * jnp.sum(weights, axis=1) * width * width
    scale = jnp.maximum(here.value, smallest)
    decrement = jnp.where(rungs.definite[0], 0.5 * rungs.form[0] / scale, jnp.inf)
    at_target = width <= target_width * (1 + rounding)
    certified = accepted & (decrement <= tolerance) & at_target
    # A decrement of 1e-12 leaves 1e-6 in the parameters, which would depend on the block a lane was in: one
    # more step, after which the certificate is far below the tolerance and the parameters stand still. It
    # also takes the gradient out of the Hessian in curved coordinates: what is left is that of the law.
    before = lanes.decrement <= tolerance
    polished = certified & (before | held | (decrement <= _POLISHED * tolerance))
    # Rounding can refuse that last step; the anchor is certified already.
    refused = ~accepted & before & at_target
    still = 0.5 * rungs.form[1] / scale <= 0.1 * tolerance
    singular = accepted & ~rungs.definite[0] & rungs.definite[1] & still & at_target
    escaped = accepted & (jnp.maximum(jnp.abs(theta[3]), jnp.abs(theta[4])) > _LARGEST_EXPONENT)
    status = jnp.where(
        (polished & ~held & ~escaped) | refused,
        int(Status.CONVERGED),
        jnp.where(escaped | singular | (polished & held), int(Status.UNIDENTIFIED), RUNNING),
    )

    undamped = rungs.definite.at[:2].set(rungs.definite[:2] & (lanes.damping == 0))
    direction = -lowest_definite(rungs._replace(definite=undamped), hessian_phi, gradient_phi)
    curved = at.curved
    direction = _limit(theta, curved, direction)
    # A lane on the bound leaves it inwards only.
    direction = direction.at[2].set(jnp.where((floor <= 0) & (direction[2] < 0), 0.0, direction[2]))
    slope = dot(gradient_phi, direction)
    form = quadratic_form(hessian_phi, direction)
    # Next to the optimum the full step is right, and the search would cost a quarter of the pass.
    search = running & accepted & ~(decrement < _FULL_STEP_BELOW)
    length = lax.cond(
        jnp.any(search),
        lambda: _by_pass(
            lambda r, w, p, wd, sl, fo: _line_search(r, w, p, columns, kernel, wd, sl, fo),
            (runs, weights, slope_coordinates.push_forward(at, direction).T, width, slope, form),
        ),
        lambda: jnp.ones_like(floor),
    )
    length = jnp.where(search, length, 1.0)

    # Anchor, step and length from here if accepted; else a quarter of the last step from the old anchor.
    anchor = jnp.where(accepted, theta, lanes.anchor)
    step = jnp.where(accepted, direction, lanes.step)
    curved = jnp.where(accepted, curved, lanes.curved)
    length = jnp.where(accepted, length, 0.25 * lanes.length)
    stuck = ~accepted & (lanes.rejections >= _MOST_REJECTIONS)
    length = jnp.where(stuck, 0.0, length)
    following = _meet_bound(anchor, curved, step, length)

    narrow = accepted & rungs.definite[0] & (decrement < _NARROW_BELOW) & ~at_target
    next_width = jnp.maximum(jnp.where(narrow, _WIDTH_FACTOR * width, width), target_width)
    anchor_value = jnp.where(accepted, here.value, lanes.anchor_value)
    # A narrower zone is another objective: its values do not compare, so the next trial is taken as it is.
    anchor_value = jnp.where(narrow | stuck, jnp.inf, anchor_value)
    damping = jnp.where(
        accepted,
        jnp.where(lanes.damping > 1e-6, 0.1 * lanes.damping, 0.0),
        jnp.clip(10.0 * lanes.damping, _STIFF, 1e6),
    )
    done = running & (status != RUNNING)
    final = jnp.where(refused, lanes.anchor, theta)
    final_value = jnp.where(refused, lanes.anchor_value, here.value)
    final_decrement = jnp.where(refused, lanes.decrement, decrement)

    def keep(new: Array, last: Array, old: Array) -> Array:
        return jnp.where(running, jnp.where(done, last, new), old)

    return Lanes(
        theta=keep(following, following, lanes.theta),
        anchor=keep(anchor, final, lanes.anchor),
        step=keep(step, step, lanes.step),
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


def _by_pass(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Apply `function` to the lanes in groups of `_PASS`; every argument and result has lanes first."""
    count = jax.tree.leaves(arguments)[0].shape[0]
    groups = max(count // _PASS, 1)

    def split(x: Array) -> Array:
        return x.reshape(groups, count // groups, *x.shape[1:])

    def join(x: Array) -> Array:
        return x.reshape(count, *x.shape[2:])

    return jax.tree.map(join, lax.map(lambda part: function(*part), jax.tree.map(split, arguments)))


def _line_search(
    runs: PerRun,
    weights: Array,
    direction: Array,
    columns: Columns,
    kernel: Kernel,
    width: Array,
    slope: Array,
    form: Array,
) -> Array:
    """Step length (B,) along `direction` (B, 5), plain coordinates; slope g'p and form p'Hp are (B,)."""
    da, db, dfloor, dalpha, dbeta = (p[:, None] for p in direction.T)
    change = (
        runs.share_params * (da - columns.log_params * dalpha)
        + runs.share_tokens * (db - columns.log_tokens * dbeta)
        + runs.inverse * dfloor
    )
    curvature = form - jnp.sum(runs.zone * change * change, axis=1)
    return step_length(runs.residual, change, weights, kernel, width, slope, jnp.maximum(curvature, 0.0))


def _limit(theta: Array, curved: Array, direction: Array) -> Array:
    """Shorten steps that leave the region where the quadratic model can mean anything."""
    relative_exponent = jnp.abs(direction[3]) / jnp.where(curved, theta[3], 1.0)
    relative = jnp.where(curved, jnp.maximum(relative_exponent, jnp.abs(direction[0])) / 0.7, 0.0)
    floor = jnp.abs(direction[2]) / jnp.maximum(theta[2], 0.3)
    others = jnp.max(jnp.abs(jnp.stack([direction[0], direction[1], direction[3], direction[4]])), axis=0)
    return direction / jnp.maximum(1.0, jnp.maximum(relative, jnp.maximum(floor, others)))


def _meet_bound(anchor: Array, curved: Array, step: Array, length: Array) -> Array:
    """Point after the step, stopped where E or (in slope coordinates) alpha would reach its bound."""
    falls = curved & (step[3] < 0)
    most = 0.9 * anchor[3] / jnp.where(falls, -step[3], 1.0)
    length = jnp.where(falls, jnp.minimum(length, most), length)
    target = slope_coordinates.move(anchor, curved, step, length)

    def bisect() -> Array:
        # E along the curve crosses zero once; this touches lanes only, no runs.
        def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            below = slope_coordinates.move(anchor, curved, step, middle)[2] < 0
            return jnp.where(below, low, middle), jnp.where(below, middle, high)

        _, high = lax.fori_loop(0, 12, halve, (jnp.zeros_like(length), length))
        at_bound = slope_coordinates.move(anchor, curved, step, high)
        return jnp.where(target[2] < 0, at_bound.at[2].set(0.0), target)

    return lax.cond(jnp.any(target[2] < 0), bisect, lambda: target)
