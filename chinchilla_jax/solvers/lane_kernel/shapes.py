"""Sizes that the kernel and its caller share."""

from __future__ import annotations

SIZE = 5  # of theta
N_SUMS = 21  # objective, gradient, lower triangle of the Hessian
N_VECTORS = 9  # of scratch, (SIZE,) each
ROW = 256  # runs in a block
ROWS = 10  # of a block
BLOCK = ROWS * ROW
CACHE_LINE = 64  # bytes
PAD = 16  # runs: a float32 vector of AVX-512
DEPTH = 64  # halvings of an array, of places or of numbers: more than any takes
WIDE = 4  # systems that are solved side by side: a float64 vector of AVX2
SHIFT, MODIFY, FORM, SOUND, SOLUTION = range(5)  # rows of what is known of them, see algebra.solve
N_SYSTEMS = SOLUTION + SIZE
