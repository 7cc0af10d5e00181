"""What this process computes on."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys


@functools.cache
def accelerated() -> bool:
    """Whether JAX computes on something other than the CPU; JAX is imported only where it might."""
    possible = "jax" in sys.modules or any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
    if not possible:
        return False
    import jax

    return jax.default_backend() != "cpu"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
