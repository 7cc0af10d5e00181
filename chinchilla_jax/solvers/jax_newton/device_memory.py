"""Whether a device has room for a call, asked before XLA tries.

XLA for GPUs allocates the results and the work space of a call one after the other. Where one does not fit,
it waits for ten seconds, and what it has allocated of that call until then is never freed
(`GpuExecutable::GenerateBufferAllocations`, as read in its source): the smaller call that follows finds less.
"""

from __future__ import annotations

from typing import Any

import jax


def require_room(program: Any) -> None:
    """Refuse a compiled call whose results and work space are more than what the first device has left.

    Nothing is asked where XLA or the device does not say how much that is, as CPUs do not.

    Args:
        program: what `jax.stages.Lowered.compile` returned; its arguments are on the device.

    Raises:
        MemoryError: there is too little room; nothing was allocated.
    """
    free = _free()
    if free is None:
        return
    needed = _needed(program)
    if needed > free:
        raise MemoryError(
            f"RESOURCE_EXHAUSTED: a call needs {needed / 1e6:,.0f} MB of the device, "
            f"which has {free / 1e6:,.0f} MB left"
        )


def _free() -> int | None:
    """Bytes that the first device has left for arrays; None if it does not say."""
    try:
        found = _device().memory_stats() or {}
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return None
    limit = found.get("bytes_limit", 0)
    return limit - found.get("bytes_in_use", 0) if limit > 0 else None


def _device() -> Any:
    return jax.local_devices()[0]


def _needed(program: Any) -> int:
    """Bytes of the results and the work space of a call; 0 where XLA does not say."""
    found = program.memory_analysis()
    parts = ("output_size_in_bytes", "temp_size_in_bytes")
    return sum(getattr(found, part, 0) for part in parts) - getattr(found, "alias_size_in_bytes", 0)
