"""Exact line search on the linearised residuals: no exponentials, only clips and sums.

Along a step, r_i(t) = r_i + t q_i to first order, so the slope of the objective is
    phi'(t) = sum_i w_i psi(r_i + t q_i) q_i + t kappa,
piecewise linear and rising when kappa >= 0 (kappa: curvature of the law along the step, from the Hessian).
Its root takes the step past as many kinks of the Huber loss as pay, where a damped Newton method needs a
rejected step for each. It halves the number of passes over the runs.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from chinchilla_jax.solvers.moments import Kernel

LONGEST = 4.0  # times the Newton step
_PROBES = 4
_CLOSE_ENOUGH = 0.05  # of the initial slope: the full step is taken as it is


def step_length(
    residual: Array, change: Array, weights: Array, kernel: Kernel, width: Array, slope: Array, kappa: Array
) -> Array:
    """Step length (B,) in (0, LONGEST].

    Args:
        residual: r (B, n).
        change: q (B, n), directional derivative of r along the step.
        weights: (B, n).
        kernel: loss of one residual.
        width: (B,).
        slope: phi'(0), negative on a descent direction; (B,).
        kappa: curvature of the law along the step, non-negative; (B,).
    """
    weighted = weights * change
    column = width[:, None]

    def derivative(t: Array) -> Array:
        return jnp.sum(weighted * kernel(residual + t[:, None] * change, column)[1], axis=1) + t * kappa

    one = jnp.ones_like(slope)
    at_one = derivative(one)
    beyond = at_one < 0
    at_longest = derivative(LONGEST * one)
    low, slope_low = jnp.where(beyond, one, 0.0), jnp.where(beyond, at_one, slope)
    high, slope_high = jnp.where(beyond, LONGEST * one, one), jnp.where(beyond, at_longest, at_one)
    side = jnp.zeros_like(one)
    for _ in range(_PROBES):
        t = _root(low, high, slope_low, slope_high)
        margin = 0.05 * (high - low)
        t = jnp.clip(t, low + margin, high - margin)
        value = derivative(t)
        left = value < 0
        # Illinois rule: an end that stays put twice has its slope halved, so regula falsi cannot stall.
        slope_high = jnp.where(left, jnp.where(side < 0, 0.5 * slope_high, slope_high), value)
        slope_low = jnp.where(left, value, jnp.where(side > 0, 0.5 * slope_low, slope_low))
        low, high = jnp.where(left, t, low), jnp.where(left, high, t)
        side = jnp.where(left, -one, one)
    t = jnp.clip(_root(low, high, slope_low, slope_high), low, high)
    t = jnp.where(jnp.abs(at_one) < _CLOSE_ENOUGH * jnp.abs(slope), one, t)
    return jnp.where(at_longest < 0, LONGEST * one, t)


def _root(low: Array, high: Array, slope_low: Array, slope_high: Array) -> Array:
    gap = slope_high - slope_low
    return jnp.where(
        gap > 0, low - slope_low * (high - low) / jnp.where(gap > 0, gap, 1.0), 0.5 * (low + high)
    )
