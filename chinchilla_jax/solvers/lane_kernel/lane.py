"""One lane from its starts to its certificate: the steps of solvers/jax_newton/step.py, without a batch.

A lane stops as soon as it is done, a rejected trial costs one pass and nothing else, and later starts are
abandoned against the final value of earlier ones. Of lanes that are tries at one row of weights, each goes to
its own end, unless it comes to where an earlier one has ended, or creeps along far above it. The decisions
and their thresholds are those of solvers/jax_newton/step.py and solvers/jax_newton/rounds.py, and are
explained there.
"""

from __future__ import annotations

import math

import numpy as np

from chinchilla_jax.laws.design import FLOOR, LARGEST_EXPONENT
from chinchilla_jax.solvers.lane_kernel.algebra import (
    amplitude_at,
    coordinates_at,
    pull_back,
    push_forward,
    quadratic_form,
    solve,
    take_step,
)
from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger, likely, smaller
from chinchilla_jax.solvers.lane_kernel.line_search import step_length
from chinchilla_jax.solvers.lane_kernel.passes import advance, evaluate, moments, pack, sum_of
from chinchilla_jax.solvers.lane_kernel.shapes import FORM, MODIFY, SHIFT, SIZE, SOLUTION, SOUND, WIDE
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import (
    ADVANCE_BELOW,
    FAR_ABOVE,
    FLOAT32_TOLERANCE,
    FULL_STEP_BELOW,
    HALVINGS,
    HOPE,
    HOPELESS,
    LARGEST_DAMPING,
    LARGEST_ZONE,
    LIFT,
    MET,
    MOST_REJECTIONS,
    NARROW_BELOW,
    NO_DAMPING,
    PATIENCE,
    PAUSED,
    POLISHED,
    RUNNING,
    SAME_END,
    SAME_POINT,
    SETTLED,
    SHORTER,
    SMALLEST_VALUE,
    STALLED,
    STIFF,
    WIDTH_FACTOR,
)

_CONVERGED, _UNIDENTIFIED = int(Status.CONVERGED), int(Status.UNIDENTIFIED)
_BOUNDARY = int(Status.BOUNDARY)
_EPS32, _EPS64 = 8.0 * float(np.finfo(np.float32).eps), 8.0 * float(np.finfo(np.float64).eps)
_PLAIN, _LIFTED, _MODIFIED = range(3)  # columns of the systems, see `solve`


@inner()
def _copy_start(points, rank, lane, into):
    for j in range(SIZE):
        into[j] = points[rank, lane, j]


@inner()
def _copy(point, into):
    for j in range(SIZE):
        into[j] = point[j]


