"""Small algebra of one lane in float64: slope coordinates and the 5 x 5 systems.

The formulas and constants are those of solvers/slope_coordinates.py and solvers/small_matrix.py, where they
are derived; here they are loops over small arrays, because one lane has no batch to spread over.
"""

from __future__ import annotations

import math

import numpy as np

from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger
from chinchilla_jax.solvers.lane_kernel.elementary import exp, log
from chinchilla_jax.solvers.lane_kernel.shapes import SIZE
from chinchilla_jax.solvers.thresholds import SINGULAR_PIVOT, SMALLEST_EXPONENT, SMALLEST_PIVOT

_TINY = float(np.finfo(np.float64).tiny)
_FAST = {"contract", "nsz"}


@inner(fastmath=_FAST)
def frame(theta, held):
    """Whether slope coordinates apply at `theta`, and then A and 1 / alpha', else zeros."""
    if theta[3] > SMALLEST_EXPONENT and theta[2] > 0.0 and not held:
        return True, exp(theta[0]), 1.0 / theta[3]
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
def factorise(matrix, right, shift, modify, unit, solution):
    """Solve M x = right into `solution`; right' M^-1 right, and whether every pivot is safely positive.

    M is `matrix` (its lower triangle) with each diagonal entry raised by `shift` of its size. With `modify`,
    pivots are made positive; without it the first bad one ends the work. `unit` (5, 5) is scratch: L of
    M = L D L' below the diagonal, 1 / D on it, and (L D)' above.
    """
    definite = True
    for j in range(SIZE):
        diagonal = abs(matrix[j, j])
        pivot = matrix[j, j] + shift * diagonal
        for k in range(j):
            pivot -= unit[j, k] * unit[k, j]
        if not pivot > SINGULAR_PIVOT * diagonal:
            definite = False
            if not modify:
                return 0.0, False
            pivot = larger(abs(pivot), SMALLEST_PIVOT * diagonal) + _TINY
        inverse = 1.0 / pivot
        unit[j, j] = inverse
        for i in range(j + 1, SIZE):
            left = matrix[i, j]
            for k in range(j):
                left -= unit[i, k] * unit[k, j]
            unit[j, i] = left
            unit[i, j] = left * inverse
    form = 0.0
    for j in range(SIZE):
        left = right[j]
        for k in range(j):
            left -= unit[j, k] * solution[k]
        solution[j] = left
    for j in range(SIZE):
        scaled = solution[j] * unit[j, j]
        form += solution[j] * scaled
        solution[j] = scaled
    for j in range(SIZE - 1, -1, -1):
        for i in range(j + 1, SIZE):
            solution[j] -= unit[i, j] * solution[i]
    return form, definite and math.isfinite(form)


@inner(fastmath=_FAST)
def quadratic_form(matrix, x):
    """X' M x, from the lower triangle."""
    total = 0.0
    for i in range(SIZE):
        row = 0.5 * matrix[i, i] * x[i]
        for j in range(i):
            row += matrix[i, j] * x[j]
        total += row * x[i]
    return 2.0 * total


@inner(fastmath=_FAST)
def push_forward(amplitude, inverse, step, plain):
    """J times a step in phi, into `plain`: the same direction in theta, to first order."""
    of_a = step[0] - inverse * step[3]
    plain[0], plain[1], plain[2] = of_a, step[1], step[2] - amplitude * of_a
    plain[3], plain[4] = step[3], step[4]


@inner(fastmath=_FAST)
def move(theta, curved, amplitude, step, length, target):
    """Theta after `length` times `step` in phi, into `target`; E may come out negative.

    `curved` and `amplitude` are those of `frame` at theta.
    """
    if not curved:
        for j in range(SIZE):
            target[j] = theta[j] + length * step[j]
        return
    alpha = theta[3]
    new_alpha = larger(alpha + length * step[3], 1e-3 * alpha)
    ratio, growth = alpha / new_alpha, length * step[0]
    target[0] = theta[0] + growth + log(ratio)
    target[1] = theta[1] + length * step[1]
    target[2] = theta[2] + length * step[2] + amplitude * (1.0 - ratio * exp(growth))
    target[3] = new_alpha
    target[4] = theta[4] + length * step[4]
