"""The decisions of the Newton method as numbers, shared by its two engines (see solvers/five_parameter.py).

Decrements are relative to the objective; widths are half-widths of the quadratic zone.
"""

from __future__ import annotations

# States of a lane between steps; a finished one has a `Status`.
RUNNING = -1
PAUSED = -2  # not finished, but takes no further step in this stage
HOPELESS = -3  # not finished, and takes no further step at all
MET = -4  # is where the first of its tries has ended; where the k-th has, MET - k

# float32 resolves no decrement much below this. The step from there is taken, and float64 takes over.
FLOAT32_TOLERANCE = 1e-6
POLISHED = 1e-4  # fraction of the tolerance below which no further step is needed
ADVANCE_BELOW = 1e-5  # decrement below which the next point is near enough for series
FULL_STEP_BELOW = 1e-5  # decrement below which the full step is taken without a line search
# A decrement is relative to the objective, which is 0 for a perfect fit; this is the least it is taken to be,
# the value of residuals of 1e-6 of the zone. Zones wider than the second say nothing about the residuals.
SMALLEST_VALUE = 1e-12
LARGEST_ZONE = 1.0

# Rejected trials.
MOST_REJECTIONS = 6
SHORTER = 0.25  # length of the next trial, relative to the rejected one
LARGEST_DAMPING, NO_DAMPING = 1e6, 1e-6
SETTLED = 1e-3  # decrement below which repeated rejections mean that float32 can do no more

# Narrowing of a quadratic zone that began wider than the objective's own.
WIDTH_FACTOR = 0.2
NARROW_BELOW = 1e-2  # decrement at which the zone is narrowed

HALVINGS = 12  # bisections of a step that would take E below zero

# Shifts of the Hessian's diagonal, relative to it: just off singular, and the least after a rejected step. A
# shift a hundred times larger crawls along the valleys that heavy noise makes, to worse minima in more steps.
LIFT, STIFF = 1e-7, 1e-4
# A pivot below this fraction of its diagonal entry counts as zero: the matrix is singular there.
SINGULAR_PIVOT = 1e-11
# In an indefinite matrix a pivot is replaced by its size, or by this fraction of its diagonal entry.
SMALLEST_PIVOT = 0.1
SMALLEST_EXPONENT = 1e-3  # of alpha' where slope coordinates apply

# Line search: lengths, relative to the Newton step, at which the slope is computed.
PROBES = (0.05, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0)
LONGEST = PROBES[-1]
FULL = PROBES.index(1.0)
CLOSE_ENOUGH = 0.05  # fraction of the initial slope at which the full step is taken as it is

# Several starts of one lane. A start is abandoned when it comes this near to the best of its lane, or when
# this many times its decrement (which near a kink understates what is still to gain) would not take it below.
SAME_POINT = 1e-3
HOPE = 3.0

# Tries at one row of weights, each to its own end. One is ended where it comes this near to where an earlier
# one has ended; and where it is so many times as high as the lowest, and after so many steps as far from it,
# or nearly: it runs off. One that crawls along another valley may rest for 40 steps, 1% above the lowest, and
# end below it.
SAME_END = 1e-3
PATIENCE, FAR_ABOVE, STALLED = 100, 1.3, 0.9
