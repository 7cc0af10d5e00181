"""Order statistics of many lines at many places, as in intervals/line_order.py, by halving.

Notation
    slope, intercept  of each line, finite; (n,)
    x                 places, rising; (k,)
    ranks             rising, 0 for the lowest of the n values at a place
    group             neighbouring ranks r0 to r1, such as those between which a quantile lies

The places of a group are halved again and again. At both ends of a stretch the order statistics are known,
and chords are drawn from end to end, some ranks below and above them. A line that is below the lower chord at
both ends, or above the upper one, is so in between, and is dropped from there on. At the place in the middle
the other lines are evaluated, and only values between the chords of all stretches around it are put in order.
If the ranks are not among these, all lines are evaluated there: chords are guesses, and no guess changes a
number. A value is slope * x + intercept, rounded twice, as in NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger, smaller
from chinchilla_jax.solvers.lane_kernel.shapes import DEPTH as _DEPTH

_FEW = 12  # numbers that are sorted by insertion
_APART = 8  # ranks between an order statistic and what a chord is drawn through, more where lines are many
_SAMPLE = 256  # of the lines, by which the values among all of them are guessed
_ERRS = 12  # ranks in the sample that the guess may be wrong by
_WORTH = 5  # places from end to end of a stretch from which on dropping lines pays
_EPSILON = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)


@inner()
def _sort_between(values, count, low, high, stack):
    """Reorder values[:count] so that the places `low` to `high` hold what they would if all were sorted."""
    top, start, stop = 0, 0, count
    seed = np.uint32(1)
    while True:
        if stop <= low or start > high or stop - start <= _FEW:
            if stop > low and start <= high:
                for i in range(start + 1, stop):
                    value, j = values[i], i
                    while j > start and values[j - 1] > value:
                        values[j] = values[j - 1]
                        j -= 1
                    values[j] = value
            if top == 0:
                return
            top -= 1
            start, stop = stack[top, 0], stack[top, 1]
            continue
        # The middle one of three anywhere: no order of the values makes this slow again and again.
        seed = np.uint32(np.uint32(seed * np.uint32(1664525)) + np.uint32(1013904223))
        step = (stop - start - 1) // 3
        place = start + np.int64(np.uint64(seed) * np.uint64(step) >> np.uint64(32))
        first, second, third = values[place], values[place + step], values[place + 2 * step]
        pivot = larger(smaller(first, second), smaller(larger(first, second), third))
        i, j = start, stop - 1
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        # The longer part waits, so that few do.
        if j + 1 - start > stop - i:
            stack[top, 0], stack[top, 1], start = start, j + 1, i
        else:
            stack[top, 0], stack[top, 1], stop = i, stop, j + 1
        top += 1


@inner()
def _select(values, others, count, low, high, stack):
    """Find the places `low` to `high` in the order of values[:count], which are reordered.

    Returns how many places lie before the part with them, which begins at values[0]; and how far apart
    neighbours in the order are there.
    """
    below = 0
    while count > _FEW:
        first, second, third = values[0], values[count // 2], values[count - 1]
        pivot = larger(smaller(first, second), smaller(larger(first, second), third))
        under, over = np.uint64(0), np.uint64(0)
        for i in range(np.uint64(count)):  # no branch depends on a value
            value = values[i]
            values[under], others[over] = value, value
            less = np.uint64(value < pivot)
            under += less
            over += np.uint64(1) - less
        part = np.int64(under)
        if high < below + part:
            count = part
            continue
        to = np.uint64(0) if 0 < part <= low - below else under
        for i in range(over):
            values[to + i] = others[i]
        if to > np.uint64(0) or part == 0:  # places on both sides, or equal values
            break
        below, count = below + part, count - part
    first, last = max(low - below - _APART, 0), min(high - below + _APART, count - 1)
    _sort_between(values, count, first, last, stack)
    return below, (values[last] - values[first]) / max(last - first, 1)


@inner()
def _collect(slope, intercept, first, size, x, low, high, values):
    """How many of these lines are below `low` at x, and how many from there to `high`; these in `values`.

    `low` is not above `high`.
    """
    below, count = np.uint64(0), np.uint64(0)
    for i in range(np.uint64(first), np.uint64(first + size)):
        value = slope[i] * x + intercept[i]
        values[count] = value
        under = np.uint64(value < low)
        below += under
        count += np.uint64(value <= high) - under
    return np.int64(below), np.int64(count)


@inner()
def _drop(slope, intercept, first, size, into, x0, x1, low0, low1, high0, high1):
    """Copy the lines that may matter between x0 and x1 to place `into`; how many, and how many are below.

    A line may matter unless it is below `low` at both ends or above `high` at both.
    """
    end, below = np.uint64(into), np.uint64(0)
    for i in range(np.uint64(first), np.uint64(first + size)):
        s, b = slope[i], intercept[i]
        at0, at1 = s * x0 + b, s * x1 + b
        slope[end], intercept[end] = s, b
        under = np.uint64(at0 < low0) & np.uint64(at1 < low1)
        below += under
        end += np.uint64(1) - (under | (np.uint64(at0 > high0) & np.uint64(at1 > high1)))
    return np.int64(end) - into, np.int64(below)


@inner()
def _guess(slope, intercept, n, x, r0, r1, values, others, stack):
    """Values between which those of the ranks r0 to r1 at x probably lie, from a sample of the lines."""
    step = n // _SAMPLE
    count = n // step
    first, last = r0 // step - _ERRS, r1 // step + _ERRS
    low, high = -math.inf, math.inf
    if first >= 0:
        for i in range(count):
            values[i] = slope[i * step] * x + intercept[i * step]
        below, _ = _select(values, others, count, first, first, stack)
        low = values[first - below]
    if last < count:
        for i in range(count):
            values[i] = slope[i * step] * x + intercept[i * step]
        below, _ = _select(values, others, count, last, last, stack)
        high = values[last - below]
    return low, high


@inner()
def _put(values, others, count, q0, place, apart, out, stack):
    """Order statistics at a place, from rank `q0` on among values[:count], and how far apart these are."""
    below, apart[place] = _select(values, others, count, q0, q0 + len(out) - 1, stack)
    for q in range(len(out)):
        out[q, place] = values[q0 - below + q]


@inner()
def _among_all(n, slope, intercept, x, place, r0, values, others, apart, out, stack):
    """Order statistics at a place, among all lines."""
    low, high = -math.inf, math.inf
    if n >= 2 * _SAMPLE:
        low, high = _guess(slope, intercept, n, x[place], r0, r0 + len(out) - 1, values, others, stack)
    below, count = _collect(slope, intercept, 0, n, x[place], low, high, values)
    if r0 < below or r0 + len(out) > below + count:
        below, count = _collect(slope, intercept, 0, n, x[place], -math.inf, math.inf, values)
    _put(values, others, count, r0 - below, place, apart, out, stack)


@inner()
def _between(chord, x):
    """The two values at x of chords given at both ends: low, low, high, high, and the ends."""
    t = (x - chord[4]) / (chord[5] - chord[4])
    return chord[0] + (chord[1] - chord[0]) * t, chord[2] + (chord[3] - chord[2]) * t


@inner()
def _of_group(n, slope, intercept, x, r0, rounding, values, others, apart, chords, sets, stack, out):
    """Order statistics of neighbouring ranks from `r0` on, into `out` (p, k)."""
    k, last = len(x), len(out) - 1
    for place in (0, k - 1):
        _among_all(n, slope, intercept, x, place, r0, values, others, apart, out, stack)
    sets[0, 0], sets[0, 1], sets[0, 2], sets[0, 4] = 0, n, 0, n
    chords[0, 6] = math.inf
    top = 0
    if k > 2:
        stack[_DEPTH, 0], stack[_DEPTH, 1], stack[_DEPTH, 2] = 0, k - 1, 1
        top = 1
    while top > 0:
        top -= 1
        i, j, depth = stack[_DEPTH + top, 0], stack[_DEPTH + top, 1], stack[_DEPTH + top, 2]
        first, size, below = sets[depth - 1, 0], sets[depth - 1, 1], sets[depth - 1, 2]
        free = sets[depth - 1, 4]
        # Half as long, a curve leaves its chord by no more, and usually by less.
        slack = chords[depth - 1, 6] + rounding
        chord = chords[depth]
        chord[0], chord[1], chord[2], chord[3] = -math.inf, -math.inf, math.inf, math.inf
        chord[4], chord[5] = x[i], x[j]
        if j - i >= _WORTH and slack < math.inf and free + size <= len(slope):
            at_i, at_j = _APART * apart[i] + slack, _APART * apart[j] + slack
            chord[0], chord[1] = out[0, i] - at_i, out[0, j] - at_j
            chord[2], chord[3] = out[last, i] + at_i, out[last, j] + at_j
            count, under = _drop(
                slope, intercept, first, size, free, x[i], x[j],
                chord[0] - rounding, chord[1] - rounding, chord[2] + rounding, chord[3] + rounding,
            )  # fmt: skip
            first, size, below = free, count, below + under
            free += count
        sets[depth, 0], sets[depth, 1], sets[depth, 2], sets[depth, 4] = first, size, below, free
        place = (i + j) // 2
        sets[depth, 3] = depth - 1
        level = depth
        while level > 0:
            low, high, around = -math.inf, math.inf, level
            while around > 0:
                lower, upper = _between(chords[around], x[place])
                low, high = larger(lower, low), smaller(upper, high)  # which a stretch without chords leaves
                around = sets[around, 3]
            if low == -math.inf and high == math.inf:
                level = 0
                break
            if low > high:
                level = sets[level, 3]
                continue
            first, size, below = sets[level, 0], sets[level, 1], sets[level, 2]
            under, count = _collect(slope, intercept, first, size, x[place], low, high, values)
            under += below
            if r0 >= under and r0 + last < under + count:
                break
            level = sets[level, 3]  # the chords are too near; those of the stretch around are further away
        if level == 0:
            _among_all(n, slope, intercept, x, place, r0, values, others, apart, out, stack)
        else:
            _put(values, others, count, r0 - under, place, apart, out, stack)
        if level < depth:
            chord[0], chord[1], chord[2], chord[3] = -math.inf, -math.inf, math.inf, math.inf
            sets[depth, 0], sets[depth, 1], sets[depth, 2] = sets[level, 0], sets[level, 1], sets[level, 2]
            sets[depth, 3] = level
        t = (x[place] - x[i]) / (x[j] - x[i])
        chord[6] = larger(
            abs(out[0, place] - out[0, i] - (out[0, j] - out[0, i]) * t),
            abs(out[last, place] - out[last, i] - (out[last, j] - out[last, i]) * t),
        )
        for left, right in ((place, j), (i, place)):
            if right - left > 1:
                stretch = stack[_DEPTH + top]
                stretch[0], stretch[1], stretch[2] = left, right, depth + 1
                top += 1


@inner()
def order_statistics(n, slope, intercept, x, ranks, values, others, apart, chords, sets, stack, out):
    """Order statistics of n lines at each place, into `out` (p, k).

    Args:
        n: lines.
        slope: (room,), of which the first n are the lines', the rest scratch.
        intercept: the same.
        x: (k,) places, rising.
        ranks: (p,) rising.
        values: (n,) scratch.
        others: (n,) scratch.
        apart: (k,) scratch: distance of neighbouring ranks.
        chords: (DEPTH, 7) scratch: of a stretch, chords (low, high at both ends), ends, how far curves leave.
        sets: (DEPTH, 5) scratch: where a stretch's lines begin, how many, how many lie below; what is around
            it; and where there is room.
        stack: (2 DEPTH, 3) scratch.
        out: (p, k).
    """
    largest_slope, largest_intercept = 0.0, 0.0
    for i in range(n):
        largest_slope = larger(abs(slope[i]), largest_slope)
        largest_intercept = larger(abs(intercept[i]), largest_intercept)
    largest = largest_slope * larger(abs(x[0]), abs(x[len(x) - 1])) + largest_intercept
    # Rounding moves a value, or a chord, by a few units in the last place of the largest number on its way;
    # no chord bounds values beyond float64.
    rounding = 16.0 * _EPSILON * largest + _TINY
    start = 0
    while start < len(ranks):
        stop = start + 1
        while stop < len(ranks) and ranks[stop] == ranks[stop - 1] + 1:
            stop += 1
        group = out[start:stop]
        _of_group(
            n, slope, intercept, x, ranks[start], rounding, values, others, apart, chords, sets, stack, group
        )
        start = stop
