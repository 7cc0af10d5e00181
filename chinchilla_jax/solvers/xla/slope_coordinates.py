"""Coordinates in which the valley between the parameter term and the floor E is straight.

When alpha is small, A N^-alpha + E is close to (A + E) - A alpha ln N: only the level m = A + E and the
slope k = A alpha are well determined, and the objective has a long curved valley along which alpha falls
while A rises and E falls. A Newton step in (ln A, E, alpha) is tangent to that valley and leaves it after a
short way; with a Huber zone of 1e-3 the way is about the square root of that, and lanes crawl for hundreds of
steps. In (ln k, m, alpha) the valley is nearly a straight line. Under strong log-normal noise this takes the
mean number of steps from about 60 (many lanes never finishing) to about 12.

Notation, per lane: alpha = alpha', A = exp(a') (both standardised, see laws/chinchilla.py),
    phi = (ln k, b', m, alpha', beta'),  k = A alpha',  m = E + A.
With J = d theta / d phi: J_0 = e_0 - A e_2, J_3 = e_3 - J_0 / alpha, and J_1, J_2, J_4 unit vectors.
Used where alpha' is positive and E is off its bound; elsewhere the plain coordinates are kept (A = 0 and
1/alpha = 0 make J the identity). Shapes: theta and steps (5, B), entries of gradients and matrices (B,).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from chinchilla_jax.solvers.thresholds import SMALLEST_EXPONENT
from chinchilla_jax.solvers.xla.moments import Symmetric, Vector, symmetric


class Coordinates(NamedTuple):
    """The coordinates at one point of each lane: all (B,)."""

    curved: Array  # slope coordinates apply
    amplitude: Array  # A, or 0
    inverse_exponent: Array  # 1 / alpha', or 0


def coordinates_at(theta: Array, floor_is_held: Array) -> Coordinates:
    """Coordinates to use at `theta`."""
    curved = (theta[3] > SMALLEST_EXPONENT) & (theta[2] > 0) & ~floor_is_held
    return Coordinates(
        curved=curved,
        amplitude=jnp.where(curved, jnp.exp(jnp.where(curved, theta[0], 0.0)), 0.0),
        inverse_exponent=jnp.where(curved, 1.0 / jnp.where(curved, theta[3], 1.0), 0.0),
    )


def pull_back(at: Coordinates, gradient: Vector, hessian: Symmetric) -> tuple[Vector, Symmetric]:
    """Gradient and Hessian with respect to phi, by the chain rule to second order."""
    amplitude, inverse = at.amplitude, at.inverse_exponent
    g, h = gradient, hessian
    g0 = g[0] - amplitude * g[2]
    g3 = g[3] - inverse * g0
    # Rows 0 and 3 of J' H, columns not yet transformed.
    row0 = [h[0, j] - amplitude * h[2, j] for j in range(5)]
    row3 = [h[3, j] - inverse * row0[j] for j in range(5)]
    h00 = row0[0] - amplitude * row0[2]
    h03 = row0[3] - inverse * h00
    h33 = h[3, 3] - 2.0 * inverse * row0[3] + inverse * inverse * h00
    # Second derivatives of theta with respect to phi, weighted with the gradient.
    bend = g[2] * amplitude
    lower = {
        (0, 0): h00 - bend,
        (1, 0): row0[1], (1, 1): h[1, 1],
        (2, 0): row0[2], (2, 1): h[2, 1], (2, 2): h[2, 2],
        (3, 0): h03 + bend * inverse, (3, 1): row3[1], (3, 2): row3[2],
        (3, 3): h33 + (g[0] - 2.0 * bend) * inverse * inverse,
        (4, 0): row0[4], (4, 1): h[4, 1], (4, 2): h[4, 2], (4, 3): row3[4], (4, 4): h[4, 4],
    }  # fmt: skip
    return (g0, g[1], g[2], g3, g[4]), symmetric(lower)


def push_forward(at: Coordinates, step: Array) -> Array:
    """J times a step in phi: the same direction in theta, to first order."""
    of_a = step[0] - at.inverse_exponent * step[3]
    return jnp.stack([of_a, step[1], step[2] - at.amplitude * of_a, step[3], step[4]])


def take_step(theta: Array, curved: Array, step: Array, length: Array) -> Array:
    """Theta after `length` times `step` in phi; E may come out negative, the caller meets the bound."""
    alpha = jnp.where(curved, theta[3], 1.0)
    amplitude = jnp.exp(jnp.where(curved, theta[0], 0.0))
    new_alpha = jnp.where(curved, jnp.maximum(alpha + length * step[3], 1e-3 * alpha), 1.0)
    new_amplitude = amplitude * alpha / new_alpha * jnp.exp(jnp.where(curved, length * step[0], 0.0))
    straight = theta + length * step
    floor = theta[2] + amplitude + length * step[2] - new_amplitude
    bent = jnp.stack([jnp.log(new_amplitude), straight[1], floor, new_alpha, straight[4]])
    return jnp.where(curved, bent, straight)
