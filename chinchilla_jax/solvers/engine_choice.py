"""Which engine takes the Newton steps of the five-parameter law, and what happens where LLVM fails.

| engine | takes the steps                                                                               |
|--------|-----------------------------------------------------------------------------------------------|
| lanes  | lane_kernel/, on CPUs; compiled by LLVM through llvmlite                                      |
| xla    | jax_newton/, on any device, as for every other law; compiled by JAX                           |
| auto   | lanes; xla where llvmlite is not installed or LLVM refuses the kernel, and on an accelerator  |
|        | that was faster when `chinchilla-jax doctor --measure` compared them (measured_engines.py)    |

Both follow the same decisions (thresholds.py) and end alike, to rounding. Where noise leaves a fit several
minima, rounding can decide between them: of the paper study's 896,000 fits 886 end elsewhere, all but one
under log-normal noise.

The environment variable CHINCHILLA_JAX_ENGINE sets what "auto" means. With "xla" there, llvmlite is never
loaded, not even for random numbers: the way out should it ever crash the process.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from chinchilla_jax._util.devices import accelerated
from chinchilla_jax._util.errors import EngineWarning, UsageError, unknown_name
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.solvers.base import ENGINES
from chinchilla_jax.solvers.lane_kernel.loading import KernelRefused, load_kernel
from chinchilla_jax.solvers.measured_engines import measured

if TYPE_CHECKING:
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

VARIABLE = "CHINCHILLA_JAX_ENGINE"
_warned = False


def chosen_kernel(engine: str) -> Kernel | None:
    """The kernel if it is to take the steps, None if XLA is.

    Raises:
        UsageError: no such engine, or "lanes" where the kernel cannot be used.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "auto":
        engine = _default()
    if engine == "auto":
        return None if _device_is_faster() else _kernel_or_warning()
    if engine == "xla":
        return None
    try:
        return load_kernel()
    except KernelRefused as refusal:
        raise UsageError(f"engine 'lanes' cannot be used here ({refusal}); use 'auto' or 'xla'") from None


def kernel_expected(engine: str) -> bool:
    """Whether the kernel takes the steps, by what is known without loading it."""
    meant = _default() if engine == "auto" else engine
    return meant != "xla" and not accelerated() and importlib.util.find_spec("llvmlite") is not None


def auto_engine() -> tuple[str, str]:
    """What "auto" means in this process, "lanes" or "xla", and why if it is not the first."""
    if _default() != "auto":
        return _default(), f"{VARIABLE} is set"
    if _device_is_faster():
        return "xla", "faster when measured on this machine"
    try:
        load_kernel()
    except KernelRefused as refusal:
        return "xla", str(refusal)
    if not accelerated():
        return "lanes", ""
    if measured():
        return "lanes", "faster when measured on this machine"
    return "lanes", "`doctor --measure` compares it with the device"


def _device_is_faster() -> bool:
    """Whether there is an accelerator that was measured here and found faster than the kernel."""
    if not accelerated():
        return False
    rates = measured()
    return rates.get("xla", 0.0) > rates.get("lanes", float("inf"))


def drawing_kernel() -> Kernel | None:
    """The kernel if it can draw random numbers, None if JAX must; the bits are the same."""
    return None if _default() == "xla" else _kernel_or_warning()


def _default() -> str:
    """What the environment says "auto" means."""
    name = os.environ.get(VARIABLE, "auto")
    if name not in ENGINES:
        raise unknown_name(f"engine in {VARIABLE}", name, ENGINES)
    return name


def _kernel_or_warning() -> Kernel | None:
    """The kernel; where LLVM refuses it None, and one warning per process.

    There is none where llvmlite is not installed, which is the user's choice.
    """
    global _warned
    try:
        return load_kernel()
    except KernelRefused as refusal:
        if refusal.installed and not _warned:
            _warned = True
            warn_user(
                f"the compiled solver cannot be used ({refusal}); using XLA instead: the same results, but "
                f"about 7 times slower on a CPU ({VARIABLE}=xla silences this)",
                EngineWarning,
            )
        return None
