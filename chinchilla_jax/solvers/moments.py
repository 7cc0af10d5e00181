"""One pass over the runs: objective, gradient and exact Hessian of every lane.

Notation (B lanes, n runs; see solvers/design.py for theta, u, v, y)
    S              exp(a' - alpha' u) + exp(b' - beta' v) + E, predicted loss; (B, n)
    residual       r = ln S - y; (B, n)
    share_params   s = exp(a' - alpha' u) / S, share of the parameter term; (B, n)
    share_tokens   t = exp(b' - beta' v) / S, share of the token term; (B, n)
    inverse        1 / S; (B, n)
    influence      psi = w rho'(r); zone = w rho''(r), non-zero in the quadratic zone only; (B, n)

The gradient of r is (s, t, 1/S, -u s, -v t). Since S is a sum of exponentials, the Hessian of r is
diag(s, t, 0) - (s, t, 1/S)(s, t, 1/S)' in (a', b', E), with powers of -u and -v for the exponents. Every
entry of the Hessian of the objective is therefore a sum over runs of seven lane arrays times one of the
fixed columns (1, u, v, u^2, u v, v^2): one matrix product instead of 22 reductions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

# (residual, width) -> (rho, rho', rho'')
Kernel = Callable[[Array, Array], tuple[Array, Array, Array]]


def huber_kernel(residual: Array, width: Array) -> tuple[Array, Array, Array]:
    """Huber loss of one residual, its derivative and its second derivative."""
    influence = jnp.clip(residual, -width, width)
    return (
        influence * (residual - 0.5 * influence),
        influence,
        (jnp.abs(residual) <= width).astype(residual.dtype),
    )


class Columns(NamedTuple):
    """The runs, shared by all lanes: standardised logs u, v (n,), log loss y (n,)."""

    log_params: Array
    log_tokens: Array
    log_loss: Array


class PerRun(NamedTuple):
    """What the line search needs of each run: arrays (B, n)."""

    residual: Array
    share_params: Array
    share_tokens: Array
    inverse: Array
    zone: Array


class Moments(NamedTuple):
    """Objective value (B,), gradient (B, 5), Hessian (B, 25) by rows, in (a', b', E, alpha', beta')."""

    value: Array
    gradient: Array
    hessian: Array


def moments(
    theta: Array, weights: Array, columns: Columns, kernel: Kernel, width: Array
) -> tuple[Moments, PerRun]:
    """Objective, gradient and Hessian at `theta` (B, 5) under `weights` (B, n) and kernel width (B,)."""
    a, b, floor, alpha, beta = (row[:, None] for row in theta.T)
    u, v = columns.log_params, columns.log_tokens
    of_params = jnp.exp(a - alpha * u)
    of_tokens = jnp.exp(b - beta * v)
    loss = of_params + of_tokens + floor
    residual = jnp.log(loss) - columns.log_loss
    inverse = 1.0 / loss
    s, t = of_params * inverse, of_tokens * inverse
    rho, influence, curvature = kernel(residual, width[:, None])
    pull = weights * influence
    zone = weights * curvature
    # Outer products of the gradient of r carry zone, and -psi from the Hessian of ln S.
    outer = zone - pull

    one = jnp.ones_like(u)
    basis = jnp.stack([one, u, v, u * u, u * v, v * v, one, one], axis=1)  # padded: 8 columns suit the matmul
    outer_s, outer_t = outer * s, outer * t
    stacked = jnp.concatenate(
        [outer_s * s, outer_s * t, outer_t * t, outer_s * inverse, outer_t * inverse, pull * s, pull * t]
    )
    product = jnp.matmul(stacked, basis, precision=lax.Precision.HIGHEST)
    ss, st, tt, s_floor, t_floor, pull_s, pull_t = jnp.split(product, 7)
    pull_floor = jnp.sum(pull * inverse, axis=1)
    floor_floor = jnp.sum(outer * inverse * inverse, axis=1)
    aa, bb = ss + pull_s, tt + pull_t

    gradient = jnp.stack([pull_s[:, 0], pull_t[:, 0], pull_floor, -pull_s[:, 1], -pull_t[:, 2]], axis=1)
    hessian = jnp.stack(
        [
            aa[:, 0], st[:, 0], s_floor[:, 0], -aa[:, 1], -st[:, 2],
            st[:, 0], bb[:, 0], t_floor[:, 0], -st[:, 1], -bb[:, 2],
            s_floor[:, 0], t_floor[:, 0], floor_floor, -s_floor[:, 1], -t_floor[:, 2],
            -aa[:, 1], -st[:, 1], -s_floor[:, 1], aa[:, 3], st[:, 4],
            -st[:, 2], -bb[:, 2], -t_floor[:, 2], st[:, 4], bb[:, 5],
        ],
        axis=1,
    )  # fmt: skip
    value = jnp.sum(weights * rho, axis=1)
    return Moments(value, gradient, hessian), PerRun(residual, s, t, inverse, zone)
