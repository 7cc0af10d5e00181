"""NumPy's linear algebra on one thread, for a process that keeps every core busy itself.

The matrices here are small: threads that BLAS adds only wait, and burn a fifth of a study's CPU time doing so
(benchmarks/RESULTS.md). Only the command line does this, for its own process; a program that imports the
library decides for itself.
"""

from __future__ import annotations

import os

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def keep_blas_to_one_thread() -> None:
    """To be called before NumPy is imported; what the user has set stands."""
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")
