"""The kernel as machine code: compiled once per machine and kept, then loaded in some milliseconds.

LLVM compiles it for this very processor from kernel.ll.xz, which generate.py has made from the Python
sources of this folder. What is kept is an object file, in the folder of compiled_code.py, under a digest of
the assembly and of LLVM's version.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import lzma
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import llvmlite.binding as llvm

from chinchilla_jax._util import cache_dir as compiled_code
from chinchilla_jax._util.atomic_write import written_whole
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chinchilla_jax.solvers.lane_kernel.entries import Entry

SHIPPED = Path(__file__).with_name("kernel.ll.xz")

_CTYPES: dict[str, Any] = {"i": ctypes.c_int64, "d": ctypes.c_double, "u": ctypes.c_uint32}  # else a pointer
# What the caller does in Python does not change the code, and what the rest imports is constants.
_NOT_COMPILED = {"__init__", "engine", "object_code"}
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
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def assembly() -> str:
    """LLVM assembly of the kernel: as shipped, or generated anew where the sources have changed since."""
    shipped = lzma.decompress(SHIPPED.read_bytes()).decode() if SHIPPED.exists() else ""
    if shipped.startswith(header() + "\n"):
        return shipped
    with _no_folder_for_a_package("coverage"):
        try:
            from chinchilla_jax.solvers.lane_kernel import generate
        except ImportError:
            raise UsageError(
                f"{SHIPPED.name} was made from other sources than are here: to make it anew needs Numba "
                "(pip install 'chinchilla-jax[test]'); or use engine 'xla'"
            ) from None
    return generate.assembly()


def header() -> str:
    """First line of the assembly: a digest of everything that it is made from."""
    here = Path(__file__).parent
    sources = [path for path in sorted(here.glob("*.py")) if path.stem not in _NOT_COMPILED]
    package = here.parent.parent
    sources += [package / f"{name}.py" for name in ("laws/design", "solvers/status", "solvers/thresholds")]
    digest = hashlib.sha256()
    for path in sources:
        # A checkout may have changed the line ends.
        digest.update("\n".join(path.read_text(encoding="utf-8").splitlines()).encode())
    return f"; sources {digest.hexdigest()}"


def optimise(module: llvm.ModuleRef, *, speed: int, vectorise: bool) -> llvm.TargetMachine:
    """Optimise `module` in place; with `vectorise`, for this processor. Returns what it was optimised for."""
    machine = _machine() if vectorise else llvm.Target.from_default_triple().create_target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=speed)
    options.loop_vectorization = options.slp_vectorization = vectorise
    options.loop_interleaving = options.loop_unrolling = vectorise
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine


def _compiled(text: str) -> bytes:
    module = llvm.parse_assembly(text)
    machine = _machine()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    return optimise(module, speed=2, vectorise=True).emit_object(module)


@contextlib.contextmanager
def _no_folder_for_a_package(name: str) -> Iterator[None]:
    """Hide a folder called `name` that Python would import as a package.

    Numba uses coverage.py where it is installed, and fails where a folder of results has that name.
    """
    found = None if name in sys.modules else importlib.util.find_spec(name)
    if found is None or found.origin is not None:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _machine() -> llvm.TargetMachine:
    """Code for this very processor."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
        codemodel="large",
    )


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
