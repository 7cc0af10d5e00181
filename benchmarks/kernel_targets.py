"""What the CPU kernel gains from being compiled on the machine that runs it.

    python benchmarks/kernel_targets.py
    python benchmarks/kernel_targets.py --smoke      # seconds, for the gate

Compiles kernel.ll.xz for this processor and for the levels of x86-64 that a wheel could be built for, and
fits the same resamples by each on one thread: seconds to compile, bytes of code, fits per CPU second (best of
several rounds in turn) and their ratio to this processor's own. A second table loads shared libraries made
from the same code, as a wheel would hold them (where there is a C compiler to link them). Exit code 1 if a
status differs, or an objective by more than 1e-12 (relative), or a bit in the reproducible mode.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

import chinchilla_jax as cj
from chinchilla_jax.laws.design import Design
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.lane_kernel.engine import LaneEngine
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, initialise
from chinchilla_jax.solvers.lane_kernel.object_code import assembly, compiled

LEVELS = (
    ("x86-64-v4", "x86-64-v3", "x86-64-v2") if platform.machine() in ("x86_64", "AMD64") else ("generic",)
)
PROCESSORS = ("haswell", "znver2", "skylake-avx512") if LEVELS[0].startswith("x86") else ()
DELTA = 1e-3
ALLOWED = 1e-12


class SharedLibrary(Kernel):
    """The kernel as a shared library, without LLVM."""

    def __init__(self, path: Path) -> None:
        """Load it."""
        self._library = ctypes.CDLL(str(path))
        self._find_functions()

    def _address(self, name: str) -> int:
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0


class Problem:
    """Resamples of the embedded runs under a little noise, from one start each."""

    def __init__(self, resamples: int) -> None:
        """Draw them."""
        runs = cj.LogNormalNoise(0.1).apply(cj.load_runs("chinchilla"))
        point = cj.fit(runs, starts=64)
        self.columns = Design.from_runs(runs).columns
        ids = np.arange(resamples)
        self.weights = cj.Pairs().weights(runs, ids, 0)
        self.start = np.broadcast_to(point.starts.minima[0], (1, resamples, 5))
        self.widths = np.full(resamples, DELTA)

    def solve(self, kernel: Kernel) -> Any:
        """The ends of all fits, and the CPU seconds they took."""
        engine = LaneEngine(kernel, self.columns.shape[1], SolverOptions(workers=1))
        begun = time.process_time()
        ends = engine.fit_columns(self.columns, self.weights, self.start, self.widths)
        return ends, time.process_time() - begun


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resamples", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="64 resamples, one round")
    args = parser.parse_args()
    if args.smoke:
        args.resamples, args.rounds = 64, 1
    problem = Problem(args.resamples)
    initialise()
    version = ".".join(map(str, llvm.llvm_version_info))
    print(f"{llvm.get_host_cpu_name()}, llvmlite {llvmlite.__version__} (LLVM {version})")
    kernels: dict[str, Kernel] = {}
    for level in ("this processor", *LEVELS):
        machine = host_machine() if level == "this processor" else target(level)
        begun = time.perf_counter()
        code = compiled(assembly(), machine)
        seconds = time.perf_counter() - begun
        kernels[level] = Kernel(code)
        print(f"{level:16} compiled in {seconds:5.2f} s, {len(code):7,} bytes")
    right = compare(kernels, problem, args.rounds)
    print("in the reproducible mode: no fused multiply-add, sums over eight lanes")
    fixed = {"this processor": kernels["this processor"]}
    for level in ("fixed here", *LEVELS, *PROCESSORS):
        machine = host_machine() if level == "fixed here" else target(level)
        fixed[level] = Kernel(compiled(assembly(), machine, fixed=True))
    right &= compare(fixed, problem, args.rounds, same="fixed here")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.name == "nt":
        print("no C compiler: no shared libraries compared")
        return 0 if right else 1
    print("as shared libraries")
    with tempfile.TemporaryDirectory() as folder:
        libraries: dict[str, Kernel] = {}
        for level in LEVELS:
            (Path(folder) / "kernel.o").write_bytes(compiled(assembly(), target(level, "pic", "small")))
            library = Path(folder) / f"{level}.so"
            subprocess.run([compiler, "-shared", "-o", library, f"{folder}/kernel.o"], check=True)
            begun = time.perf_counter()
            libraries[level] = SharedLibrary(library)
            seconds = time.perf_counter() - begun
            print(f"{level:16} loaded in {1e3 * seconds:.2f} ms, {library.stat().st_size:7,} bytes")
        right &= compare({"this processor": kernels["this processor"], **libraries}, problem, args.rounds)
    return 0 if right else 1


def target(level: str, relocation: str = "default", model: str = "large") -> llvm.TargetMachine:
    triple = llvm.Target.from_default_triple()
    return triple.create_target_machine(
        cpu=level, opt=3, jit=model == "large", reloc=relocation, codemodel=model
    )


def compare(kernels: dict[str, Kernel], problem: Problem, rounds: int, same: str = "") -> bool:
    """Print a line for each kernel; whether all agree with the first, and the others with `same` by bits."""
    best = dict.fromkeys(kernels, np.inf)
    ends = {}
    for _ in range(rounds):
        for name, kernel in kernels.items():
            ends[name], seconds = problem.solve(kernel)
            best[name] = min(best[name], seconds)
    first, right = next(iter(kernels)), True
    for name in kernels:
        differ = int((ends[name].status != ends[first].status).sum())
        worst = float(np.abs(ends[name].anchor_value / ends[first].anchor_value - 1.0).max())
        rate = len(problem.widths) / best[name]
        print(
            f"{name:16} {rate:9,.0f} fits/s, {best[first] / best[name]:4.2f} of {first}'s; "
            f"{differ} statuses differ, objectives by {worst:.1e}"
        )
        right &= differ == 0 and worst <= ALLOWED
        if same and name != first:
            bits = sum((each != of).sum() for each, of in zip(ends[name], ends[same], strict=True))
            print(f"{'':16} {bits} numbers differ from those of {same}")
            right &= bits == 0
    return right


if __name__ == "__main__":
    sys.exit(main())
