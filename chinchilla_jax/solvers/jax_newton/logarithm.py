"""Natural logarithm in float64, as arithmetic that vectorises on CPUs.

On the CPU, XLA calls a scalar routine for a float64 log, which alone takes half of a pass over the runs. This
one is a split into exponent and mantissa and a polynomial, a third of the time, and accurate to two units in
the last place (tests/test_newton_parts.py compares it with NumPy). Elsewhere it is `jnp.log`: GPUs have a
fast one, and XLA for TPUs has no 64-bit integers to split with.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array, lax

_BITS_OF_ROOT_HALF = 0x3FE6A09E667F3BCD  # float64 bits of sqrt(1/2)
_MANTISSA_BITS = 52
_SERIES = tuple(2.0 / k for k in range(19, 1, -2))  # 2/19, 2/17, ..., 2/3: of 2 artanh, for |f| < 0.172


def log(x: Array) -> Array:
    """Logarithm of a positive, finite, normal `x`. Other inputs give wrong numbers on CPUs."""
    if x.dtype != jnp.float64:
        return jnp.log(x)
    return lax.platform_dependent(x, cpu=_split_log, default=jnp.log)


def _split_log(x: Array) -> Array:
    bits = lax.bitcast_convert_type(x, jnp.int64)
    power = (bits - _BITS_OF_ROOT_HALF) >> _MANTISSA_BITS
    mantissa = lax.bitcast_convert_type(bits - (power << _MANTISSA_BITS), jnp.float64)
    # ln m = 2 artanh f, with m in [sqrt(1/2), sqrt(2)).
    f = (mantissa - 1.0) / (mantissa + 1.0)
    square = f * f
    series = jnp.full_like(square, _SERIES[0])
    for coefficient in _SERIES[1:]:
        series = series * square + coefficient
    return power.astype(jnp.float64) * math.log(2.0) + (2.0 * f + f * square * series)
