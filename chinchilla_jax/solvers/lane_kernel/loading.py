"""Loads the kernel once per process, or finds out why it cannot be used.

LLVM can refuse it in many ways: another version reads the assembly differently, a file is damaged, the
bindings cannot be imported. Each becomes a `KernelRefused`.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from chinchilla_jax._util import cache_dir
from chinchilla_jax._util.progress_bar import announce

if TYPE_CHECKING:
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

_LEAST_VERSION = (0, 45)  # of llvmlite, with LLVM 20
_REASON_WIDTH = 160
_loading = threading.Lock()


class KernelRefused(Exception):
    """The kernel cannot be used in this process; the text is one line.

    Attributes:
        installed: whether llvmlite is there at all.
    """

    def __init__(self, reason: str, *, installed: bool = True) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.installed = installed


def load_kernel() -> Kernel:
    """The kernel; compiled first where this machine has not done so yet.

    Raises:
        KernelRefused: it cannot be used here.
    """
    with _loading:
        found = _attempt()
    if isinstance(found, KernelRefused):
        raise KernelRefused(str(found), installed=found.installed)
    return found


def loaded_kernel() -> Kernel | None:
    """The kernel if this process has loaded it before; nothing is loaded for what is as well done without."""
    found = _attempt() if _attempt.cache_info().currsize else None
    return None if isinstance(found, KernelRefused) else found


@functools.cache
def _attempt() -> Kernel | KernelRefused:
    """Try once: a second attempt would take as long and end the same way."""
    try:
        return _loaded()
    except KernelRefused as refusal:
        return refusal
    except Exception as error:  # LLVM, its bindings and the files may fail in any way
        installed = not (isinstance(error, ModuleNotFoundError) and error.name == "llvmlite")
        text = " ".join(f"{type(error).__name__}: {error}".split())
        text = text if len(text) <= _REASON_WIDTH else f"{text[: _REASON_WIDTH - 3]}..."
        return KernelRefused(text if installed else "llvmlite is not installed", installed=installed)


def _loaded() -> Kernel:
    import llvmlite

    # Asking the installed distributions would take ten times as long as the import.
    if tuple(int(part) for part in llvmlite.__version__.split(".")[:2]) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise KernelRefused(f"llvmlite {llvmlite.__version__} is older than {least}")

    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
    from chinchilla_jax.solvers.lane_kernel.llvm_tools import initialise
    from chinchilla_jax.solvers.lane_kernel.object_code import assembly, kept_file, read, write

    initialise()
    file = kept_file()
    code = None if file is None else read(file)
    if code is None:
        assembly()  # a damaged file is found here, before other processes are started for it
        if not cache_dir.has_warned():  # of somebody else's code: one line is enough
            how_often = "in every run" if file is None else "once for this machine"
            announce(f"chinchilla-jax: compiling the solver, {how_often} ...")
        from chinchilla_jax.solvers.lane_kernel.building import built

        code = built()
        if file is not None:
            write(file, code)
    return Kernel(*code)
