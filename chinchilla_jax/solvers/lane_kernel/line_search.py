"""The line search of a lane: where the slope along a step changes sign, in two short passes over the runs.

What it finds is what solvers/jax_newton/line_search.py finds and explains: the slope at nine lengths, the
probes, interpolated around the root. The slope rises along the step, so its sign at two of them tells which
other three can lie next to the root, and only those are computed. Under noise of 1 to 3, 28 in 100 roots lie
before the first of the two, 33 between them, 26 beyond, and for 13 the whole step is near enough.
"""

from __future__ import annotations

from chinchilla_jax.solvers.lane_kernel.compiling import inner, larger
from chinchilla_jax.solvers.lane_kernel.passes import more_slopes, slopes
from chinchilla_jax.solvers.thresholds import CLOSE_ENOUGH, FULL, LONGEST, PROBES

_SHORT, _USUAL, _LONG = PROBES[: FULL - 2], PROBES[FULL - 2 : FULL + 1], PROBES[FULL + 1 :]
_QUARTER, _WHOLE = _SHORT[-1], _USUAL[-1]


@inner()
def step_length(slope, form, step, runs, count, width):
    """Length in (0, LONGEST] at which the slope along the step changes sign, interpolated between the probes.

    Args:
        slope: at length 0, negative.
        form: step' H step, with the Hessian of the objective.
        step: in theta, (5,).
        runs: evaluated runs, in either precision.
        count: their number.
        width: half-width of the quadratic zone.
    """
    inside, quarter, whole = slopes(step, (_QUARTER, _WHOLE), runs, count, width)
    kappa = larger(form - inside, 0.0)
    quarter, whole = quarter + _QUARTER * kappa, whole + _WHOLE * kappa
    if abs(whole) < CLOSE_ENOUGH * abs(slope):
        return 1.0
    # No branches: a root can lie anywhere, and most of them would be mispredicted.
    short, usual = quarter >= 0.0, whole >= 0.0
    low = 0.0 if short else _QUARTER if usual else _WHOLE
    at_low = slope if short else quarter if usual else whole
    t0 = _SHORT[0] if short else _USUAL[0] if usual else _LONG[0]
    t1 = _SHORT[1] if short else _USUAL[1] if usual else _LONG[1]
    t2 = _SHORT[2] if short else _USUAL[2] if usual else _LONG[2]
    s0, s1, s2 = more_slopes((t0, t1, t2), runs, count, width)
    s0, s1, s2 = s0 + t0 * kappa, s1 + t1 * kappa, s2 + t2 * kappa
    if s2 < 0.0 and not (short or usual):
        return LONGEST
    first, second = s0 >= 0.0, s1 >= 0.0
    low, at_low = low if first else t0 if second else t1, at_low if first else s0 if second else s1
    high, at_high = t0 if first else t1 if second else t2, s0 if first else s1 if second else s2
    gap = at_high - at_low
    root = low - at_low * (high - low) / gap if gap > 0.0 else high
    # The first bracket starts at 0, and a step of no length would never move.
    return larger(root, 0.2 * PROBES[0])
