"""What this process computes on."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import sys
from pathlib import Path


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


def processor_digest() -> str:
    """Digest of the processor: a home can be shared by machines of which one cannot run another's code."""
    name = f"{platform.machine()} {platform.processor()}"
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        text = ""
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = {line for line in text.splitlines() if line.startswith(wanted)}
    return hashlib.sha256("\n".join([name, *sorted(lines)]).encode()).hexdigest()[:12]
