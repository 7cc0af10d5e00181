"""Passes over the runs: objective, gradient and exact Hessian of every lane, and slopes along a step.

Notation (B lanes, n runs; f, F_j, F_jk as in law_program.py)
    r          residual: ln L - y, or (L - exp(y)) / unit where residuals are raw; (B, n)
    o1, o2     first and second derivative of r by f; (B, n)
    psi, zone  derivative of the loss of a residual, and its second: 1 where that loss is quadratic; (B, n)
    w          weights; (B, n)

With J_j = o1 F_j the derivatives of a residual,
    g_j  = sum_i w psi o1 F_j
    H_jk = sum_i (w zone o1^2 + w psi o2) F_j F_k + w psi o1 F_jk.
All 1 + p + p (p + 1) / 2 sums are one reduction with that many results: XLA on CPUs forms every term in
registers, run by run, and stores no array of shape (B, n). On GPUs it stores some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.laws.objectives import influence, residual_loss
from chinchilla_jax.laws.own_objective import loss_derivatives
from chinchilla_jax.solvers.jax_newton.law_program import LawProgram, log, reciprocal
from chinchilla_jax.solvers.jax_newton.small_matrix import Symmetric, Vector, symmetric


class Residuals(NamedTuple):
    """What a residual is: the law, whether of the loss itself, and its loss if not Huber's. Static."""

    program: LawProgram
    raw: bool
    rho: Callable[[Array], Array] | None = None


class Moments(NamedTuple):
    """Objective value (B,), gradient and Hessian in theta."""

    value: Array
    gradient: Vector
    hessian: Symmetric


class RunsOfLanes(NamedTuple):
    """The runs of B lanes. A run without a weight repeats one that has a weight, and is finite where it is.

    Attributes:
        weights: w; (B, n).
        features: of the law; each (B, n).
        shared: of the law; each (B,).
        target: y, or exp(y) / unit where residuals are raw; (B, n).
        unit: of raw residuals; (B,).
    """

    weights: Any
    features: Any
    shared: Any
    target: Any
    unit: Any


def lane_sums(*terms: Array) -> tuple[Array, ...]:
    """Sums over the runs of several terms (B, n) in one pass; each (B,)."""
    shape = jnp.broadcast_shapes(*(term.shape for term in terms))
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    full = tuple(jnp.broadcast_to(term, shape) for term in terms)

    def add(left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(x + y for x, y in zip(left, right, strict=True))

    return tuple(lax.reduce(full, zeros, add, (1,)))


def _each(function: Callable[..., Any], theta: Sequence[Array], runs: RunsOfLanes, *more: Any) -> Any:
    """A function of (theta, features, shared, *more) of one run, at every run of every lane."""
    of_lane = jax.vmap(function, in_axes=(None, 0, None, *(None for _ in more)))
    return jax.vmap(of_lane)(tuple(theta), runs.features, runs.shared, *more)


def _outer(of: Residuals, inner: Array, runs: RunsOfLanes) -> tuple[Array, Array, Array | None]:
    """Residuals r and their derivatives o1 and o2 by f; None for zero."""
    if of.raw:
        unit = reciprocal(runs.unit)[:, None]
        if of.program.ends_in_log:
            return inner * unit - runs.target, jnp.broadcast_to(unit, inner.shape), None
        loss = jnp.exp(inner) * unit
        return loss - runs.target, loss, loss
    if of.program.ends_in_log:
        inverse = reciprocal(inner)
        return log(inner) - runs.target, inverse, -inverse * inverse
    return inner - runs.target, jnp.ones_like(inner), None


def _losses(of: Residuals, r: Array, w: Array, down: Array, up: Array) -> tuple[Array, Array, Array]:
    """Loss of residuals r (B, n), psi, and w times zone; ends of the zone (B, 1)."""
    if of.rho is None:
        held = jnp.where((r >= -down) & (r <= up), w, 0.0)
        return residual_loss(r, down, up), influence(r, down, up), held
    value, first, second = loss_derivatives(of.rho)(r * reciprocal(up))
    return up * up * value, up * first, w * second


def moments(of: Residuals, theta: Sequence[Array], runs: RunsOfLanes, down: Array, up: Array) -> Moments:
    """Objective, gradient and Hessian at theta (p of (B,)), with zones `down` and `up` (B,)."""
    program = of.program
    size, second = program.size, program.second

    def derivatives(theta: Any, features: Any, shared: Any) -> Any:
        at = (theta, features, shared)
        return (
            program.inner(*at),
            {j: by(*at) for j, by in enumerate(program.first) if by is not None},
            {key: by(*at) for key, by in second.items()},
        )

    inner, first, twice = _each(derivatives, theta, runs)
    r, o1, o2 = _outer(of, inner, runs)
    down, up, w = down[:, None], up[:, None], runs.weights
    loss, psi, held = _losses(of, r, w, down, up)
    pull = w * psi
    along = pull * o1
    outer = held * (o1 * o1)
    if o2 is not None:
        outer = outer + pull * o2
    terms = [w * loss]
    places: dict[Any, int] = {}
    for j, derivative in first.items():
        places[j] = len(terms)
        terms.append(along * derivative)
    for j, derivative in first.items():
        weighted = outer * derivative
        for k, other in first.items():
            if k <= j:
                places[j, k] = len(terms)
                term = weighted * other
                terms.append(term + along * twice[j, k] if (j, k) in twice else term)
    sums = lane_sums(*terms)
    zero = jnp.zeros_like(sums[0])

    def found(key: Any) -> Array:
        return sums[places[key]] if key in places else zero

    lower = {(j, k): found((j, k)) for j in range(size) for k in range(j + 1)}
    return Moments(sums[0], tuple(found(j) for j in range(size)), symmetric(lower))


def slopes(
    of: Residuals,
    theta: Sequence[Array],
    direction: Sequence[Array],
    runs: RunsOfLanes,
    down: Array,
    up: Array,
    probes: tuple[float, ...],
) -> tuple[Array, Vector]:
    """What a step along `direction` meets, with residuals linear in its length.

    Returns:
        sum_i w_i zone_i q_i^2 with q the change of the residual per unit length, (B,), and for every
        probe t the sum of w_i psi(r_i + t q_i) q_i, (B,).
    """

    def along(theta: Any, features: Any, shared: Any, step: Any) -> Any:
        return of.program.change(theta, step, features, shared)

    in_axes = (None, 0, None, None)
    inner, moved = jax.vmap(jax.vmap(along, in_axes=in_axes))(
        tuple(theta), runs.features, runs.shared, tuple(direction)
    )
    r, o1, _ = _outer(of, inner, runs)
    change = moved * o1
    down, up = down[:, None], up[:, None]
    weighted = runs.weights * change
    inside = _losses(of, r, weighted * change, down, up)[2]
    met = (_losses(of, r + t * change, weighted, down, up)[1] for t in probes)
    found = lane_sums(inside, *(weighted * psi for psi in met))
    return found[0], found[1:]
