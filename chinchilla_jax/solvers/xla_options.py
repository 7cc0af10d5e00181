"""What all programs of XLA share: the platform, compiler options and padded sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LEAST_RUNS = 64  # of a call
_OPTIONS: dict[str, dict[str, Any]] = {
    # Sums over the runs become vector arithmetic only if their order may change. Calls are the unit of
    # parallel work on the CPU; XLA's own threads inside one only get in the way.
    "cpu": {
        "xla_cpu_enable_fast_math": True,
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_prefer_vector_width": 512,
    },
    "cuda": {
        # The loops of a call are one CUDA graph; else each step waits for the host.
        "xla_gpu_enable_command_buffer": "FUSION,CUSTOM_CALL,WHILE,CONDITIONAL",
        # Trying kernels out takes memory, gains nothing here, and its outcome could change a digit.
        "xla_gpu_autotune_level": 0,
    },
}


def default_platform() -> str:
    """What JAX computes on: cpu, cuda, rocm or tpu."""
    import jax

    name = jax.default_backend()
    if name != "gpu":
        return name
    return "rocm" if "rocm" in jax.devices()[0].client.platform_version.lower() else "cuda"


def options(platform: str) -> dict[str, Any] | None:
    """Compiler options of a platform, as `jax.jit` takes them."""
    return _OPTIONS.get(platform)


def padded(count: int, sizes: Sequence[int]) -> int:
    """The first of rising `sizes` with room for so many, or the last."""
    return next((size for size in sizes if size >= count), sizes[-1])


def padded_runs(count: int) -> int:
    """The number of runs of a compiled call: a power of two, or half as many again.

    Tables of many sizes share few programs. A run that is padding costs as much as any other, and a program
    as much as a million fits.
    """
    power = 1 << max(count - 1, _LEAST_RUNS - 1).bit_length()
    return 3 * power // 4 if _LEAST_RUNS < count <= 3 * power // 4 else power
