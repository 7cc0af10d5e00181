"""Machine code of the kernel: compiled once per machine, then kept.

LLVM compiles it for exactly this processor from kernel.ll.xz, which generate.py has made from the Python
sources of this folder; whether it is up to date with them is for a test to tell, not for the user's process.
The object file is kept in the folder of cache_dir.py, under a digest of the assembly, the version of LLVM's
bindings and the processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from chinchilla_jax._util import cache_dir
from chinchilla_jax._util.atomic_write import written_whole
from chinchilla_jax._util.progress_bar import announce
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, optimise

SHIPPED = Path(__file__).with_name("kernel.ll.xz")
_DIGEST_BYTES = hashlib.sha256().digest_size


def assembly() -> str:
    """LLVM assembly of the kernel, as shipped."""
    return lzma.decompress(SHIPPED.read_bytes()).decode()


class ObjectFile:
    """Where the machine code of this version and processor is kept, if anywhere.

    Attributes:
        path: the file, which need not exist; None where nothing can be kept.
    """

    def __init__(self) -> None:
        """Read the assembly and find the file that belongs to it."""
        self._assembly = assembly()
        machine = host_machine()
        target = f"{machine.triple} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
        version = f"{llvmlite.__version__} {target} {self._assembly}"
        folder = cache_dir.folder()
        name = f"kernel-{hashlib.sha256(version.encode()).hexdigest()[:16]}.o"
        self.path = None if folder is None else folder / name

    def read(self) -> bytes | None:
        """The code that is kept; None if there is none, or the file is damaged."""
        try:
            content = b"" if self.path is None else self.path.read_bytes()
        except OSError:
            return None
        digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return code if code and hashlib.sha256(code).digest() == digest else None

    def compile(self) -> bytes:
        """The code, compiled now."""
        how_often = "in every run" if self.path is None else "once for this machine"
        announce(f"chinchilla-jax: compiling the solver, {how_often} ...")
        return compiled(self._assembly, host_machine())

    def write(self, code: bytes) -> None:
        """Keep `code` for later processes, where that is possible."""
        if self.path is None:
            return
        # A full or read-only disk costs the next process its seconds, and this one nothing.
        with contextlib.suppress(OSError), written_whole(self.path) as aside:
            aside.write_bytes(hashlib.sha256(code).digest() + code)


def compiled(text: str, machine: llvm.TargetMachine) -> bytes:
    """Object code of the assembly `text` for `machine`."""
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    optimise(module, machine, vectorise=True)
    return machine.emit_object(module)
