"""Passes over the runs: objective, gradient and exact Hessian of every lane, and slopes along a step.

Notation (B lanes, n runs; theta as in laws/chinchilla.py; u, v, y as in laws/design.py)
    S              exp(a' - alpha' u) + exp(b' - beta' v) + E, predicted loss; (B, n)
    residual       r = ln S - y; (B, n)
    share_params   s = exp(a' - alpha' u) / S, share of the parameter term; (B, n)
    share_tokens   t = exp(b' - beta' v) / S, share of the token term; (B, n)
    inverse        i = 1 / S; (B, n)
    influence      psi = clip(r, -width, width), derivative of the Huber loss; (B, n)
    zone           1 where |r| <= width, second derivative of the Huber loss; (B, n)

The gradient of r is (s, t, i, -u s, -v t). Since S is a sum of exponentials, the Hessian of r is
diag(s, t, 0) - (s, t, i)(s, t, i)' in (a', b', E), with powers of -u and -v for the exponents. All 21 sums
of a pass are one reduction with 21 results: XLA then forms every term in registers, run by run, and stores
no array of shape (B, n). As separate sums each would repeat the exponentials or read them from memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.laws.objectives import influence, residual_loss
from chinchilla_jax.laws.scaling_law import log_terms
from chinchilla_jax.solvers.xla.logarithm import log

# Rows of a symmetric matrix per lane: both (i, j) and (j, i) give the same array (B,).
Symmetric = dict[tuple[int, int], Array]
Vector = tuple[Array, ...]  # an array (B,) for each coordinate


class Columns(NamedTuple):
    """The runs, shared by all lanes: standardised logs u, v (n,), log loss y (n,)."""

    log_params: Any
    log_tokens: Any
    log_loss: Any


class Moments(NamedTuple):
    """Objective value (B,), gradient and Hessian in (a', b', E, alpha', beta')."""

    value: Array
    gradient: Vector
    hessian: Symmetric


class _PerRun(NamedTuple):
    residual: Array
    share_params: Array
    share_tokens: Array
    inverse: Array


def lane_sums(*terms: Array) -> tuple[Array, ...]:
    """Sums over the runs of several terms (B, n) in one pass; each (B,)."""
    shape = jnp.broadcast_shapes(*(term.shape for term in terms))
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    full = tuple(jnp.broadcast_to(term, shape) for term in terms)

    def add(left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(x + y for x, y in zip(left, right, strict=True))

    return tuple(lax.reduce(full, zeros, add, (1,)))


def _per_run(theta: Array, columns: Columns) -> _PerRun:
    a, b, floor, alpha, beta = (row[:, None] for row in theta)
    terms = log_terms(a, b, alpha, beta, columns.log_params, columns.log_tokens)
    of_params, of_tokens = jnp.exp(terms[0]), jnp.exp(terms[1])
    loss = of_params + of_tokens + floor
    inverse = 1.0 / loss
    return _PerRun(log(loss) - columns.log_loss, of_params * inverse, of_tokens * inverse, inverse)


def moments(theta: Array, weights: Array, columns: Columns, width: Array) -> Moments:
    """Objective, gradient and Hessian at `theta` (5, B) under `weights` (B, n) and zone half-width (B,)."""
    u, v = columns.log_params, columns.log_tokens
    residual, s, t, inverse = _per_run(theta, columns)
    weights, width = weights.astype(theta.dtype), width[:, None]
    value = weights * residual_loss(residual, width, width)
    pull = weights * influence(residual, width, width)
    # Outer products of the gradient of r carry w zone, and -w psi from the Hessian of ln S.
    outer = jnp.where(jnp.abs(residual) <= width, weights, 0.0) - pull
    pull_s, pull_t, outer_s, outer_t = pull * s, pull * t, outer * s, outer * t
    ss, tt, st = outer_s * s + pull_s, outer_t * t + pull_t, outer_s * t
    si, ti = outer_s * inverse, outer_t * inverse
    sums = lane_sums(
        value, pull_s, pull_t, pull * inverse, pull_s * u, pull_t * v,
        ss, ss * u, ss * u * u, tt, tt * v, tt * v * v, st, st * u, st * v, st * u * v,
        si, si * u, ti, ti * v, outer * inverse * inverse,
    )  # fmt: skip
    value, g0, g1, g2, minus_g3, minus_g4 = sums[:6]
    aa, aa_u, aa_uu, bb, bb_v, bb_vv, ab, ab_u, ab_v, ab_uv, ae, ae_u, be, be_v, ee = sums[6:]
    lower = {
        (0, 0): aa,
        (1, 0): ab, (1, 1): bb,
        (2, 0): ae, (2, 1): be, (2, 2): ee,
        (3, 0): -aa_u, (3, 1): -ab_u, (3, 2): -ae_u, (3, 3): aa_uu,
        (4, 0): -ab_v, (4, 1): -bb_v, (4, 2): -be_v, (4, 3): ab_uv, (4, 4): bb_vv,
    }  # fmt: skip
    return Moments(value, (g0, g1, g2, -minus_g3, -minus_g4), symmetric(lower))


def symmetric(lower: dict[tuple[int, int], Array]) -> Symmetric:
    """The whole matrix from its lower triangle."""
    return lower | {(j, i): entry for (i, j), entry in lower.items()}


def slopes(
    theta: Array, direction: Array, weights: Array, columns: Columns, width: Array, probes: tuple[float, ...]
) -> tuple[Array, tuple[Array, ...]]:
    """What a step along `direction` (5, B) meets, with residuals linear in its length.

    Returns:
        sum_i w_i zone_i q_i^2 with q the change of the residual per unit length, (B,), and for every
        probe t the sum of w_i psi(r_i + t q_i) q_i, (B,).
    """
    residual, s, t, inverse = _per_run(theta, columns)
    da, db, dfloor, dalpha, dbeta = (row[:, None] for row in direction)
    change = s * (da - columns.log_params * dalpha) + t * (db - columns.log_tokens * dbeta) + inverse * dfloor
    width = width[:, None]
    weighted = weights.astype(theta.dtype) * change
    inside = jnp.where(jnp.abs(residual) <= width, weighted * change, 0.0)
    found = lane_sums(
        inside, *(weighted * influence(residual + length * change, width, width) for length in probes)
    )
    return found[0], found[1:]
