"""Fits with their certificates: what an accelerator computes in one call, so that little has to leave it.

Of nearly every lane of a bootstrap the arithmetic of verdicts.py needs no eigenvalue, and its certificate can
be read where it ended. Where that leaves any doubt, the status is `UNSURE` and the host judges the lane from
its derivatives, which stay on the device until then.

Notation (R lanes; p coordinates)
    g, H       gradient and Hessian at the last accepted point, bounds left aside
    size       roots of the diagonal of H; H / (size size') has a unit diagonal
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from chinchilla_jax.laws.design import LARGEST_EXPONENT
from chinchilla_jax.solvers.certificate import SINGULAR
from chinchilla_jax.solvers.jax_newton.places import Layout
from chinchilla_jax.solvers.jax_newton.rounds import (
    Limits,
    Requests,
    Tables,
    float64_stage,
    solve,
    unpacked,
)
from chinchilla_jax.solvers.jax_newton.small_matrix import Symmetric, symmetric
from chinchilla_jax.solvers.jax_newton.step import Rules
from chinchilla_jax.solvers.jax_newton.verdicts import FAINT, SAFE_STEP
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import LARGEST_ZONE, SMALLEST_VALUE

UNSURE = -3  # in place of a status: the host decides


class Fitted(NamedTuple):
    """Where the lanes ended, first axis R; theta, decrement and status of UNSURE lanes mean nothing."""

    theta: Any  # (R, p)
    value: Any
    decrement: Any
    status: Any  # int8
    steps: Any
    ends: Any  # see `rounds.unpacked`


def fitted(
    rules: tuple[Rules, Rules], layout: Layout, tables: Tables, requests: Requests, limits: Limits
) -> Fitted:
    """Float32 steps, float64 steps and certificates; arguments as of `rounds.solve`."""
    return _judged(rules[1], tables, requests, limits, solve(rules, layout, tables, requests, limits))


def fitted_in_float64(
    rules: tuple[Rules, Rules], layout: Layout, tables: Tables, requests: Requests, limits: Limits
) -> Fitted:
    """The same without float32 steps, which compiles in half the time."""
    ends = float64_stage(rules, layout, tables, requests, limits)
    return _judged(rules[1], tables, requests, limits, ends)


def _judged(rules: Rules, tables: Tables, requests: Requests, limits: Limits, ends: Array) -> Fitted:
    size = rules.of.program.size
    end = unpacked(ends, size)
    triangle = iter(end.hessian.T)
    hessian = symmetric({(i, j): next(triangle) for i in range(size) for j in range(i + 1)})
    gradient = tuple(end.gradient.T)
    value, total = end.anchor_value, tables.total[requests.row]
    finite = _all(jnp.isfinite(x) for x in (value, *gradient, *hessian.values()))
    diagonal = [jnp.abs(hessian[j, j]) for j in range(size)]
    unit = [jnp.sqrt(jnp.where(entry > 0, entry, 1.0)) for entry in diagonal]
    zone = jnp.minimum(jnp.minimum(requests.down, requests.up), LARGEST_ZONE)
    scale = jnp.maximum(jnp.maximum(value, SMALLEST_VALUE * total * zone * zone), 1e-300)
    borrowed = functools.reduce(
        jnp.maximum, (jnp.abs(g) / (u * u) for g, u in zip(gradient, unit, strict=True))
    )
    scaled = {(i, j): entry / (unit[i] * unit[j]) for (i, j), entry in hessian.items()}
    form, product = _eliminated(scaled, [g / u for g, u in zip(gradient, unit, strict=True)])
    least = product * ((size - 1) / size) ** (size - 1)
    decrement = 0.5 * form / scale
    sure = finite & (least > 10 * SINGULAR) & (least > 2 * borrowed) & (decrement <= 0.1 * limits.tolerance)
    sure &= _all(diagonal[j] > FAINT * total for j in rules.amplitudes)
    sure &= end.widening <= 1 + 1e-12

    free = (end.status == Status.CONVERGED) & (decrement <= SAFE_STEP) & jnp.isfinite(end.theta).all(axis=1)
    theta = jnp.where(free[:, None], end.theta, end.anchor)
    at_bound = jnp.zeros_like(sure)
    for j in rules.bounded:
        held = (end.anchor[:, j] <= 0) & (gradient[j] == 0)
        theta = theta.at[:, j].set(jnp.where(held, 0.0, theta[:, j]))
        at_bound |= held | (theta[:, j] <= 0)
    sure &= _all(jnp.abs(theta[:, j]) <= LARGEST_EXPONENT for j in rules.exponents)
    used = jnp.sum(tables.weights > 0, axis=1, dtype=jnp.int32)
    sure &= used[requests.row] > tables.doubtful[requests.condition]
    status = jnp.where(at_bound, int(Status.BOUNDARY), int(Status.CONVERGED))
    return Fitted(theta, value, decrement, jnp.where(sure, status, UNSURE).astype(jnp.int8), end.steps, ends)


def _all(several: Any) -> Array:
    return functools.reduce(jnp.logical_and, several, jnp.array(True))


def _eliminated(matrix: Symmetric, right: Sequence[Array]) -> tuple[Array, Array]:
    """The form right' M^-1 right and the product of the pivots, 0 where one is not positive; (R,)."""
    m, b, size = dict(matrix), list(right), len(right)
    form, product = jnp.zeros_like(b[0]), jnp.ones_like(b[0])
    for j in range(size):
        good = m[j, j] > 0
        product = jnp.where(good, product * m[j, j], 0.0)
        inverse = 1.0 / jnp.where(good, m[j, j], 1.0)
        form = form + b[j] * b[j] * inverse
        for i in range(j + 1, size):
            factor = m[i, j] * inverse
            b[i] = b[i] - factor * b[j]
            for k in range(j + 1, i + 1):
                m[i, k] = m[i, k] - factor * m[k, j]
    return form, product
