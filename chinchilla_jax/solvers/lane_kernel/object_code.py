"""The kernel as machine code: compiled once per machine and kept, then loaded in some milliseconds.

LLVM compiles it for exactly this processor from kernel.ll.xz, which generate.py has made from the Python
sources of this folder; whether it is up to date with them is for a test to tell, not for the user's process.
What is kept is an object file, in the folder of cache_dir.py, under a digest of the assembly and of LLVM's
version.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import lzma
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import llvmlite.binding as llvm

from chinchilla_jax._util import cache_dir as compiled_code
from chinchilla_jax._util.atomic_write import written_whole
from chinchilla_jax._util.progress_bar import announce
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, optimise

if TYPE_CHECKING:
    from collections.abc import Callable

    from chinchilla_jax.solvers.lane_kernel.entries import Entry

SHIPPED = Path(__file__).with_name("kernel.ll.xz")

_CTYPES: dict[str, Any] = {"i": ctypes.c_int64, "d": ctypes.c_double, "u": ctypes.c_uint32}  # else a pointer
_DIGEST = hashlib.sha256().digest_size
_building = threading.Lock()


def load(entry: Entry, *, brief: bool = False) -> Callable[..., None]:
    """The compiled function: whole numbers and reals as they are, arrays as addresses.

    Any number of threads may be in it. It gives up the lock of Python meanwhile, unless the call is `brief`:
    to get it back can take five milliseconds, when another thread is busy in Python.
    """
    with _building:
        address = _engine().get_function_address(entry.name)
    return _function(entry, address, brief)


@functools.cache
def _function(entry: Entry, address: int, brief: bool) -> Callable[..., None]:
    types = (_CTYPES.get(letter, ctypes.c_void_p) for letter in entry.parameters)
    kind = ctypes.PYFUNCTYPE if brief else ctypes.CFUNCTYPE
    return kind(None, *types)(address)


@functools.cache
def _engine() -> Any:
    """The machine code in this process, for as long as it lives."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = assembly()
    version = hashlib.sha256(f"{llvmlite.__version__} {text}".encode()).hexdigest()[:16]
    folder = compiled_code.folder()
    kept = None if folder is None else folder / f"kernel-{version}.o"
    code = None if kept is None else _read(kept)
    if code is None:
        how_often = "in every run" if folder is None else "once for this machine"
        announce(f"chinchilla-jax: compiling the solver, {how_often} ...")
        code = _compiled(text)
        if kept is not None:
            _keep(kept, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def assembly() -> str:
    """LLVM assembly of the kernel, as shipped."""
    return lzma.decompress(SHIPPED.read_bytes()).decode()


def _compiled(text: str) -> bytes:
    module, machine = llvm.parse_assembly(text), host_machine()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    optimise(module, machine, vectorise=True)
    return machine.emit_object(module)


def _read(path: Path) -> bytes | None:
    """Code kept at `path`, unless it is not there or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def _keep(path: Path, code: bytes) -> None:
    """Keep `code` at `path`, for this and other processes."""
    # A full or read-only disk costs the next process its seconds, and this one nothing.
    with contextlib.suppress(OSError), written_whole(path) as aside:
        aside.write_bytes(hashlib.sha256(code).digest() + code)
