"""Powers of two and logarithms as plain arithmetic, which LLVM turns into vector instructions.

A call into the mathematical library keeps a loop scalar, at a quarter of the speed in float64 and an eighth
in float32. These functions are correct to two units in the last place in the range a fit can use; beyond it
the power saturates. tests/test_lane_kernel.py compares both with NumPy.

Method: x = k + r with k whole and |r| <= 1/2, which is exact; 2^r = 1 + r q(r), and k is added to the
exponent bits. The logarithm reverses this: ln m = 2 artanh f = 2 f + f^3 p(f^2), f = (m - 1) / (m + 1), for
the mantissa m in [sqrt(1/2), sqrt(2)). The coefficients of q and p interpolate (2^r - 1) / r on [-1/2, 1/2]
and (2 artanh f - 2 f) / f^3 on |f| < 0.1716 at Chebyshev points, computed with sixty digits; the truncation
error is below 1e-17 of the result in float64 and 4e-9 in float32.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger, smaller

# No reordering: it would cancel the additions that round to a whole number.
_EXACT = {"contract"}

_F64_ROUND = 1.5 * 2.0**52  # adding it leaves a whole number in the low bits
_F64_Q = (
    0.6931471805599453, 0.24022650695910097, 0.0555041086648216, 0.009618129107606888, 0.0013333558146416936,
    0.0001540353044173605, 1.525273382983612e-05, 1.321544258792169e-06, 1.0178062445845774e-07,
    7.072585949269223e-09, 4.4549605981865186e-10,
)  # fmt: skip
_F64_P = (
    0.666666666666667, 0.39999999999899505, 0.28571428625975487, 0.2222221113479508, 0.18182889125261723,
    0.15331721600556042, 0.14616449685043406,
)  # fmt: skip
_F64_LARGEST_F = 0.1715  # of a mantissa
_F64_LEAST, _F64_MOST = -1010.0, 1010.0
_F64_ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)
_F64_BIAS = np.uint64(1023 << 52)
_F64_WHOLE = np.uint64(0x4330000000000000)  # bits of 2^52: or-ed with a whole number, those of 2^52 plus it
_F64_SHIFT = np.uint64(52)
_F64_POWER = 2.0**52 + 1023.0

LOG2_E = 1.4426950408889634

_f32 = np.float32
_F32_ROUND = _f32(1.5 * 2.0**23)
_F32_LEAST, _F32_MOST = _f32(-124.0), _f32(127.0)
_F32_Q = tuple(
    _f32(c)
    for c in (
        0.6931471880262288, 0.24022650760568126, 0.05550357114219078, 0.009618082557277852,
        0.0013390863364671234, 0.0001545316294512069,
    )
)  # fmt: skip
_F32_P = tuple(_f32(c) for c in (0.6666668503957586, 0.3998878056602198, 0.2957994939197279))
_F32_TWO, _F32_ONE = _f32(2.0), _f32(1.0)
_F32_ROOT_HALF, _F32_SHIFT = 0x3F3504F3, 23
_I32 = ir.IntType(32)
_F32_LN2 = _f32(math.log(2.0))


def _bitcast(result: types.Type, argument: types.Type, kind: ir.Type):
    @intrinsic
    def cast(typing_context, value):
        def generate(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], kind)

        return result(argument), generate

    return cast


_bits64 = _bitcast(types.uint64, types.float64, ir.IntType(64))
_real64 = _bitcast(types.float64, types.uint64, ir.DoubleType())


@intrinsic
def _scale32(typing_context, x, rounded):
    """`x` times two to the power in the low bits of `rounded`; Numba would widen the integers to 64 bits."""

    def generate(context, builder, signature, arguments):
        x, rounded = (builder.bitcast(argument, _I32) for argument in arguments)
        return builder.bitcast(builder.add(x, builder.shl(rounded, _I32(_F32_SHIFT))), ir.FloatType())

    return types.float32(types.float32, types.float32), generate


@intrinsic
def _power32(typing_context, x):
    """Exponent of `x` for a mantissa in [sqrt(1/2), sqrt(2)), as a whole float32."""

    def generate(context, builder, signature, arguments):
        bits = builder.sub(builder.bitcast(arguments[0], _I32), _I32(_F32_ROOT_HALF))
        return builder.sitofp(builder.ashr(bits, _I32(_F32_SHIFT)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def _mantissa32(typing_context, x):
    """Mantissa of `x` in [sqrt(1/2), sqrt(2))."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], _I32)
        power = builder.ashr(builder.sub(bits, _I32(_F32_ROOT_HALF)), _I32(_F32_SHIFT))
        return builder.bitcast(builder.sub(bits, builder.shl(power, _I32(_F32_SHIFT))), ir.FloatType())

    return types.float32(types.float32), generate


