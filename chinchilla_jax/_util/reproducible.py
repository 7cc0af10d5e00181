"""The reproducible mode: the same bits on every x86-64 machine, from the same versions.

Four things choose instructions by the processor, and with them the last digits: the compiled solver, NumPy's
own loops, its linear algebra, and the C library's exp and log. Each can be held to what every x86-64
processor since 2009 has, but NumPy, BLAS and the C library only by variables that they read at the start.
So the mode belongs to a process: `CHINCHILLA_JAX_REPRODUCIBLE=1` asks for it, the command line starts itself
again with the other variables, and a Python program is started with all of them.
"""

from __future__ import annotations

import os
import sys

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.system import is_x86_linux_with_glibc

VARIABLE = "CHINCHILLA_JAX_REPRODUCIBLE"
# Names of several versions of NumPy; it ignores those that it does not know.
_NUMPY = (
    "X86_V4 X86_V3 AVX512_SPR AVX512_ICL AVX512_CNL AVX512_CLX AVX512_SKX AVX512_KNM AVX512_KNL "
    "AVX512CD AVX512F AVX2 FMA3 F16C AVX"
)
ENVIRONMENT = {
    VARIABLE: "1",
    "NPY_DISABLE_CPU_FEATURES": _NUMPY,
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4",
}
_restarts = False  # whether this process is the command line's own
PROCESSOR = "any x86-64"


def active() -> bool:
    """Whether this process is in the reproducible mode."""
    return all(value in os.environ.get(name, "") for name, value in ENVIRONMENT.items())


def asked() -> bool:
    """Whether the user has asked for it."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def may_restart() -> None:
    """Allow `restart`, as this process is the command line's own; at once where the user has asked for it."""
    global _restarts
    _restarts = True
    if asked():
        restart(VARIABLE)


def require(what: str) -> None:
    """Raise unless this process is in the reproducible mode.

    Args:
        what: what needs it, for the message.

    Raises:
        UsageError: it is not, or cannot be on this system.
    """
    _require_system(what)
    if not active():
        settings = " ".join(f"{name}={value!r}" for name, value in ENVIRONMENT.items())
        raise UsageError(
            f"{what}: needs a process that was started in the reproducible mode; use chinchilla-jax study, "
            f"or start Python with {settings}"
        )


def restart(what: str = "--reproducible") -> None:
    """Start this command again in the reproducible mode, in place of this process; nothing if it already is.

    Args:
        what: asks for it, for the message.

    Raises:
        UsageError: this system has no such mode.
    """
    _require_system(what)
    if active() or not _restarts:
        return require(what)
    environment = dict(os.environ)
    for name, value in ENVIRONMENT.items():
        before = environment.get(name)
        environment[name] = f"{before}:{value}" if before and name == "GLIBC_TUNABLES" else value
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _require_system(what: str) -> None:
    if not is_x86_linux_with_glibc():
        raise UsageError(f"{what}: the reproducible mode is for x86-64 Linux with glibc; leave it out here")
