"""Predicted losses of any law and their derivatives, for arrays of fits theta (R, p)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import accelerated
from chinchilla_jax._util.float64 import float64_scope

if TYPE_CHECKING:
    from chinchilla_jax.laws.law import Floats, Law, Places

_FITS = 256  # at a time
_FITS_OF_MANY, _MANY = 32, 64  # of so many places on a host: a single fit is padded to these
_FITS_OF_FEW = 64  # second derivatives at fewer places: p times as much work for each fit


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
    length = _FITS if accelerated() else _FITS_OF_MANY if len(places[0]) >= _MANY else _FITS_OF_FEW
    with float64_scope():
        for first in range(0, len(theta), length):
            rows = slice(first, min(first + length, len(theta)))
            # Whole blocks, so that another number of fits compiles nothing.
            block = (np.resize(each[rows], (length, each.shape[1])) for each in (theta, factors))
            found[rows] = np.asarray(compiled(*block, tuple(places), constants))[: rows.stop - first]
    return found


@functools.cache
def _twice_differentiated(law: type[Law]) -> Any:
    import jax

    def total(theta: Any, factors: Any, places: Any, constants: Any) -> Any:
        return factors @ jax.vmap(law.log_loss, in_axes=(None, 0, None))(theta, places, constants)

    # Forward, as everywhere: backward, a branch of jnp.where that is not taken can make a NaN of it.
    second = jax.jacfwd(jax.jacfwd(total))
    return jax.jit(jax.vmap(second, in_axes=(0, 0, None, None)))


def paired_log_losses(law: Law, theta: Floats, places: Places, constants: Floats) -> Floats:
    """Ln of the loss of each fit at its own place; theta (R, p), places (R,) each, to (R,)."""
    compiled = _pair_predictor(type(law))
    found = np.empty(len(theta))
    with float64_scope():
        for first in range(0, len(theta), _FITS):
            rows = slice(first, min(first + _FITS, len(theta)))
            # Whole blocks, so that another number of fits compiles nothing.
            block = np.resize(theta[rows], (_FITS, theta.shape[1]))
            place = tuple(np.resize(each[rows], _FITS) for each in places)
            found[rows] = np.asarray(compiled(block, place, constants))[: rows.stop - first]
    return found


@functools.cache
def _pair_predictor(law: type[Law]) -> Any:
    import jax

    return jax.jit(jax.vmap(law.log_loss, in_axes=(0, 0, None)))


def _in_blocks(compiled: Any, theta: Floats, shape: tuple[int, ...], *shared: Any) -> Floats:
    theta = np.asarray(theta, dtype=np.float64)
    rows = theta.reshape(-1, theta.shape[-1])
    found = np.empty((len(rows), *shape))
    length = _FITS_OF_MANY if shape[0] >= _MANY and not accelerated() else _FITS
    with float64_scope():
        for first in range(0, len(rows), length):
            # Whole blocks, so that another number of fits compiles nothing.
            block = np.resize(rows[first : first + length], (length, rows.shape[1]))
            part = slice(first, min(first + length, len(rows)))
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
