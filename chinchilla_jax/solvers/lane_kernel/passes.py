"""The passes over the runs of a lane, in float32 or float64: terms of every run, sums, slopes along a step.

Notation (one lane, n runs; theta as in laws/chinchilla.py; u, v, y as in laws/design.py)
    S              exp(a' - alpha' u) + exp(b' - beta' v) + E, predicted loss; (n,)
    residual       r = ln S - y; (n,)
    share_params   s = exp(a' - alpha' u) / S, share of the parameter term; (n,)
    share_tokens   t = exp(b' - beta' v) / S, share of the token term; (n,)
    inverse        i = 1 / S; (n,)
    influence      psi = clip(r, -width, width), derivative of the Huber loss; (n,)
    zone           1 where |r| <= width, second derivative of the Huber loss; (n,)

The gradient of r is (s, t, i, -u s, -v t). Since S is a sum of exponentials, the Hessian of r is
diag(s, t, 0) - (s, t, i)(s, t, i)' in (a', b', E), with powers of -u and -v for the exponents.

Exponentials and logarithms have a loop of their own, whose results stay in the first-level cache: in one loop
with the sums, the processor could not look far enough ahead to hide their latency, and a line search would
repeat them.

A lane's runs are the distinct ones of its resample, padded with runs of weight zero, in one flat array of
blocks; a block is ten rows of `ROW` runs each: u, v, y, weight, then residual, s, t, inverse, and two that
`moments` and `slopes` work in. In one array with constant distances LLVM can see that loads and stores do not
overlap.
"""

from __future__ import annotations

import numpy as np

from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger, smaller
from chinchilla_jax.solvers.lane_kernel.elementary import LOG2_E, exp2, log
from chinchilla_jax.solvers.lane_kernel.shapes import BLOCK, PAD, ROW, ROWS

# Sums may be reordered, or they stay scalar. NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "arcp", "nsz"}
_TERMS = {"contract"}
_HALF, _THIRD, _FIFTH, _TWENTY_FOURTH = 0.5, 1.0 / 3.0, 0.2, 1.0 / 24.0
_NEAR = 1e-3  # relative change of the terms up to which the series of `advance` are exact to rounding
# Unsigned: a signed index could be negative, counting from the end, and checking for that keeps a loop
# scalar.
_U, _V, _Y, _W, _R, _S, _T, _I, _PULL, _OUTER = (np.uint64(ROW * row) for row in range(ROWS))
_Q = _PULL  # the sums are taken before the line search


@inner()
def _places(block, count):
    """Places of a block's runs in its first row."""
    return range(np.uint64(ROWS * block), np.uint64(ROWS * block + smaller(ROW, count - block)))


@inner(fastmath=_TERMS)
def evaluate(theta, runs, count):
    """Residual, shares s and t, and inverse loss of every run at `theta` (5,), into their rows."""
    real = runs.dtype.type
    a, b, e, one = real(LOG2_E * theta[0]), real(LOG2_E * theta[1]), real(theta[2]), real(1.0)
    alpha, beta = real(LOG2_E * theta[3]), real(LOG2_E * theta[4])
    for block in range(0, count, ROW):
        # Three loops, each short enough for the processor to look several runs ahead.
        for i in _places(block, count):
            runs[i + _S] = exp2(a - alpha * runs[i + _U])
        for i in _places(block, count):
            runs[i + _T] = exp2(b - beta * runs[i + _V])
        for i in _places(block, count):
            p, q = runs[i + _S], runs[i + _T]
            loss = p + q + e
            inverse = one / loss
            runs[i + _R] = log(loss) - runs[i + _Y]
            runs[i + _S] = p * inverse
            runs[i + _T] = q * inverse
            runs[i + _I] = inverse


@inner(fastmath=_SUMS)
def advance(change, runs, count):
    """Move evaluated float64 runs from theta to theta + `change` (5,) by series, at a third of the work.

    Returns:
        Whether the change was small enough to be exact to rounding; if not, the rows must be evaluated again.
    """
    da, db, de, dalpha, dbeta = change[0], change[1], change[2], change[3], change[4]
    sizes = 0.0
    for block in range(0, count, ROW):
        for i in _places(block, count):
            s, t, inverse = runs[i + _S], runs[i + _T], runs[i + _I]
            x, y = da - dalpha * runs[i + _U], db - dbeta * runs[i + _V]
            # e^x - 1 and e^y - 1, to the fourth power.
            of_s = s * x * (1.0 + x * (_HALF + x * (_THIRD * _HALF + x * _TWENTY_FOURTH)))
            of_t = t * y * (1.0 + y * (_HALF + y * (_THIRD * _HALF + y * _TWENTY_FOURTH)))
            growth = of_s + of_t + de * inverse
            sizes += x * x + y * y + growth * growth
            factor = 1.0 / (1.0 + growth)
            series = 1.0 - growth * (_HALF - growth * (_THIRD - growth * (_HALF * _HALF - growth * _FIFTH)))
            runs[i + _R] += growth * series
            runs[i + _S] = (s + of_s) * factor
            runs[i + _T] = (t + of_t) * factor
            runs[i + _I] = inverse * factor
    return sizes < _NEAR * _NEAR


