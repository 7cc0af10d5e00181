"""Check that the CPU kernel computes the same on ARM: x86-64 code here against aarch64 code under qemu.

    python benchmarks/aarch64.py              # 6 conditions x 100 resamples
    python benchmarks/aarch64.py --smoke      # seconds, for the gate

The kernel is compiled by LLVM for aarch64, linked with a small C program and run by qemu's user emulation;
the rest of the library runs here. Needs Debian's packages qemu-user and gcc-aarch64-linux-gnu, and stops with
a message if they are missing. Exit code 1 if a random bit or a status differs, or an objective by more than
1e-12 (relative). Speeds under emulation are not meaningful.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

import chinchilla_jax as cj
from chinchilla_jax.laws.design import Design
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.lane_kernel.engine import LaneEngine
from chinchilla_jax.solvers.lane_kernel.entry_points import ENTRY_POINTS, FIT_LANES, EntryPoint
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel
from chinchilla_jax.solvers.lane_kernel.many_calls import Parts
from chinchilla_jax.solvers.lane_kernel.object_code import assembly, compiled
from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers

EMULATOR, COMPILER = "qemu-aarch64", "aarch64-linux-gnu-gcc"
PROCESSORS = ("generic", "neoverse-n1")
ALLOWED = 1e-12
DELTA = 1e-3
CONDITIONS = {
    "as they are": lambda runs: runs,
    "counts x 0.5": cj.Multiplicative(0.5).apply,
    "counts + 3e8": cj.Additive(3e8).apply,
    "counts^1.2": cj.SystematicBias(1.2).apply,
    "noise 0.1": cj.LogNormalNoise(0.1).apply,
    "noise 0.3": cj.LogNormalNoise(0.3).apply,
    "noise 1.1": cj.LogNormalNoise(1.1).apply,
}
C_TYPES = {
    "i64": "int64_t", "f64": "double", "u32": "uint32_t", "f64*": "double *", "f32*": "float *",
    "i64*": "int64_t *", "u32*": "uint32_t *", "u8*": "uint8_t *",
}  # fmt: skip
# Reads the number of an entry point and its arguments, each as its size in bytes and its content, calls the
# entry point, and writes all arguments back.
PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
%(declarations)s
int main(int count, char **names) {
    FILE *in = fopen(names[1], "rb"), *out = fopen(names[2], "wb");
    int64_t entry, n, size[64];
    char *argument[64];
    if (!in || !out || fread(&entry, 8, 1, in) != 1 || fread(&n, 8, 1, in) != 1) return 1;
    for (int64_t k = 0; k < n; k++) {
        if (fread(&size[k], 8, 1, in) != 1) return 1;
        argument[k] = malloc(size[k] + 64);
        if (fread(argument[k], 1, size[k], in) != (size_t)size[k]) return 1;
    }
    %(calls)s
    for (int64_t k = 0; k < n; k++) fwrite(argument[k], 1, size[k], out);
    return fclose(out);
}
"""


class EmulatedKernel(Kernel):
    """The kernel as an aarch64 program."""

    def __init__(self, processor: str, folder: Path) -> None:
        """Compile and link it."""
        self.folder, self.processor = folder, processor
        target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
        machine = target.create_target_machine(cpu=processor, opt=3)
        (folder / "kernel.o").write_bytes(compiled(assembly(), machine))
        (folder / "driver.c").write_text(program_text())
        command = [COMPILER, "-static", "-O1", "-o", "program", "driver.c", "kernel.o"]
        subprocess.run(command, cwd=folder, check=True)

    def fit_lanes(self, bounds: np.ndarray, *, brief: bool = False, **arguments: Any) -> None:
        """See `Kernel`; of one data set, whose parts are whole arrays."""
        if bounds.tolist() != [0, 1]:
            raise ValueError(f"{bounds[-1]} calls; one is emulated at a time")
        given = {name: each.array if isinstance(each, Parts) else each for name, each in arguments.items()}
        for name, kind in FIT_LANES.parameters.items():
            if not kind.endswith("*"):
                given[name] = np.asarray(given[name]).item()
        self.call(FIT_LANES, **given)

    def call(self, entry: EntryPoint, **arguments: Any) -> None:
        """See `Kernel`."""
        content = struct.pack("=qq", ENTRY_POINTS.index(entry), len(entry.parameters))
        for name, kind in entry.parameters.items():
            value = arguments[name]
            letter = {"i64": "q", "f64": "d", "u32": "I"}.get(kind)
            part = value.tobytes() if letter is None else struct.pack(f"={letter}", value)
            content += struct.pack("=q", len(part)) + part
        (self.folder / "in").write_bytes(content)
        emulator = [EMULATOR, *(["-cpu", self.processor] if self.processor != "generic" else [])]
        subprocess.run([*emulator, "./program", "in", "out"], cwd=self.folder, check=True)
        found = (self.folder / "out").read_bytes()
        place = 0
        for name, kind in entry.parameters.items():
            if kind.endswith("*"):
                array = arguments[name]
                array.ravel()[:] = np.frombuffer(found, array.dtype, array.size, place)
                place += array.nbytes
            else:
                place += 4 if kind == "u32" else 8


