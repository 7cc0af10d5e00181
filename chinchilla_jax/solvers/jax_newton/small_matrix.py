"""Small symmetric systems, one per lane, solved for several diagonal shifts at once.

LAPACK calls on matrices this small are all overhead. The factorisation is written out as arithmetic on arrays
of lanes, once, with the shifts as an axis that is then reduced to the first usable one: as a reduction with
several results, it is compiled as one loop over the lanes.

Shapes: an entry of a matrix or a vector is (B,), B lanes. No pivoting: only positive definite matrices are of
use here, for which elimination is stable without (Higham 2002, section 10.1).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.solvers.thresholds import LIFT, SINGULAR_PIVOT, SMALLEST_PIVOT, STIFF

# Rows of a symmetric matrix per lane: both (i, j) and (j, i) give the same array (B,).
Symmetric = dict[tuple[int, int], Array]
Vector = tuple[Array, ...]  # an array (B,) for each coordinate


class Systems(NamedTuple):
    """Solutions of one system per lane.

    Attributes:
        form: right' M^-1 right, (B,); `definite` says whether M is positive definite.
        lifted_form: the same just off singular; `lifted_definite` likewise.
        solution: an array (B,) for each row: M^-1 right where M is definite and the lane undamped, elsewhere
            that of a definite matrix near M.
    """

    form: Array
    definite: Array
    lifted_form: Array
    lifted_definite: Array
    solution: Vector


def symmetric(lower: dict[tuple[int, int], Array]) -> Symmetric:
    """The whole matrix from its lower triangle."""
    return lower | {(j, i): entry for (i, j), entry in lower.items()}


def reciprocal(x: Array) -> Array:
    """1 / x of a positive normal x; on CPUs by Newton's iteration from a guess at the bits.

    There XLA holds a division too expensive to recompute and splits a compiled loop at each; this keeps it
    whole. XLA for TPUs has no 64-bit integers to guess with.
    """
    return lax.platform_dependent(x, cpu=_guessed_reciprocal, default=jnp.reciprocal)


def _guessed_reciprocal(x: Array) -> Array:
    double = x.dtype == jnp.float64
    kind, guess, turns = (jnp.int64, 0x7FDE623822FC16E6, 5) if double else (jnp.int32, 0x7EF311C3, 3)
    y = lax.bitcast_convert_type(guess - lax.bitcast_convert_type(x, kind), x.dtype)
    for _ in range(turns):
        y = y * (2.0 - x * y)
    return y


def dot(x: Vector, y: Vector) -> Array:
    """Inner product per lane, (B,)."""
    return sum((p * q for p, q in zip(x[1:], y[1:], strict=True)), start=x[0] * y[0])


def quadratic_form(matrix: Symmetric, x: Vector) -> Array:
    """The form x' M x per lane, (B,)."""
    size = range(len(x))
    rows = (dot(tuple(matrix[i, j] for j in size), x) for i in size)
    return dot(tuple(rows), x)


def solve_shifted(
    matrix: Symmetric, right: Vector, damping: Array, ladder: tuple[float, ...] = ()
) -> Systems:
    """Solve M x = right, and that with pivots made positive and a shift of at least `damping` (B,).

    In between, `ladder` has shifts to try where M is not definite: the first that makes it so is used.
    """
    dtype, size = damping.dtype, len(right)
    last = 2 + len(ladder)
    rung = lax.broadcasted_iota(jnp.int32, (*damping.shape, last + 1), 1)
    wanted = jnp.broadcast_to(damping[:, None], rung.shape)
    shift = jnp.where(rung == 0, 0.0, jnp.where(rung == 1, LIFT, jnp.maximum(wanted, STIFF)))
    for place, least in enumerate(ladder, start=2):
        shift = jnp.where(rung == place, jnp.maximum(wanted, least), shift)
    wide = {key: jnp.broadcast_to(entry[:, None], rung.shape) for key, entry in matrix.items()}
    solution, form, definite = factorise(wide, right, shift.astype(dtype), rung == last)
    usable = (definite & ((wanted == 0) | (rung >= 2))) | (rung == last)
    zero = jnp.zeros_like(form)
    parts = [
        jnp.where(rung == k, x, zero)
        for k in (0, 1)
        for x in (jnp.where(definite, form, zero), definite.astype(dtype))
    ]

    def first_usable(left: tuple[Array, ...], then: tuple[Array, ...]) -> tuple[Array, ...]:
        have = left[0] > 0
        chosen = (jnp.where(have, x, y) for x, y in zip(left[: size + 1], then[: size + 1], strict=True))
        added = (x + y for x, y in zip(left[size + 1 :], then[size + 1 :], strict=True))
        return (*chosen, *added)

    operands = (usable.astype(dtype), *solution, *parts)
    zeros = tuple(jnp.zeros((), dtype) for _ in operands)
    _, *found = lax.reduce(operands, zeros, first_usable, (1,))
    solved, (form, definite, lifted, lifted_definite) = found[:size], found[size:]
    return Systems(form, definite > 0, lifted, lifted_definite > 0, tuple(solved))


def factorise(matrix: Symmetric, right: Vector, shift: Array, modify: Array) -> tuple[Vector, Array, Array]:
    """Solution, right' M^-1 right, and whether every pivot is safely positive, by M = L D L'.

    Where `modify`, pivots are made positive (Gill, Murray & Wright 1981, Practical Optimization, 4.4.2.2).
    """
    tiny, size = jnp.finfo(shift.dtype).tiny, len(right)
    unit: dict[tuple[int, int], Array] = {}
    pivots: list[Array] = []
    inverses: list[Array] = []
    definite = shift >= 0
    for j in range(size):
        diagonal = jnp.abs(matrix[j, j])
        pivot = matrix[j, j] + shift * diagonal
        for k in range(j):
            pivot = pivot - unit[j, k] * unit[j, k] * pivots[k]
        good = pivot > SINGULAR_PIVOT * diagonal
        definite = definite & good
        # A parameter without any effect has a zero row: a step in it is bounded by the caller.
        other = jnp.maximum(jnp.abs(pivot), SMALLEST_PIVOT * diagonal) + tiny
        pivots.append(jnp.where(modify & ~good, other, jnp.where(good, pivot, 1.0)))
        inverses.append(reciprocal(pivots[j]))
        for i in range(j + 1, size):
            left = matrix[i, j]
            for k in range(j):
                left = left - unit[i, k] * unit[j, k] * pivots[k]
            unit[i, j] = left * inverses[j]
    solution: list[Array] = []
    for j in range(size):
        left = jnp.broadcast_to(right[j][:, None], shift.shape)
        for k in range(j):
            left = left - unit[j, k] * solution[k]
        solution.append(left)
    form = jnp.zeros_like(shift)
    for j in range(size):
        scaled = solution[j] * inverses[j]
        form = form + solution[j] * scaled
        solution[j] = scaled
    for j in reversed(range(size)):
        for i in range(j + 1, size):
            solution[j] = solution[j] - unit[i, j] * solution[i]
    return tuple(solution), form, definite & jnp.isfinite(form)
