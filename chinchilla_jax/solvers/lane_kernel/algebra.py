"""Small algebra of one lane in float64: slope coordinates and the 5 x 5 systems.

The coordinates are those of laws/frames.py, here for theta = (a', b', E, alpha', beta'):
    phi = (ln k, b', m, alpha', beta'),  k = A alpha',  m = E + A,  A = exp(a').
With J = d theta / d phi: J_0 = e_0 - A e_2, J_3 = e_3 - J_0 / alpha', and J_1, J_2, J_4 unit vectors. Where
they do not apply, A = 0 and 1 / alpha' = 0 make J the identity. The systems are solved as in
solvers/jax_newton/small_matrix.py.
"""

from __future__ import annotations

import numpy as np

from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger
from chinchilla_jax.solvers.lane_kernel.elementary import exp, log_ratio
from chinchilla_jax.solvers.lane_kernel.shapes import FORM, MODIFY, SHIFT, SIZE, SOLUTION, SOUND, WIDE
from chinchilla_jax.solvers.thresholds import SINGULAR_PIVOT, SMALLEST_EXPONENT, SMALLEST_PIVOT

_TINY = 1e-120  # a pivot where the diagonal is zero: squares of what is divided by it are finite
_FAST = {"contract", "nsz"}


@inner(fastmath=_FAST)
def amplitude_at(theta):
    """A and 1 / alpha' at `theta`, for `coordinates_at`."""
    return exp(theta[0]), 1.0 / theta[3]


@inner(fastmath=_FAST)
def coordinates_at(theta, held, terms):
    """Whether slope coordinates apply at `theta`; if so A and 1 / alpha', else zeros.

    `terms` is what `amplitude_at` gives.
    """
    if theta[3] > SMALLEST_EXPONENT and theta[2] > 0.0 and not held:
        return True, terms[0], terms[1]
    return False, 0.0, 0.0


@inner(fastmath=_FAST)
def pull_back(amplitude, inverse, sums, held, gradient, hessian):
    """Gradient (5,) and lower triangle of the Hessian (5, 5) in phi, from the sums of a pass."""
    g0, g1, g2, g3, g4 = sums[1], sums[2], sums[3], sums[4], sums[5]
    h00 = sums[6]
    h10, h11 = sums[7], sums[8]
    h20, h21, h22 = sums[9], sums[10], sums[11]
    h30, h31, h32, h33 = sums[12], sums[13], sums[14], sums[15]
    h40, h41, h42, h43, h44 = sums[16], sums[17], sums[18], sums[19], sums[20]
    if held:
        g2 = h20 = h21 = h32 = h42 = 0.0
        h22 = 1.0
    of_a = g0 - amplitude * g2
    gradient[0], gradient[1], gradient[2] = of_a, g1, g2
    gradient[3], gradient[4] = g3 - inverse * of_a, g4
    # Rows 0 and 3 of J' H, columns not yet transformed.
    r00, r01, r02 = h00 - amplitude * h20, h10 - amplitude * h21, h20 - amplitude * h22
    r03, r04 = h30 - amplitude * h32, h40 - amplitude * h42
    p00 = r00 - amplitude * r02
    bend = g2 * amplitude
    hessian[0, 0] = p00 - bend
    hessian[1, 0], hessian[1, 1] = r01, h11
    hessian[2, 0], hessian[2, 1], hessian[2, 2] = r02, h21, h22
    hessian[3, 0] = r03 - inverse * p00 + bend * inverse
    hessian[3, 1], hessian[3, 2] = h31 - inverse * r01, h32 - inverse * r02
    hessian[3, 3] = (
        h33 - 2.0 * inverse * r03 + inverse * inverse * p00 + (g0 - 2.0 * bend) * inverse * inverse
    )
    hessian[4, 0], hessian[4, 1], hessian[4, 2] = r04, h41, h42
    hessian[4, 3], hessian[4, 4] = h43 - inverse * r04, h44


@inner(fastmath=_FAST)
def _pivot(value, diagonal, modify):
    """A pivot, made positive if it is not and `modify` says so; and whether it was, safely."""
    good = value > SINGULAR_PIVOT * diagonal
    positive = larger(abs(value), SMALLEST_PIVOT * diagonal + _TINY)
    return positive if modify and not good else value, good