def program_text() -> str:
    declarations, calls = [], []
    for number, entry in enumerate(ENTRY_POINTS):
        types = [C_TYPES[kind] for kind in entry.parameters.values()]
        declarations.append(f"void *{entry.name}({', '.join(types)});")
        passed = [
            f"({kind})argument[{k}]" if kind.endswith("*") else f"*({kind} *)argument[{k}]"
            for k, kind in enumerate(types)
        ]
        calls.append(f"if (entry == {number}) {entry.name}({', '.join(passed)});")
    return PROGRAM % {"declarations": "\n".join(declarations), "calls": "\n    ".join(calls)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resamples", type=int, default=100, help="per condition")
    parser.add_argument("--smoke", action="store_true", help="two conditions of ten resamples")
    args = parser.parse_args()
    missing = [tool for tool in (EMULATOR, COMPILER) if shutil.which(tool) is None]
    if missing:
        print(
            f"nothing compared: no {' and no '.join(missing)} (apt install qemu-user gcc-aarch64-linux-gnu)"
        )
        return 0
    names = list(CONDITIONS)[:2] if args.smoke else list(CONDITIONS)
    resamples = 10 if args.smoke else args.resamples
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    right = True
    print(f"{'processor':12} {'condition':14} {'fits':>5} {'certified':>9} {'status differs':>14} "
          f"{'worst objective':>15} {'steps differ':>12}")  # fmt: skip
    for processor in PROCESSORS[-1:] if args.smoke else PROCESSORS:
        with tempfile.TemporaryDirectory() as folder:
            kernel = EmulatedKernel(processor, Path(folder))
            require_right_answers(kernel)
            for name in names:
                right &= compare(kernel, name, resamples)
    print("the same on both" if right else "NOT the same on both")
    return 0 if right else 1


def compare(emulated: EmulatedKernel, name: str, resamples: int) -> bool:
    """Print one line; returns whether all results agree."""
    runs = CONDITIONS[name](cj.load_runs("chinchilla"))
    design, point = Design.from_runs(runs), cj.fit(runs, starts=64)
    ids = np.arange(resamples, dtype=np.uint32)
    here = load_kernel()
    kernels: tuple[Kernel, Kernel] = (here, emulated)
    counts = [kernel.random_counts(len(runs), ids, 0, 0) for kernel in kernels]
    bits = [kernel.random_bits(7, ids, 0, 0) for kernel in kernels]
    start = np.broadcast_to(point.starts.minima[0], (1, resamples, 5))
    widths = np.full(resamples, DELTA)
    one, other = (
        LaneEngine(kernel, len(runs), SolverOptions(workers=1)).fit_columns(
            design.columns, counts[0], start, widths
        )
        for kernel in kernels
    )
    differ = int((one.status != other.status).sum())
    worst = float(np.abs(other.anchor_value / one.anchor_value - 1.0).max())
    certified, steps = int((one.status == 0).sum()), int((one.steps != other.steps).sum())
    print(
        f"{emulated.processor:12} {name:14} {resamples:5} {certified:9} {differ:14} {worst:15.1e} {steps:12}"
    )
    same = np.array_equal(counts[0], counts[1]) and np.array_equal(bits[0], bits[1])
    return same and differ == 0 and worst <= ALLOWED


if __name__ == "__main__":
    sys.exit(main())