@inner(fastmath=_SUMS)
def moments(runs, count, width, sums):
    """Objective, gradient (5), Hessian (lower triangle, by rows) of evaluated runs into `sums` (21,)."""
    real = runs.dtype.type
    width = real(width)
    zero, half = real(0.0), real(0.5)
    value = g0 = g1 = g2 = g3 = g4 = zero
    aa = aa_u = aa_uu = bb = bb_v = bb_vv = ab = ab_u = ab_v = ab_uv = ae = ae_u = be = be_v = ee = zero
    for block in range(0, count, ROW):
        # Two loops: 21 sums do not fit into the registers at once.
        for i in _places(block, count):
            v, w, r = runs[i + _V], runs[i + _W], runs[i + _R]
            t, inverse = runs[i + _T], runs[i + _I]
            influence = smaller(larger(r, -width), width)
            pull = w * influence
            outer = (w if influence == r else zero) - pull
            runs[i + _PULL], runs[i + _OUTER] = pull, outer
            pull_t, outer_t, outer_i = pull * t, outer * t, outer * inverse
            tt = outer_t * t + pull_t
            ti, tt_v = outer_t * inverse, tt * v
            value += pull * (r - half * influence)
            g1 += pull_t
            g2 += pull * inverse
            g4 += pull_t * v
            bb += tt
            bb_v += tt_v
            bb_vv += tt_v * v
            be += ti
            be_v += ti * v
            ee += outer_i * inverse
        for i in _places(block, count):
            u, v, pull, outer = runs[i + _U], runs[i + _V], runs[i + _PULL], runs[i + _OUTER]
            s, t, inverse = runs[i + _S], runs[i + _T], runs[i + _I]
            pull_s, outer_s = pull * s, outer * s
            ss, st, si = outer_s * s + pull_s, outer_s * t, outer_s * inverse
            ss_u, st_u = ss * u, st * u
            g0 += pull_s
            g3 += pull_s * u
            aa += ss
            aa_u += ss_u
            aa_uu += ss_u * u
            ab += st
            ab_u += st_u
            ab_v += st * v
            ab_uv += st_u * v
            ae += si
            ae_u += si * u
    sums[0] = value
    sums[1], sums[2], sums[3], sums[4], sums[5] = g0, g1, g2, -g3, -g4
    sums[6] = aa
    sums[7], sums[8] = ab, bb
    sums[9], sums[10], sums[11] = ae, be, ee
    sums[12], sums[13], sums[14], sums[15] = -aa_u, -ab_u, -ae_u, aa_uu
    sums[16], sums[17], sums[18], sums[19], sums[20] = -ab_v, -bb_v, -be_v, ab_uv, bb_vv


@inner(fastmath=_SUMS)
def slopes(step, lengths, runs, count, width):
    """Slopes of the objective at two lengths along `step` (5,), residuals being linear.

    The change of every residual per unit length, q, goes into its row for `more_slopes`.

    Returns:
        sum_i w_i zone_i q_i^2, and the slopes.
    """
    real = runs.dtype.type
    width, zero = real(width), real(0.0)
    da, db, de = real(step[0]), real(step[1]), real(step[2])
    dalpha, dbeta = real(step[3]), real(step[4])
    first, second = real(lengths[0]), real(lengths[1])
    at_first = at_second = inside = zero
    for block in range(0, count, ROW):
        for i in _places(block, count):
            r = runs[i + _R]
            change = runs[i + _S] * (da - runs[i + _U] * dalpha)
            change += runs[i + _T] * (db - runs[i + _V] * dbeta) + runs[i + _I] * de
            runs[i + _Q] = change
            weighted = runs[i + _W] * change
            inside += weighted * change if abs(r) <= width else zero
            at_first += weighted * smaller(larger(r + first * change, -width), width)
            at_second += weighted * smaller(larger(r + second * change, -width), width)
    return float(inside), float(at_first), float(at_second)


@inner(fastmath=_SUMS)
def more_slopes(lengths, runs, count, width):
    """Slopes at three more lengths along the same step."""
    real = runs.dtype.type
    width = real(width)
    first, second, third = real(lengths[0]), real(lengths[1]), real(lengths[2])
    at_first = at_second = at_third = real(0.0)
    for block in range(0, count, ROW):
        for i in _places(block, count):
            r, change = runs[i + _R], runs[i + _Q]
            weighted = runs[i + _W] * change
            at_first += weighted * smaller(larger(r + first * change, -width), width)
            at_second += weighted * smaller(larger(r + second * change, -width), width)
            at_third += weighted * smaller(larger(r + third * change, -width), width)
    return float(at_first), float(at_second), float(at_third)


@inner()
def pack(columns, weights, index, runs, runs32):
    """Pack the runs whose weight (n,) is not zero, in both precisions; `index` (n,) is scratch.

    Returns:
        Their number, padded to a multiple of `PAD`.
    """
    count = 0
    for i in range(np.uint64(len(weights))):
        # No branch, which would be mispredicted for every third run: a run of weight zero is overwritten.
        index[np.uint64(count)] = i
        count += weights[i] != 0
    for block in range(0, count, ROW):
        for k in range(np.uint64(smaller(ROW, count - block))):
            i, at = np.uint64(index[np.uint64(block) + k]), np.uint64(ROWS * block) + k
            runs[at + _U], runs[at + _V], runs[at + _Y] = columns[0, i], columns[1, i], columns[2, i]
            runs[at + _W] = weights[i]
    while count % PAD != 0:
        at = count // ROW * BLOCK + count % ROW
        for column in range(4):
            runs[at + column * ROW] = 0.0
        count += 1
    for block in range(0, count, ROW):
        for i in _places(block, count):
            runs32[i + _U], runs32[i + _V] = runs[i + _U], runs[i + _V]
            runs32[i + _Y], runs32[i + _W] = runs[i + _Y], runs[i + _W]
    return count


@inner(fastmath=_SUMS)
def sum_of(weights):
    """Sum of the weights (n,)."""
    total = 0.0
    for i in range(np.uint64(len(weights))):
        total += weights[i]
    return total
