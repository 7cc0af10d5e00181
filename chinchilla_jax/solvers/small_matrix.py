"""5 x 5 symmetric systems, one per lane, solved for several diagonal shifts at once.

LAPACK calls on matrices this small are all overhead, and a fully unrolled factorisation makes XLA fuse and
recompute itself into megabytes of code. Gauss-Jordan elimination as a loop over the five pivots, on arrays
with the lanes in the contiguous axis, is neither: a handful of vector operations per pivot.

Shapes: a matrix is (5, 5, B), a vector (5, B), B lanes. No pivoting: only positive definite matrices are of
use here, for which elimination is stable without (Higham 2002, section 10.1).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

SIZE = 5
# A pivot below this fraction of its diagonal entry counts as zero: the matrix is singular there.
SINGULAR_PIVOT = 1e-11


def dot(x: Array, y: Array) -> Array:
    """Inner product per lane: (5, B), (5, B) to (B,)."""
    return jnp.sum(x * y, axis=0)


def quadratic_form(matrix: Array, x: Array) -> Array:
    """X' M x per lane: (5, 5, B), (5, B) to (B,)."""
    return jnp.sum(matrix * x[:, None] * x[None, :], axis=(0, 1))


class Rungs(NamedTuple):
    """Solutions of one system under growing diagonal shifts: (rungs, 5, B) and (rungs, B)."""

    solution: Array
    form: Array  # right' (M + shift)^-1 right
    definite: Array  # every pivot safely positive; the solution means nothing elsewhere


def solve_shifted(matrix: Array, right: Array, shifts: Array) -> Rungs:
    """Solve (M + shift |diag M|) x = right for each of `shifts` (rungs, B)."""
    diagonal = jnp.abs(jnp.stack([matrix[j, j] for j in range(SIZE)]))
    eye = jnp.eye(SIZE, dtype=matrix.dtype)[None, :, :, None]
    # A parameter without any effect has a zero row: only a shift of the size of the others lifts it.
    largest = jnp.max(diagonal, axis=0)
    lift = jnp.where(diagonal > jnp.finfo(matrix.dtype).eps * largest, diagonal, largest)
    shifted = matrix[None] + eye * (shifts[:, None, :] * lift[None])[:, :, None, :]
    rhs = jnp.broadcast_to(right[None, :, None, :], (*shifted.shape[:2], 1, right.shape[-1]))
    tableau = jnp.concatenate([shifted, rhs], axis=2)  # (rungs, 5, 6, B)
    tiny = jnp.finfo(matrix.dtype).tiny

    def eliminate(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        table, definite = carry
        row = lax.dynamic_index_in_dim(table, k, axis=1, keepdims=False)
        column = lax.dynamic_index_in_dim(table, k, axis=2, keepdims=False)
        pivot = lax.dynamic_index_in_dim(row, k, axis=1, keepdims=False)
        size = lax.dynamic_index_in_dim(diagonal, k, axis=0, keepdims=False)
        good = pivot > SINGULAR_PIVOT * size
        row = row / jnp.where(good, pivot, size + tiny)[:, None, :]
        is_pivot_row = (jnp.arange(SIZE) == k)[None, :, None, None]
        table = jnp.where(is_pivot_row, row[:, None], table - column[:, :, None] * row[:, None])
        return table, definite & good

    definite = jnp.ones(shifts.shape, bool)
    tableau, definite = lax.fori_loop(0, SIZE, eliminate, (tableau, definite))
    solution = tableau[:, :, SIZE]
    form = jnp.sum(solution * right[None], axis=1)
    return Rungs(solution, form, definite & jnp.isfinite(form))


def lowest_definite(rungs: Rungs, matrix: Array, right: Array) -> Array:
    """Per lane the solution of the first definite rung (5, B); past the last, a bounded diagonal step."""
    diagonal = jnp.abs(jnp.stack([matrix[j, j] for j in range(SIZE)]))
    chosen = right / (diagonal + jnp.abs(right) + jnp.finfo(right.dtype).tiny)
    for rung in reversed(range(len(rungs.form))):
        chosen = jnp.where(rungs.definite[rung], rungs.solution[rung], chosen)
    return chosen