@inner()
def descend(
    theta, anchor, double, packed, n_runs, target_width, width, total, limits, bar, leader, tried, scratch
):  # fmt: skip
    """Take Newton steps in one lane, from `theta` (5,).

    Args:
        theta: where to start; overwritten with the point after the last step.
        anchor: overwritten with the last accepted point.
        double: whether this is the float64 stage, which ends with the certificate, or the float32 stage
            before it.
        packed: runs in float64, the same in float32, and their number.
        n_runs: number of runs in the table, those of weight zero included.
        target_width: the objective's own half-width of the quadratic zone.
        width: the half-width to begin with.
        total: sum of the weights.
        limits: tolerance, most steps, first step with a line search.
        bar: objective of the best start so far; infinite for the first.
        leader: where that start ended, (5,).
        tried: what became of earlier tries at these weights: where they ended, their objectives and statuses;
            and which of the lanes they are, from one to before another.
        scratch: arrays to work in.

    Returns:
        Status, steps, objective at the anchor, its decrement, half-width at the end.
    """
    tolerance, most, search_after = limits
    runs, runs32, count = packed
    rounding = _EPS64 if double else _EPS32
    unit_weight = total / n_runs
    vectors, hessian, systems, sums = scratch
    # The Hessian as it is, just off singular, and made positive definite; the last column is of no use.
    for k in range(WIDE):
        systems[SHIFT, k] = LIFT if k == _LIFTED else 0.0
        systems[MODIFY, k] = 1.0 if k >= _MODIFIED else 0.0
    gradient, solution, step, plain, evaluated = vectors[0], vectors[1], vectors[2], vectors[3], vectors[8]
    _copy(theta, anchor)
    for j in range(SIZE):
        step[j] = 0.0
    length = amplitude = 0.0
    curved = length > 0.0
    value = np.inf
    decrement = np.inf
    rejections = 0
    damping = 0.0
    looked, looked_at = 0, np.inf
    for taken in range(most):
        # One copy of these steps for both precisions: two would take twice as long to compile.
        if double:
            # After the first pass the steps are tiny, as a rule.
            near = False
            if decrement < ADVANCE_BELOW:
                for j in range(SIZE):
                    plain[j] = theta[j] - evaluated[j]
                near = advance(plain, runs, count)
            if not near:
                evaluate(theta, runs, count)
            _copy(theta, evaluated)
            terms = amplitude_at(theta)  # here, the processor computes it while it is busy with the runs
            moments(runs, count, width, sums)
        else:
            evaluate(theta, runs32, count)
            terms = amplitude_at(theta)
            moments(runs32, count, width, sums)
        here = sums[0]
        finite = math.isfinite(sums[0])
        for j in range(SIZE):
            finite = finite and math.isfinite(theta[j]) and math.isfinite(sums[1 + j])
        at_target = width <= target_width * (1.0 + rounding)
        excess = here - value * (1.0 + rounding)
        # Rounding in the logarithm reaches the value through the residuals, as its square root.
        close = double and excess * excess <= rounding * rounding * value * unit_weight
        if not (finite and (excess <= 0.0 or close)):
            if decrement <= tolerance and at_target:
                _copy(anchor, theta)
                return _CONVERGED, taken + 1, value, decrement, width
            length *= SHORTER
            damping = smaller(larger(10.0 * damping, STIFF), LARGEST_DAMPING)
            if rejections >= MOST_REJECTIONS:
                rejections = 0
                _copy(anchor, theta)
            else:
                rejections += 1
                _meet_bound(anchor, curved, amplitude, step, length, theta)
            if rejections >= 2 and decrement < SETTLED and not double:
                return PAUSED, taken + 1, value, decrement, width
            continue

        _copy(theta, anchor)
        held = theta[FLOOR] <= 0.0 and sums[1 + FLOOR] >= 0.0
        curved, amplitude, inverse = coordinates_at(theta, held, terms)
        pull_back(amplitude, inverse, sums, held, gradient, hessian)
        systems[SHIFT, _MODIFIED] = larger(damping, STIFF)
        solve(hessian, gradient, systems)
        definite, lifted = systems[SOUND, _PLAIN] > 0.0, systems[SOUND, _LIFTED] > 0.0
        zone = smaller(width, LARGEST_ZONE)
        scale = larger(here, SMALLEST_VALUE * total * zone * zone)
        before = decrement <= tolerance
        decrement = 0.5 * systems[FORM, _PLAIN] / scale if definite else np.inf
        still = lifted and 0.5 * systems[FORM, _LIFTED] / scale <= 0.1 * tolerance
        singular = not definite and still and at_target
        chosen = _MODIFIED
        if likely(damping == 0.0 and definite):
            chosen = _PLAIN
        elif damping == 0.0 and lifted:
            chosen = _LIFTED
        for j in range(SIZE):
            solution[j] = systems[SOLUTION + j, chosen]
        certified = decrement <= tolerance and at_target
        done = certified and (before or not double or decrement <= POLISHED * tolerance)
        escaped = larger(abs(theta[3]), abs(theta[4])) > LARGEST_EXPONENT

        _limited(theta, curved, inverse, solution, step)
        length = 1.0
        if taken >= search_after and not done and not decrement < FULL_STEP_BELOW:
            push_forward(amplitude, inverse, step, plain)
            slope = 0.0
            for j in range(SIZE):
                slope += gradient[j] * step[j]
            form = quadratic_form(hessian, step)
            if double:
                length = step_length(slope, form, plain, runs, count, width)
            else:
                length = step_length(slope, form, plain, runs32, count, width)
        _meet_bound(anchor, curved, amplitude, step, length, theta)
        value = here
        if at_target and tried[3] < tried[4]:
            met = _met(anchor, tried)
            if met != RUNNING:
                return met, taken + 1, value, decrement, width
            if taken >= looked + PATIENCE and not done:
                if _hopeless(value, looked_at, tried):
                    return HOPELESS, taken + 1, value, decrement, width
                looked, looked_at = taken, value
        if escaped or singular:
            return _UNIDENTIFIED, taken + 1, value, decrement, width
        if done:
            return _BOUNDARY if held else _CONVERGED, taken + 1, value, decrement, width

        damping = 0.1 * damping if damping > NO_DAMPING else 0.0
        rejections = 0
        if not at_target and definite and decrement < NARROW_BELOW:
            width = larger(WIDTH_FACTOR * width, target_width)
            # A narrower zone is another objective: its values do not compare.
            value = np.inf
        elif bar < np.inf and _beaten(anchor, value, decrement, bar, leader):
            return PAUSED, taken + 1, value, decrement, width
    return RUNNING, most, value, decrement, width


