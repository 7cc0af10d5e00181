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


@functools.cache
def can_compile_kernels() -> bool:
    """Whether there is a compiler for the CPU kernel: llvmlite with LLVM 20 or later."""
    try:
        # Asking the installed distributions would take ten times as long as this import.
        import llvmlite
    except ImportError:
        return False
    version = llvmlite.__version__.split(".")
    return tuple(int(part) for part in version[:2]) >= (0, 45)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
