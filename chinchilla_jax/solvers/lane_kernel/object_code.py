"""Machine code of the kernel, and where it is kept.

LLVM compiles it for exactly one processor from kernel.ll.xz, which generate.py has made from the Python
sources of this folder; whether it is up to date with them is for a test to tell, not for the user's process.
The object files are kept as one in the folder of cache_dir.py, under a digest of the assembly, the version of
LLVM's bindings and the processor. They are run only if nobody but the user or root can have written them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import lzma
import re
from collections.abc import Sequence
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from chinchilla_jax._util import cache_dir, reproducible
from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.trusted_files import UntrustedError, read_trusted
from chinchilla_jax.solvers.lane_kernel.entry_points import ENTRY_POINTS, FIT_LANES
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, optimise
from chinchilla_jax.solvers.lane_kernel.many_calls import many_calls_text

SHIPPED = Path(__file__).with_name("kernel.ll.xz")
_MOST_BYTES = 2**26  # a hundred times what LLVM makes of it
_CONTRACT = re.compile(r"\bcontract ")  # the flag that allows a fused multiply-add
_DIGEST_BYTES = hashlib.sha256().digest_size
_SIZE_BYTES = 8
_ALL = frozenset(entry.name for entry in ENTRY_POINTS)
# Two halves, as far as the time of their compilation goes, which share no function.
PARTS = (frozenset({FIT_LANES.name}), _ALL - {FIT_LANES.name})


def assembly() -> str:
    """LLVM assembly of the kernel, as shipped."""
    return lzma.decompress(SHIPPED.read_bytes()).decode()


def compiled(
    text: str, machine: llvm.TargetMachine, *, fixed: bool = False, part: frozenset[str] = _ALL
) -> bytes:
    """Object code of the assembly `text` for `machine`, and of the loop around `FIT_LANES`.

    Args:
        text: LLVM assembly.
        machine: which instructions to use.
        fixed: compute the same bits on every machine: no fused multiply-add, and sums over eight lanes
            whatever the width of its vectors. From then on LLVM does so in this process.
        part: the entry points that are compiled. Each has the same instructions as in the whole.
    """
    if fixed:
        text = _CONTRACT.sub("", text)
        _fix_vectors()
    module = llvm.parse_assembly(text + (many_calls_text(FIT_LANES) if FIT_LANES.name in part else ""))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    if part != _ALL:
        _remove(_ALL - part, module, machine)
    optimise(module, machine, vectorise=True)
    return machine.emit_object(module)


def _remove(names: frozenset[str], module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Remove functions from `module`, and those that nothing else calls."""
    for function in module.functions:
        if function.name in names:
            function.linkage = llvm.Linkage.internal
    manager = llvm.create_new_module_pass_manager()
    manager.add_global_dead_code_eliminate_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    manager.run(module, llvm.create_pass_builder(machine, options))


@functools.cache
def _fix_vectors() -> None:
    # LLVM reads such options once, so they are for the whole process.
    for option in ("-force-vector-width=8", "-force-vector-interleave=1"):
        llvm.set_option("chinchilla_jax", option)


def kept_file() -> Path | None:
    """Where the object code of this kernel for this processor is kept; None where nothing can be."""
    folder = cache_dir.folder()
    if folder is None:
        return None
    target = f"{host_machine().triple} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    target += " reproducible" if reproducible.active() else ""
    # The assembly as it is shipped: unpacking it would take as long as all else here.
    version = f"{llvmlite.__version__} {target} files {many_calls_text(FIT_LANES)}".encode()
    version += SHIPPED.read_bytes()
    return folder / f"kernel-{hashlib.sha256(version).hexdigest()[:16]}.o"


def read(file: Path) -> tuple[bytes, ...] | None:
    """The code in `file`; None if there is none, it is damaged, or somebody else may have written it.

    Warns:
        EngineWarning: in the last case. A digest in the file itself does not tell who made both.
    """
    try:
        return unsealed(read_trusted(file, most=_MOST_BYTES))
    except OSError:
        return None
    except UntrustedError as reason:
        cache_dir.say_untrusted(reason, "the solver is compiled again")
        return None


def write(file: Path, code: Sequence[bytes]) -> None:
    """Keep object files in `file`, with a digest; where that cannot be, the next process compiles again."""
    with contextlib.suppress(OSError), atomic_write(file) as stream:
        stream.write(sealed(code))


def sealed(code: Sequence[bytes]) -> bytes:
    """Object files in one, with their sizes, and with a digest before it."""
    content = b"".join(len(each).to_bytes(_SIZE_BYTES, "little") + each for each in code)
    return hashlib.sha256(content).digest() + content


def unsealed(content: bytes) -> tuple[bytes, ...] | None:
    """The object files in what `sealed` gave; None if it is damaged."""
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    code = []
    while rest:
        end = _SIZE_BYTES + int.from_bytes(rest[:_SIZE_BYTES], "little")
        code.append(rest[_SIZE_BYTES:end])
        rest = rest[end:]
    return tuple(code)