@inner()
def _beaten(anchor, value, decrement, bar, leader):
    """Whether a start can no longer end below `bar`, or only at `leader`."""
    apart = 0.0
    for j in range(SIZE):
        apart = larger(apart, abs(anchor[j] - leader[j]))
    hope = smaller(HOPE * abs(decrement), 1.0) if math.isfinite(decrement) else 1.0
    return apart < SAME_POINT or value * (1.0 - hope) > bar


@inner()
def _met(anchor, tried):
    """The first of earlier tries that ended, certified, where this one is: MET less its place; or RUNNING."""
    ends, _, statuses, begin, end = tried
    for k in range(begin, end):
        if statuses[k] == _CONVERGED or statuses[k] == _BOUNDARY:
            apart = 0.0
            for j in range(SIZE):
                apart = larger(apart, abs(anchor[j] - ends[k, j]))
            if apart < SAME_END:
                return MET - (k - begin)
    return RUNNING


@inner()
def _hopeless(value, before, tried):
    """Whether a try is far above the best that is certified, and has come hardly nearer since `before`."""
    _, values, statuses, begin, end = tried
    lowest = np.inf
    for k in range(begin, end):
        if statuses[k] == _CONVERGED or statuses[k] == _BOUNDARY:
            lowest = smaller(lowest, values[k])
    return value > FAR_ABOVE * lowest and value - lowest > STALLED * (before - lowest)


@inner()
def _limited(theta, curved, inverse, solution, step):
    """The step against `solution`, shortened to where the quadratic model still means something."""
    size = larger(1.0, abs(solution[FLOOR]) * (1.0 / larger(theta[FLOOR], 0.3)))
    for j in (0, 1, 3, 4):
        size = larger(size, abs(solution[j]))
    if curved:
        size = larger(size, larger(abs(solution[3]) * inverse, abs(solution[0])) * (1.0 / 0.7))
    for j in range(SIZE):
        step[j] = -solution[j] / size
    # From the bound, a step may only lead inwards.
    if theta[FLOOR] <= 0.0 and step[FLOOR] < 0.0:
        step[FLOOR] = 0.0


@inner()
def _meet_bound(anchor, curved, amplitude, step, length, target):
    """Point after the step, stopped where E or (in slope coordinates) alpha would reach its bound."""
    if curved and step[3] < 0.0:
        length = smaller(length, 0.9 * anchor[3] / -step[3])
    take_step(anchor, curved, amplitude, step, length, target)
    if not target[FLOOR] < 0.0:
        return
    low, high = 0.0, length
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        take_step(anchor, curved, amplitude, step, middle, target)
        if target[FLOOR] < 0.0:
            high = middle
        else:
            low = middle
    take_step(anchor, curved, amplitude, step, high, target)
    target[FLOOR] = 0.0


