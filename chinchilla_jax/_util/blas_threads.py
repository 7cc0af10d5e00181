"""NumPy's linear algebra on one thread, for a process that keeps every core busy itself.

The matrices here are small: additional BLAS threads only wait, which burns a fifth of a study's CPU time
(benchmarks/RESULTS.md). Only the command line does this, for its own process, and processes that compute
beside another; a program that imports the library decides for itself.
"""

from __future__ import annotations

import os

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def keep_blas_to_one_thread() -> None:
    """Limit BLAS, before NumPy is imported, unless the user has set the variables."""
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")
