"""Line search on the linearised residuals: one pass over the runs, whatever the number of kinks.

Along a step, r_i(t) = r_i + t q_i to first order, so the slope of the objective is
    phi'(t) = sum_i w_i psi(r_i + t q_i) q_i + t kappa,
piecewise linear and rising when kappa >= 0 (kappa: curvature of the law along the step, from the Hessian).
Its root takes the step past as many kinks of the Huber loss as is worthwhile, where a damped Newton method
needs a rejected step for each. It halves the number of passes over the runs. The slope is computed at fixed
lengths and interpolated between them: a rough root is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from chinchilla_jax.solvers.jax_newton.passes import Residuals, RunsOfLanes, slopes
from chinchilla_jax.solvers.thresholds import CLOSE_ENOUGH, FULL, LONGEST, PROBES


def step_length(
    of: Residuals,
    theta: Sequence[Array],
    direction: Sequence[Array],
    runs: RunsOfLanes,
    down: Array,
    up: Array,
    slope: Array,
    form: Array,
) -> Array:
    """Step length (B,) in (0, LONGEST].

    Args:
        of: what a residual is.
        theta: p of (B,).
        direction: the step in plain coordinates, likewise.
        runs: of the lanes.
        down: how far the quadratic zone reaches below zero, (B,).
        up: how far it reaches above.
        slope: phi'(0), negative on a descent direction; (B,).
        form: p' H p, with the exact Hessian of the objective; (B,).
    """
    inside, found = slopes(of, theta, direction, runs, down, up, PROBES)
    kappa = jnp.maximum(form - inside, 0.0)
    at = [value + length * kappa for length, value in zip(PROBES, found, strict=True)]
    length = jnp.full_like(slope, LONGEST)
    lows = (0.0, *PROBES[:-1])
    # From the far end inwards: the last bracket that holds the root is the first along the step.
    for low, high, slope_low, slope_high in reversed(
        list(zip(lows, PROBES, (slope, *at[:-1]), at, strict=True))
    ):
        gap = slope_high - slope_low
        root = low - slope_low * (high - low) / jnp.where(gap > 0, gap, 1.0)
        length = jnp.where(slope_high >= 0, jnp.where(gap > 0, root, high), length)
    # The first bracket starts at 0, and a step of no length would never move.
    length = jnp.maximum(length, 0.2 * PROBES[0])
    return jnp.where(jnp.abs(at[FULL]) < CLOSE_ENOUGH * jnp.abs(slope), 1.0, length)
