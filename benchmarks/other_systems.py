"""What can be known on one machine of the CPU kernel on another system.

    python benchmarks/other_systems.py              # 2,048 resamples
    python benchmarks/other_systems.py --smoke      # seconds, for the gate

Compiles kernel.ll.xz for macOS and Windows, on x86-64 and ARM, as llvmlite does there. Each object file is
given to LLVM's loader, which places it in memory and resolves its addresses for any system and processor.
Code for this processor is then run: with the calling convention of its system, on the same fits as the
kernel of this system. Exit code 1 if a status differs, or an objective by more than 1e-12 (relative); LLVM
ends the process where an object needs a symbol that is not given: all need what fills memory, and no more.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import sys
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from kernel_targets import ALLOWED, Problem

from chinchilla_jax.solvers.lane_kernel.entry_points import ENTRY_POINTS, FIT_LANES
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine
from chinchilla_jax.solvers.lane_kernel.many_calls import MANY_CALLS_PARAMETERS, many_calls_name
from chinchilla_jax.solvers.lane_kernel.object_code import assembly, compiled
from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers

# Triple, processor, what code of this system is called by, the C function it needs, and its parameters.
SYSTEMS = {
    "macOS, x86-64": ("x86_64-apple-macosx11.0", "x86-64-v3", "ccc", "___bzero", "ptr, i64"),
    "macOS, arm64": ("arm64-apple-macosx11.0", "apple-m1", "ccc", "_bzero", "ptr, i64"),
    "Windows, x86-64": ("x86_64-pc-windows-msvc", "x86-64-v3", "win64cc", "memset", "ptr, i32, i64"),
    "Windows, arm64": ("aarch64-pc-windows-msvc", "generic", "ccc", "memset", "ptr, i32, i64"),
}
IR_TYPES = {"i64": "i64", "f64": "double", "u32": "i32"}
FUNCTIONS = {
    **{entry.name: tuple(entry.parameters.values()) for entry in ENTRY_POINTS},
    many_calls_name(FIT_LANES): MANY_CALLS_PARAMETERS,
}


class ForeignKernel(Kernel):
    """The kernel as an object file of another system, in this process."""

    def __init__(self, code: bytes, system: str) -> None:
        """Load it; LLVM ends the process if it cannot, or if a symbol is missing."""
        triple, _, convention, needed, parameters = SYSTEMS[system]
        self._host = [_jit(_zeros_for(needed, parameters, convention))]
        llvm.add_symbol(needed, self._host[0].get_function_address("zeros"))
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        prefix = "_" if "apple" in triple else ""
        found = {name: self._engine.get_function_address(prefix + name) for name in FUNCTIONS}
        missing = [name for name, address in found.items() if not address]
        if missing:
            raise RuntimeError(f"the object file has no function {', '.join(missing)}")
        self._host.append(_jit("\n".join(_calls(found, convention))))
        self._find_functions()
        self._fit_lanes = found[FIT_LANES.name]  # which code of the other system calls

    def _address(self, name: str) -> int:
        return int(self._host[1].get_function_address(f"call_{name}"))


def _jit(text: str) -> Any:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), host_machine())
    engine.finalize_object()
    return engine


def _zeros_for(name: str, parameters: str, convention: str) -> str:
    """What fills memory, with the convention of the other system, by this system's memset."""
    memset = ctypes.cast(ctypes.CDLL(None).memset, ctypes.c_void_p).value
    value = "%1" if name == "memset" else "0"
    size = "%2" if name == "memset" else "%1"
    return f"""define {convention} ptr @zeros({parameters}) {{
  %f = inttoptr i64 {memset} to ptr
  %r = call ptr %f(ptr %0, i32 {value}, i64 {size})
  ret ptr %r
}}"""


def _calls(addresses: dict[str, int], convention: str) -> list[str]:
    """Functions of this system that hand their arguments on."""
    text = []
    for name, parameters in FUNCTIONS.items():
        kinds = [IR_TYPES.get(kind, "ptr") for kind in parameters]
        passed = ", ".join(f"{kind} %a{number}" for number, kind in enumerate(kinds))
        text.append(f"""define void @call_{name}({passed}) {{
  %f = inttoptr i64 {addresses[name]} to ptr
  call {convention} void %f({passed})
  ret void
}}""")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resamples", type=int, default=2048)
    parser.add_argument("--smoke", action="store_true", help="32 resamples, three systems")
    args = parser.parse_args()
    resamples = 32 if args.smoke else args.resamples
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    if platform.machine() != "x86_64" or sys.platform != "linux":
        print("made for x86-64 Linux: nothing is run here")
        return 0
    print(f"llvmlite {llvmlite.__version__} (LLVM {'.'.join(map(str, llvm.llvm_version_info))})")
    problem = Problem(resamples)
    here, _ = problem.solve(Kernel(compiled(assembly(), host_machine())))
    right = True
    for system in list(SYSTEMS)[: 3 if args.smoke else None]:
        triple, processor, *_ = SYSTEMS[system]
        target = llvm.Target.from_triple(triple)
        machine = target.create_target_machine(cpu=processor, opt=3, jit=True, codemodel="large")
        code = compiled(assembly(), machine)
        kernel = ForeignKernel(code, system)
        if not triple.startswith("x86_64"):
            print(f"{system:16} {len(code):6,} bytes, loaded; not run, being for another processor")
            continue
        require_right_answers(kernel)
        there, _ = problem.solve(kernel)
        differ = int((there.status != here.status).sum())
        worst = float(np.abs(there.anchor_value / here.anchor_value - 1.0).max())
        print(
            f"{system:16} {len(code):6,} bytes, loaded and run: the self-test is answered; of {resamples:,} "
            f"fits {differ} statuses differ, objectives by {worst:.1e}"
        )
        right &= differ == 0 and worst <= ALLOWED
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