@inner()
def fit_lanes(
    columns, weights, counts, starts, target_width, first_width, tries, float32_steps, limits,
    row, index, runs, runs32, scratch, theta, anchor, value, decrement, width, status, steps,
):  # fmt: skip
    """Fit R lanes, each from the best of its starts; the last seven arguments receive the results.

    Args:
        columns: u, v, y of the n runs, (3, n).
        weights: (R / tries, n), or (1, n) for all lanes; or (0, n) if `counts` holds them.
        counts: the same as uint8, or (0, n) if `weights` holds them.
        starts: (K, R, 5), best guess first.
        target_width: the objective's own half-width of the quadratic zone, (R,).
        first_width: the half-width to begin with, (R,).
        tries: lanes that follow each other and are tries at one row of weights; 1 where each is on its own.
        float32_steps: most float32 steps of a start; with 0 only the first start is used.
        limits: tolerance, most float64 steps, float64 steps before the first line search.
        row: scratch for the weights of a lane, (n,).
        index: scratch for the places of those that are not zero, (n,) int64.
        runs: scratch for the packed runs of a lane.
        runs32: the same in float32.
        scratch: vectors (9, 5), matrix (5, 5), systems (9, 4), sums (21,).
        theta: (R, 5) after the last step.
        anchor: (R, 5) last accepted points.
        value: (R,) objective at the anchors.
        decrement: (R,).
        width: (R,) half-width of the quadratic zone at the end.
        status: (R,), as `engine.EngineResult` says.
        steps: (R,), in both precisions.
    """
    vectors = scratch[0]
    trial, reached, best, none = vectors[4], vectors[5], vectors[6], vectors[7]
    # Computed: from constants Numba would compile two copies of everything.
    single, double, search_at_once = float32_steps < 0, float32_steps >= 0, float32_steps * 0
    limits32 = (FLOAT32_TOLERANCE, float32_steps, search_at_once)
    n_runs, count, total = columns.shape[1], 0, 0.0
    given, place, begun = 0, 0, 0  # row of weights; which of its tries a lane is; the lane of the first
    for lane in range(len(theta)):
        if place == tries:
            given, place, begun = given + 1, 0, lane
        if place == 0:
            if given < len(weights):
                for i in range(n_runs):
                    row[i] = weights[given, i]
            if given < len(counts):
                for i in range(n_runs):
                    row[i] = counts[given, i]
            if given < larger(len(weights), len(counts)):
                count, total = pack(columns, row, index, runs, runs32), sum_of(row)
        place += 1
        tried = theta, value, status, begun, lane
        _copy_start(starts, 0, lane, best)
        begin = first_width[lane]
        state, low, left, end = RUNNING, np.inf, np.inf, begin
        done = 0
        if float32_steps > 0:
            bar = np.inf
            for rank in range(len(starts)):
                _copy_start(starts, rank, lane, trial)
                state, used, low, left, end = descend(
                    trial, reached, single, (runs, runs32, count), n_runs, target_width[lane],
                    first_width[lane], total, limits32, bar, best, tried, scratch,
                )  # fmt: skip
                done += used
                if low < bar or rank == 0:
                    bar = low
                    # Certified as far as float32 can tell: its last step is kept.
                    _copy(trial if state == _CONVERGED else reached, best)
            # The float32 stage has narrowed the zone.
            begin = target_width[lane]
        if state > HOPELESS:
            state, used, low, left, end = descend(
                best, reached, double, (runs, runs32, count), n_runs, target_width[lane], begin, total,
                limits, np.inf, none, tried, scratch,
            )  # fmt: skip
            done += used
        for j in range(SIZE):
            theta[lane, j], anchor[lane, j] = best[j], reached[j]
        value[lane], decrement[lane], width[lane], status[lane], steps[lane] = low, left, end, state, done
