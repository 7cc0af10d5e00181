"""Preloaded by every worker of a study's own Dask cluster: gives it its share of the cores and no log.

XLA's runtime starts threads for every core that it may use. Workers that may all use every core spend a good
part of their time handing work around (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import os
from typing import Any

from chinchilla_jax._util import system
from chinchilla_jax.study.execution.dask_logs import silence

COUNT = "CHINCHILLA_JAX_DASK_WORKERS"  # environment variable: how many workers share this machine


def dask_setup(worker: Any) -> None:
    """Called by Dask in a starting worker, whose name is its number."""
    silence()
    count = int(os.environ.get(COUNT, "0"))
    allowed = system.cores()
    if allowed and count and str(worker.name).isdigit():
        share = max(1, len(allowed) // count)
        first = int(worker.name) % count * share % len(allowed)
        system.limit_to_cores(allowed[first : first + share])
