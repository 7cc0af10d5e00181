"""Predicted losses and optimal allocations of any law, for arrays of fits.

Notation
    theta     fits; (R, p)
    k         ln(C/6) = ln N + ln D, the budget; (q,)
    x         (ln N - ln D)/2 along it: ln N = k/2 + x, ln D = k/2 - x
    ratio     ln(D/N) = -2 x at the optimum; (R, q)

A closed form (`Law.allocation_law`) is used where the law has one. Otherwise x is searched: on a grid over
every plausible ratio, then by bisection on the derivative of the loss (exact, by autodiff) around the lowest
point.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN

if TYPE_CHECKING:
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Floats, Law, Places

_FURTHEST, _GRID = 23.0, 231  # |x|: ratios from e^-46 to e^46, in steps of 0.2
_BISECTIONS = 60
_NONE: Mapping[str, float] = MappingProxyType({})
_FITS = 256  # at a time


def predicted_log_losses(law: Law, theta: Floats, places: Places, constants: Floats) -> Floats:
    """Ln of the loss at `places`, (m,) each, in float64; theta (..., p) to (..., m)."""
    return _in_blocks(_predictor(type(law)), theta, (len(places[0]),), tuple(places), constants)


def log_loss_jacobian(law: Law, theta: Floats, places: Places, constants: Floats) -> Floats:
    """Derivative of `predicted_log_losses` with respect to theta; theta (..., p) to (..., m, p)."""
    shape = (len(places[0]), law.size)
    return _in_blocks(_differentiator(type(law)), theta, shape, tuple(places), constants)


def log_loss_curvature(law: Law, theta: Floats, places: Places, constants: Floats, factors: Floats) -> Floats:
    """Second derivative of sum_i factors_i ln L_i; theta (R, p), factors (R, m) to (R, p, p)."""
    compiled = _twice_differentiated(type(law))
    found = np.empty((len(theta), law.size, law.size))
    with float64_scope():
        for first in range(0, len(theta), _FITS):
            rows = slice(first, min(first + _FITS, len(theta)))
            # Whole blocks, so that another number of fits compiles nothing.
            block = (np.resize(each[rows], (_FITS, each.shape[1])) for each in (theta, factors))
            found[rows] = np.asarray(compiled(*block, tuple(places), constants))[: rows.stop - first]
    return found


@functools.cache
def _twice_differentiated(law: type[Law]) -> Any:
    import jax

    def total(theta: Any, factors: Any, places: Any, constants: Any) -> Any:
        return factors @ jax.vmap(law.log_loss, in_axes=(None, 0, None))(theta, places, constants)

    return jax.jit(jax.vmap(jax.hessian(total), in_axes=(0, 0, None, None)))


def _in_blocks(compiled: Any, theta: Floats, shape: tuple[int, ...], *shared: Any) -> Floats:
    theta = np.asarray(theta, dtype=np.float64)
    rows = theta.reshape(-1, theta.shape[-1])
    found = np.empty((len(rows), *shape))
    with float64_scope():
        for first in range(0, len(rows), _FITS):
            # Whole blocks, so that another number of fits compiles nothing.
            block = np.resize(rows[first : first + _FITS], (_FITS, rows.shape[1]))
            part = slice(first, min(first + _FITS, len(rows)))
            found[part] = np.asarray(compiled(block, *shared))[: part.stop - first]
    return found.reshape(theta.shape[:-1] + shape)


@functools.cache
def _predictor(law: type[Law]) -> Any:
    import jax

    over_runs = jax.vmap(law.log_loss, in_axes=(None, 0, None))
    return jax.jit(jax.vmap(over_runs, in_axes=(0, None, None)))


@functools.cache
def _differentiator(law: type[Law]) -> Any:
    import jax

    over_runs = jax.vmap(jax.jacfwd(law.log_loss), in_axes=(None, 0, None))
    return jax.jit(jax.vmap(over_runs, in_axes=(0, None, None)))


def tokens_per_param(
    law: Law, design: Design, theta: Floats, flops: ArrayLike, variables: Mapping[str, float] = _NONE
) -> Floats:
    """Compute-optimal D/N of fits theta (R, p) at budgets (q,) in FLOP, along C = 6 N D; (R, q).

    +inf where only tokens help, 0 where only parameters do, NaN where there is no optimum.

    Raises:
        UsageError: a budget is not positive and finite, or a variable of the law is missing.
    """
    budgets = positive_array("tokens_per_param: flops", np.atleast_1d(flops))
    theta = np.asarray(theta, dtype=np.float64)
    if not law.has_optimum:
        return np.full((len(theta), len(budgets)), np.nan)
    further = law.further(variables, np.ones(()), budgets / FLOPS_PER_PARAM_TOKEN)
    same = law.allocation_law(theta, design)
    if same is not None:
        return np.asarray(same.tokens_per_param(budgets))
    return searched_tokens_per_param(law, design, theta, budgets, further)


def searched_tokens_per_param(
    law: Law, design: Design, theta: Floats, flops: Floats, further: Places = ()
) -> Floats:
    """The same by search, whatever the law, with further variables (q,) each; (R, q)."""
    search = _searcher(type(law))
    log_nd = np.log(np.asarray(flops, dtype=np.float64)) - math.log(FLOPS_PER_PARAM_TOKEN)
    frame = np.array(
        [design.params_location, design.params_scale, design.tokens_location, design.tokens_scale]
    )
    result = np.empty((len(theta), len(log_nd)))
    with float64_scope():
        for first in range(0, len(theta), _FITS):
            block = np.resize(theta[first : first + _FITS], (_FITS, law.size))
            searched = search(block, log_nd, tuple(further), law.constants(design), frame)
            found, edge = (np.asarray(each) for each in searched)
            kept = slice(0, min(_FITS, len(theta) - first))
            # The lowest loss is at an end of the grid: the optimum is beyond any plausible ratio.
            ratio = np.where(edge < 0, np.inf, np.where(edge > 0, 0.0, np.exp(-2 * found)))
            result[first : first + kept.stop] = ratio[kept]
    result[~np.isfinite(theta).all(axis=1)] = np.nan
    return result


@functools.cache
def _searcher(law: type[Law]) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import Array, lax

    grid = np.linspace(-_FURTHEST, _FURTHEST, _GRID)

    def one(
        theta: Array, k: Array, further: tuple[Array, ...], constants: Array, frame: Array
    ) -> tuple[Array, Array]:
        def loss(x: Array) -> Array:
            u = (k / 2 + x - frame[0]) / frame[1]
            v = (k / 2 - x - frame[2]) / frame[3]
            return law.log_loss(theta, (u, v, *further), constants)

        values = jax.vmap(loss)(jnp.asarray(grid))
        values = jnp.where(jnp.isnan(values), jnp.inf, values)
        lowest = jnp.argmin(values)
        edge = jnp.where(lowest == 0, -1, jnp.where(lowest == _GRID - 1, 1, 0))
        inside = jnp.clip(lowest, 1, _GRID - 2)
        slope = jax.grad(loss)

        def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            rising = slope(middle) > 0
            return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

        low, high = lax.fori_loop(
            0, _BISECTIONS, halve, (jnp.asarray(grid)[inside - 1], jnp.asarray(grid)[inside + 1])
        )
        return 0.5 * (low + high), edge

    over_budgets = jax.vmap(one, in_axes=(None, 0, 0, None, None))
    return jax.jit(jax.vmap(over_budgets, in_axes=(0, None, None, None, None)))
