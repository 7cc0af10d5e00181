"""From the kernel's Python sources to LLVM assembly for any processor, by Numba.

Numba's own text is tied to the process it was made in: calls into Numba's runtime, ways to raise Python's
exceptions, names that hold its settings, the processor. All of that is removed here, by patterns on the text,
and so depends on how versions of Numba write it; docs/developers/kernel.md lists those that work.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import TYPE_CHECKING

import llvmlite.binding as llvm
from numba import carray, cfunc, types
from numba.core import config

from chinchilla_jax.solvers.lane_kernel import draws, lane, lines
from chinchilla_jax.solvers.lane_kernel.entry_points import ENTRY_POINTS, EntryPoint
from chinchilla_jax.solvers.lane_kernel.llvm_tools import optimise
from chinchilla_jax.solvers.lane_kernel.shapes import DEPTH, N_SUMS, N_SYSTEMS, N_VECTORS, SIZE, WIDE

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
# Names of functions, different in every process: they list a function's options in the order of a set.
_MANGLED = re.compile(r"(?:switch\.table\.)?_ZN?[\w.$]+")
# What belongs to the processor that Numba ran on, and what LLVM can infer and its versions spell differently.
_OF_HERE = re.compile(
    r"^(?:target |source_filename|; |attributes |.* @llvm\.lifetime\.).*\n|captures\([\w, ]*\) ?| #\d+",
    re.MULTILINE,
)


def kernel_text() -> str:
    """All entry points, simplified but neither vectorised nor unrolled, under their own names.

    To be called in a fresh process: functions that Numba has compiled before come out otherwise.
    """
    kernel = llvm.parse_assembly("")
    for entry in ENTRY_POINTS:
        kernel.link_in(_simplified(_lowered(entry)))
    text = _OF_HERE.sub("", str(kernel))
    names = {name: f"f{k}" for k, name in enumerate(dict.fromkeys(_MANGLED.findall(text)))}
    return _MANGLED.sub(lambda found: names[found[0]], text)


def _lowered(entry: EntryPoint) -> str:
    """What Numba makes of an entry point and all it calls, not optimised, with nothing of Python in it."""
    function = globals()[entry.name]
    if list(inspect.signature(function).parameters) != list(entry.parameters):
        raise TypeError(f"{entry.name} has other parameters here than in entry_points.py")
    signature = types.void(*(_TYPES[kind] for kind in entry.parameters.values()))
    with _not_optimised():
        compiled = cfunc(signature, error_model="numpy")(function)
        text = str(compiled.inspect_llvm()).replace(compiled.native_name, entry.name)
    # The sources raise nothing, but the calls that would raise are there: they become traps.
    text = _DECLARED.sub(r"define \1 { call void @llvm.trap() unreachable }", text)
    text = _EXTERNAL.sub(r"= global \1 zeroinitializer", text) + "\ndeclare void @llvm.trap()\n"
    # Every array is the caller's memory, without a reference count.
    text = _COUNTED.sub(r"\1 { ret void }", text)
    text = _DEFINED.sub(r"define internal \1", _GLOBAL.sub("= internal ", text))
    return text.replace(f"define internal ptr @{entry.name}(", f"define ptr @{entry.name}(")


@contextlib.contextmanager
def _not_optimised() -> Iterator[None]:
    """Keep Numba from optimising for the processor it runs on."""
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


def fit_lanes(
    n_runs, lanes, ranks, n_weights, n_counts, tries, float32_steps, float64_steps, search_after, room,
    tolerance, columns, weights, counts, starts, target_width, first_width,
    row, index, runs, runs32, vectors, matrix, systems, sums,
    theta, anchor, anchor_value, decrement, width, status, steps,
):  # fmt: skip
    """See `lane.fit_lanes`."""
    lane.fit_lanes(
        carray(columns, (3, n_runs)), carray(weights, (n_weights, n_runs)),
        carray(counts, (n_counts, n_runs)), carray(starts, (ranks, lanes, SIZE)),
        carray(target_width, lanes), carray(first_width, lanes), tries, float32_steps,
        (tolerance, float64_steps, search_after),
        carray(row, n_runs), carray(index, n_runs), carray(runs, room), carray(runs32, room),
        (
            carray(vectors, (N_VECTORS, SIZE)), carray(matrix, (SIZE, SIZE)),
            carray(systems, (N_SYSTEMS, WIDE)), carray(sums, N_SUMS),
        ),
        carray(theta, (lanes, SIZE)), carray(anchor, (lanes, SIZE)), carray(anchor_value, lanes),
        carray(decrement, lanes), carray(width, lanes), carray(status, lanes), carray(steps, lanes),
    )  # fmt: skip


def random_bits(n_ids, n_runs, seed, stream, ids, scratch, bits):
    """Random bits (n_ids, n_runs) of every id."""
    for k in range(n_ids):
        row = carray(bits, (n_ids, n_runs))[k]
        draws.draw_bits(seed, stream, carray(ids, n_ids)[k], row, carray(scratch, n_runs))


def random_counts(n_ids, n_runs, seed, stream, ids, scratch, counts):
    """How often each run is drawn for every id, (n_ids, n_runs)."""
    rows = carray(scratch, (2, n_runs))
    for k in range(n_ids):
        draws.draw_bits(seed, stream, carray(ids, n_ids)[k], rows[0], rows[1])
        draws.count(rows[0], carray(counts, (n_ids, n_runs))[k])


def order_lines(
    n_lines, n_places, n_ranks, room, slope, intercept, places, ranks,
    values, apart, chords, sets, stack, found,
):  # fmt: skip
    """See `lines.order_statistics`."""
    both = carray(values, (2, n_lines))
    lines.order_statistics(
        n_lines, carray(slope, room), carray(intercept, room), carray(places, n_places),
        carray(ranks, n_ranks), both[0], both[1], carray(apart, n_places),
        carray(chords, (DEPTH, 7)), carray(sets, (DEPTH, 5)),
        carray(stack, (2 * DEPTH, 3)), carray(found, (n_ranks, n_places)),
    )  # fmt: skip
