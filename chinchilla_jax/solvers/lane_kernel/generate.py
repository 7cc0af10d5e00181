"""Makes kernel.ll.xz, which is part of the package, from the kernel's Python sources.

    python -m chinchilla_jax.solvers.lane_kernel.generate

Run it after changing a source of the kernel, or a constant that one imports: until then the old kernel runs,
and a test fails (see fingerprint.py). It needs Numba and takes a quarter of a minute; users of the kernel
need only llvmlite.
"""

from __future__ import annotations

import lzma
import platform

import llvmlite
import numba

from chinchilla_jax.solvers.lane_kernel.fingerprint import fingerprint
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, initialise
from chinchilla_jax.solvers.lane_kernel.lowering import kernel_text
from chinchilla_jax.solvers.lane_kernel.object_code import SHIPPED, compiled
from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers


def assembly() -> str:
    """The kernel, after a line with the fingerprint of its sources and one that names the compilers."""
    return f"{header()}\n; {compilers()}\n{kernel_text()}"


def header() -> str:
    """The first line."""
    return f"; sources {fingerprint()}"


def compilers() -> str:
    """What makes the assembly here: other versions may word it differently."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"Numba {numba.__version__}, llvmlite {llvmlite.__version__}, Python {python}"


def main() -> None:
    """Write the file, once the code compiled from it has answered the self-test."""
    text = assembly()
    initialise()
    require_right_answers(Kernel(compiled(text, host_machine())))
    SHIPPED.write_bytes(lzma.compress(text.encode(), preset=9))


if __name__ == "__main__":
    main()
