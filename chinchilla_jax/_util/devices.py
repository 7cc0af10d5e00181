"""What this process computes on."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys

from chinchilla_jax._util import reproducible, system


@functools.cache
def accelerated() -> bool:
    """Whether JAX computes on something other than the CPU; JAX is imported only where it might."""
    possible = "jax" in sys.modules or any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
    if not possible:
        return False
    import jax

    return jax.default_backend() != "cpu"


def out_of_memory(error: Exception) -> bool:
    """Whether a device, or the host, had too little memory."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def available_cores() -> int:
    """Cores that this process may use."""
    allowed = system.cores()
    return len(allowed) if allowed else os.cpu_count() or 1


_INSTRUCTIONS = ("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512dq", "avx512vl", "asimd", "sve", "sve2")


@functools.cache
def instruction_set() -> str:
    """The processor as far as digits depend on it, such as "x86_64 znver5 avx2 fma"; or that it is any.

    The name is LLVM's, for which it compiles the solver; "" for it where llvmlite is not installed.
    """
    if reproducible.active():
        return reproducible.PROCESSOR
    try:
        import llvmlite.binding as llvm

        name = llvm.get_host_cpu_name()
    except Exception:  # not installed, or its library cannot be loaded
        name = ""
    lines = (line for line in system.processor_facts() if line.startswith(("flags", "Features")))
    flags = {flag for line in lines for flag in line.split()}
    return " ".join(
        filter(None, [system.processor()[0], name, *(each for each in _INSTRUCTIONS if each in flags)])
    )


def processor_digest() -> str:
    """Digest of the processor: a home can be shared by machines of which one cannot run another's code."""
    name = " ".join(system.processor())
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = {line for line in system.processor_facts() if line.startswith(wanted)}
    return hashlib.sha256("\n".join([name, *sorted(lines)]).encode()).hexdigest()[:12]