@inner(fastmath=_EXACT)
def _exp2_64(x):
    x = smaller(larger(x, _F64_LEAST), _F64_MOST)
    rounded = x + _F64_ROUND
    r = x - (rounded - _F64_ROUND)
    # Even and odd terms apart: two short chains of dependent operations in place of a long one.
    square = r * r
    q = _F64_Q
    even = ((((q[10] * square + q[8]) * square + q[6]) * square + q[4]) * square + q[2]) * square + q[0]
    odd = (((q[9] * square + q[7]) * square + q[5]) * square + q[3]) * square + q[1]
    series = (odd * r + even) * r + 1.0
    return _real64(_bits64(series) + (_bits64(rounded) << _F64_SHIFT))


@inner(fastmath=_EXACT)
def _twice_artanh64(f):
    """2 artanh f, where abs(f) is that of a mantissa."""
    square = f * f
    fourth = square * square
    p = _F64_P
    even = ((p[6] * fourth + p[4]) * fourth + p[2]) * fourth + p[0]
    odd = (p[5] * fourth + p[3]) * fourth + p[1]
    return 2.0 * f + f * square * (odd * square + even)


@inner(fastmath=_EXACT)
def _log64(x):
    bits = _bits64(x)
    # AVX2 can neither shift signed 64-bit numbers arithmetically nor convert them: hence unsigned, and an or.
    power = (bits - _F64_ROOT_HALF + _F64_BIAS) >> _F64_SHIFT
    mantissa = _real64(bits - (power << _F64_SHIFT) + _F64_BIAS)
    whole = _real64(power | _F64_WHOLE) - _F64_POWER
    return whole * 0.6931471805599453 + _twice_artanh64((mantissa - 1.0) / (mantissa + 1.0))


@inner(fastmath=_EXACT)
def _exp2_32(x):
    x = smaller(larger(x, _F32_LEAST), _F32_MOST)
    rounded = x + _F32_ROUND
    r = x - (rounded - _F32_ROUND)
    # One chain: it takes an operation less, and vectors of many runs hide how long it is.
    q = _F32_Q
    series = ((((q[5] * r + q[4]) * r + q[3]) * r + q[2]) * r + q[1]) * r + q[0]
    return _scale32(series * r + _F32_ONE, rounded)


@inner(fastmath=_EXACT)
def _log32(x):
    mantissa = _mantissa32(x)
    f = (mantissa - _F32_ONE) / (mantissa + _F32_ONE)
    square = f * f
    p = _F32_P
    series = (p[2] * square + p[1]) * square + p[0]
    return _power32(x) * _F32_LN2 + (_F32_TWO * f + f * square * series)


def exp2(x):
    """2^x of a float32 or float64 scalar, saturating where it would overflow; for compiled code only."""
    raise NotImplementedError


def log(x):
    """Natural logarithm of a positive, finite, normal float32 or float64 scalar; for compiled code only."""
    raise NotImplementedError


@overload(exp2)
def _exp2(x):
    return (lambda x: _exp2_32(x)) if x == types.float32 else (lambda x: _exp2_64(x))


@overload(log)
def _log(x):
    return (lambda x: _log32(x)) if x == types.float32 else (lambda x: _log64(x))


@inner()
def exp(x):
    """e^x of a float64 scalar, to a few units in the last place."""
    return _exp2_64(x * LOG2_E)


@inner(fastmath=_EXACT)
def log_ratio(x, y):
    """ln(x / y) of positive float64 scalars; near each other, without waiting for a quotient first."""
    f = (x - y) / (x + y)
    return _twice_artanh64(f) if abs(f) < _F64_LARGEST_F else _log64(x / y)