@inner(fastmath=_FAST)
def solve(matrix, right, systems):
    """Solve M x = right for several M: `matrix`, its diagonal entries raised by a shift times their size.

    M = L D L' is written out entry by entry, since LLVM does not unroll loops of growing length and their
    ends are mispredicted. Every operation waits for the one before, so that LLVM's loop over the systems, in
    one vector, takes no longer than a single one. So the inverse of a pivot multiplies products that are
    known before. l is an entry of L, c of L D, and i of the inverse of D.

    Args:
        matrix: its lower triangle, (5, 5).
        right: (5,).
        systems: (N_SYSTEMS, WIDE), a column for each. Rows SHIFT and MODIFY are read: if the second is
            positive, pivots are made so; if not, a pivot that is not makes the solution worthless. Written
            are FORM, right' M^-1 right; SOUND, 1 where every pivot is safely positive, else 0; and from
            SOLUTION on x.
    """
    m00, m10, m20, m30, m40 = matrix[0, 0], matrix[1, 0], matrix[2, 0], matrix[3, 0], matrix[4, 0]
    m11, m21, m31, m41 = matrix[1, 1], matrix[2, 1], matrix[3, 1], matrix[4, 1]
    m22, m32, m42 = matrix[2, 2], matrix[3, 2], matrix[4, 2]
    m33, m43, m44 = matrix[3, 3], matrix[4, 3], matrix[4, 4]
    g0, g1, g2, g3, g4 = right[0], right[1], right[2], right[3], right[4]
    s0, s1, s2, s3, s4 = abs(m00), abs(m11), abs(m22), abs(m33), abs(m44)
    for k in range(np.uint64(WIDE)):
        shift, modify = systems[SHIFT, k], systems[MODIFY, k] > 0.0
        pivot, good0 = _pivot(m00 + shift * s0, s0, modify)
        i0 = 1.0 / pivot
        l10, l20, l30, l40 = m10 * i0, m20 * i0, m30 * i0, m40 * i0
        pivot, good1 = _pivot(m11 + shift * s1 - m10 * m10 * i0, s1, modify)
        i1 = 1.0 / pivot
        c21, c31, c41 = m21 - m20 * m10 * i0, m31 - m30 * m10 * i0, m41 - m40 * m10 * i0
        l21, l31, l41 = c21 * i1, c31 * i1, c41 * i1
        pivot, good2 = _pivot(m22 + shift * s2 - m20 * m20 * i0 - c21 * c21 * i1, s2, modify)
        i2 = 1.0 / pivot
        c32, c42 = m32 - m30 * m20 * i0 - c31 * c21 * i1, m42 - m40 * m20 * i0 - c41 * c21 * i1
        l32, l42 = c32 * i2, c42 * i2
        pivot, good3 = _pivot(m33 + shift * s3 - m30 * m30 * i0 - c31 * c31 * i1 - c32 * c32 * i2, s3, modify)
        i3 = 1.0 / pivot
        c43 = m43 - m40 * m30 * i0 - c41 * c31 * i1 - c42 * c32 * i2
        l43 = c43 * i3
        raised = m44 + shift * s4
        pivot, good4 = _pivot(
            raised - m40 * m40 * i0 - c41 * c41 * i1 - c42 * c42 * i2 - c43 * c43 * i3, s4, modify
        )
        i4 = 1.0 / pivot

        y0 = g0
        y1 = g1 - l10 * y0
        y2 = g2 - l20 * y0 - l21 * y1
        y3 = g3 - l30 * y0 - l31 * y1 - l32 * y2
        y4 = g4 - l40 * y0 - l41 * y1 - l42 * y2 - l43 * y3
        z0, z1, z2, z3, z4 = y0 * i0, y1 * i1, y2 * i2, y3 * i3, y4 * i4
        form = y0 * z0 + y1 * z1 + y2 * z2 + y3 * z3 + y4 * z4
        # What is known last comes last.
        z3 = z3 - l43 * z4
        z2 = z2 - l42 * z4 - l32 * z3
        z1 = z1 - l41 * z4 - l31 * z3 - l21 * z2
        z0 = z0 - l40 * z4 - l30 * z3 - l20 * z2 - l10 * z1
        systems[SOLUTION, k], systems[SOLUTION + 1, k], systems[SOLUTION + 2, k] = z0, z1, z2
        systems[SOLUTION + 3, k], systems[SOLUTION + 4, k] = z3, z4
        systems[FORM, k] = form
        sound = good0 and good1 and good2 and good3 and good4 and abs(form) < np.inf
        systems[SOUND, k] = 1.0 if sound else 0.0


@inner(fastmath=_FAST)
def quadratic_form(matrix, x):
    """The quadratic form x' M x, from the lower triangle of M."""
    x0, x1, x2, x3, x4 = x[0], x[1], x[2], x[3], x[4]
    total = (0.5 * matrix[0, 0] * x0) * x0
    total += (0.5 * matrix[1, 1] * x1 + matrix[1, 0] * x0) * x1
    total += (0.5 * matrix[2, 2] * x2 + matrix[2, 0] * x0 + matrix[2, 1] * x1) * x2
    total += (0.5 * matrix[3, 3] * x3 + matrix[3, 0] * x0 + matrix[3, 1] * x1 + matrix[3, 2] * x2) * x3
    crossed = matrix[4, 0] * x0 + matrix[4, 1] * x1 + matrix[4, 2] * x2 + matrix[4, 3] * x3
    total += (0.5 * matrix[4, 4] * x4 + crossed) * x4
    return 2.0 * total


@inner(fastmath=_FAST)
def push_forward(amplitude, inverse, step, plain):
    """J times a step in phi, into `plain`: the same direction in theta, to first order."""
    of_a = step[0] - inverse * step[3]
    plain[0], plain[1], plain[2] = of_a, step[1], step[2] - amplitude * of_a
    plain[3], plain[4] = step[3], step[4]


@inner(fastmath=_FAST)
def take_step(theta, curved, amplitude, step, length, target):
    """Theta after `length` times `step` in phi, into `target`; E may come out negative.

    `curved` and `amplitude` are those of `coordinates_at` at theta.
    """
    if not curved:
        for j in range(SIZE):
            target[j] = theta[j] + length * step[j]
        return
    alpha = theta[3]
    new_alpha = larger(alpha + length * step[3], 1e-3 * alpha)
    ratio, growth = alpha / new_alpha, length * step[0]
    target[0] = theta[0] + growth + log_ratio(alpha, new_alpha)
    target[1] = theta[1] + length * step[1]
    target[2] = theta[2] + length * step[2] + amplitude * (1.0 - ratio * exp(growth))
    target[3] = new_alpha
    target[4] = theta[4] + length * step[4]
