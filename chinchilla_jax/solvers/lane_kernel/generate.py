"""Generates the kernel: from its Python sources, by Numba, to LLVM assembly for any processor.

    python -m chinchilla_jax.solvers.lane_kernel.generate

writes kernel.ll.xz, which is part of the package. Run it after changing a source of the kernel, or a constant
that one imports: until then the old kernel runs, and a test fails (see fingerprint.py). It takes a quarter of
a minute, nearly all of it Numba's typing and lowering. Users of the kernel do not need Numba: object_code.py
turns the assembly into machine code within a second or two.
"""

from __future__ import annotations

import contextlib
import inspect
import lzma
import platform
import re
from typing import TYPE_CHECKING

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import carray, cfunc, types
from numba.core import config

from chinchilla_jax.solvers.lane_kernel.draws import count, draw_bits
from chinchilla_jax.solvers.lane_kernel.entry_points import ENTRY_POINTS, EntryPoint
from chinchilla_jax.solvers.lane_kernel.fingerprint import fingerprint
from chinchilla_jax.solvers.lane_kernel.lane import fit_lanes
from chinchilla_jax.solvers.lane_kernel.llvm_tools import optimise
from chinchilla_jax.solvers.lane_kernel.object_code import SHIPPED
from chinchilla_jax.solvers.lane_kernel.shapes import N_SUMS, N_VECTORS, SIZE
from chinchilla_jax.solvers.thresholds import PROBES

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = {
    "i64": types.int64,
    "f64": types.float64,
    "u32": types.uint32,
    "i64*": types.CPointer(types.int64),
    "f64*": types.CPointer(types.float64),
    "f32*": types.CPointer(types.float32),
    "u32*": types.CPointer(types.uint32),
    "u8*": types.CPointer(types.uint8),
}
_DECLARED = re.compile(r"^declare (.+? @(?!llvm\.)[\w.]+\(.*?\))[^\n{]*$", re.MULTILINE)
_EXTERNAL = re.compile(r"= external global (\S+)")
_DEFINED = re.compile(r"^define (?:linkonce_odr )?(.+? @)", re.MULTILINE)
_COUNTED = re.compile(r"^(define .*@NRT_(?:inc|dec)ref\(.*?\))[^}]*}$", re.MULTILINE)
_GLOBAL = re.compile(r"= (?:linkonce |common )?(?=global)")
# Long, and another in every process: they tell the options of a function in the order of a set.
_MANGLED = re.compile(r"(?:switch\.table\.)?_ZN?[\w.$]+")
# Of Numba's processor; and what versions of LLVM spell differently, and can find out for themselves.
_OF_HERE = re.compile(
    r"^(?:target |source_filename|; |attributes |.* @llvm\.lifetime\.).*\n|captures\([\w, ]*\) ?| #\d+",
    re.MULTILINE,
)


def assembly() -> str:
    """All entries, simplified but neither vectorised nor unrolled, under their own names.

    The first line is the fingerprint of the sources, the second names the compilers.
    """
    kernel = llvm.parse_assembly("")
    for entry in ENTRY_POINTS:
        kernel.link_in(_simplified(_lowered(entry)))
    text = _OF_HERE.sub("", str(kernel))
    names = {name: f"f{k}" for k, name in enumerate(dict.fromkeys(_MANGLED.findall(text)))}
    text = _MANGLED.sub(lambda found: names[found[0]], text)
    return f"{header()}\n; {compilers()}\n{text}"


def header() -> str:
    """First line of the assembly."""
    return f"; sources {fingerprint()}"


def compilers() -> str:
    """What made the assembly: another version may word it otherwise."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"Numba {numba.__version__}, llvmlite {llvmlite.__version__}, Python {python}"


def _lowered(entry: EntryPoint) -> str:
    """What Numba makes of the entry and all it calls, not optimised, with nothing of Python in it."""
    function = globals()[entry.name]
    if list(inspect.signature(function).parameters) != list(entry.parameters):
        raise TypeError(f"{entry.name} here and in entry_points.py have different parameters")
    signature = types.void(*(_TYPES[kind] for kind in entry.parameters.values()))
    with _not_optimised():
        compiled = cfunc(signature, error_model="numpy")(function)
        text = str(compiled.inspect_llvm()).replace(compiled.native_name, entry.name)
    # Nothing here raises, but the ways to Python's exceptions are there. Cut off, the code stands by itself.
    text = _DECLARED.sub(r"define \1 { call void @llvm.trap() unreachable }", text)
    text = _EXTERNAL.sub(r"= global \1 zeroinitializer", text) + "\ndeclare void @llvm.trap()\n"
    # Every array is the caller's memory, without a count of references.
    text = _COUNTED.sub(r"\1 { ret void }", text)
    text = _DEFINED.sub(r"define internal \1", _GLOBAL.sub("= internal ", text))
    return text.replace(f"define internal ptr @{entry.name}(", f"define ptr @{entry.name}(")


@contextlib.contextmanager
def _not_optimised() -> Iterator[None]:
    """Numba optimises for this very processor, which is too early."""
    before = config.OPT
    config.OPT = config._OptLevel(0)
    try:
        yield
    finally:
        config.OPT = before


def _simplified(text: str) -> llvm.ModuleRef:
    """The assembly without detours, calls of small functions and dead code: a tenth of its size."""
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_default_triple().create_target_machine()
    optimise(module, machine, vectorise=False)
    return module


def fit_lanes_of(
    n_runs, lanes, ranks, n_weights, n_counts, float32_steps, float64_steps, search_after, room, tolerance,
    columns, weights, counts, starts, target_width, first_width,
    row, index, runs, runs32, vectors, matrix, sums, found,
    theta, anchor, anchor_value, decrement, width, status, steps,
):  # fmt: skip
    """See `fit_lanes`."""
    fit_lanes(
        carray(columns, (3, n_runs)), carray(weights, (n_weights, n_runs)),
        carray(counts, (n_counts, n_runs)), carray(starts, (ranks, lanes, SIZE)),
        carray(target_width, lanes), carray(first_width, lanes), float32_steps,
        (tolerance, float64_steps, search_after),
        carray(row, n_runs), carray(index, n_runs), carray(runs, room), carray(runs32, room),
        (
            carray(vectors, (N_VECTORS, SIZE)), carray(matrix, (SIZE, SIZE)), carray(sums, N_SUMS),
            carray(found, len(PROBES)),
        ),
        carray(theta, (lanes, SIZE)), carray(anchor, (lanes, SIZE)), carray(anchor_value, lanes),
        carray(decrement, lanes), carray(width, lanes), carray(status, lanes), carray(steps, lanes),
    )  # fmt: skip


def bits_of(n_ids, n_runs, seed, stream, ids, scratch, bits):
    """Random bits (n_ids, n_runs) of every id."""
    for k in range(n_ids):
        row = carray(bits, (n_ids, n_runs))[k]
        draw_bits(seed, stream, carray(ids, n_ids)[k], row, carray(scratch, n_runs))


def counts_of(n_ids, n_runs, seed, stream, ids, scratch, counts):
    """How often each run is drawn for every id, (n_ids, n_runs)."""
    rows = carray(scratch, (2, n_runs))
    for k in range(n_ids):
        draw_bits(seed, stream, carray(ids, n_ids)[k], rows[0], rows[1])
        count(rows[0], carray(counts, (n_ids, n_runs))[k])


if __name__ == "__main__":
    SHIPPED.write_bytes(lzma.compress(assembly().encode(), preset=9))
