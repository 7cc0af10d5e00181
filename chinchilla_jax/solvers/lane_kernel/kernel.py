"""The compiled functions in this process, called with named arguments."""

from __future__ import annotations

import ctypes
import itertools
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import numpy as np

from chinchilla_jax.solvers.lane_kernel.entry_points import (
    DRAW_BITS,
    DRAW_COUNTS,
    ENTRY_POINTS,
    FIT_LANES,
    ORDER_LINES,
    EntryPoint,
)
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine
from chinchilla_jax.solvers.lane_kernel.many_calls import (
    MANY_CALLS_PARAMETERS,
    address,
    many_calls_name,
    table_of,
)
from chinchilla_jax.solvers.lane_kernel.shapes import DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

_NUMBERS: dict[str, Any] = {"i64": ctypes.c_int64, "f64": ctypes.c_double, "u32": ctypes.c_uint32}
_ARRAYS: dict[str, np.dtype[Any]] = {
    "f64*": np.dtype(np.float64),
    "f32*": np.dtype(np.float32),
    "i64*": np.dtype(np.int64),
    "u32*": np.dtype(np.uint32),
    "u8*": np.dtype(np.uint8),
}


_ROOM = 4  # times the lines: room for those that matter within stretches within stretches


class Kernel:
    """Machine code, for as long as this object lives. Threads may share it."""

    def __init__(self, *code: bytes) -> None:
        """Load object files.

        Raises:
            RuntimeError: LLVM cannot load them, or a function is missing.
        """
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host_machine())
        for each in code:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(each))
        self._engine.finalize_object()
        self._find_functions()

    def _find_functions(self) -> None:
        """Look up all that is called; `_address` tells where."""
        self._functions = {
            entry.name: self._function(entry.name, entry.parameters.values(), brief=False)
            for entry in ENTRY_POINTS
        }
        self._fit_lanes = self._address(FIT_LANES.name)
        self._fit_many = {
            brief: self._function(many_calls_name(FIT_LANES), MANY_CALLS_PARAMETERS, brief)
            for brief in (False, True)
        }

    def _function(self, name: str, kinds: Iterable[str], brief: bool) -> Callable[..., None]:
        types = (_NUMBERS.get(kind, ctypes.c_void_p) for kind in kinds)
        return (ctypes.PYFUNCTYPE if brief else ctypes.CFUNCTYPE)(None, *types)(self._address(name))

    def _address(self, name: str) -> int:
        found: int = self._engine.get_function_address(name)
        if not found:
            raise RuntimeError(f"the object files have no function {name}")
        return found

    def call(self, entry: EntryPoint, **arguments: int | float | NDArray[Any]) -> None:
        """Call an entry point.

        Args:
            entry: which one.
            **arguments: all its parameters by name: numbers, and contiguous arrays of the declared types.
        """
        passed = [_passed(name, kind, arguments[name]) for name, kind in entry.parameters.items()]
        if len(arguments) > len(passed):
            unknown = ", ".join(arguments.keys() - entry.parameters.keys())
            raise TypeError(f"{entry.name} has no parameter {unknown}")
        self._functions[entry.name](*passed)

    def fit_lanes(self, bounds: NDArray[np.intp], *, brief: bool = False, **arguments: Any) -> None:
        """Call `FIT_LANES` many times, those between two of `bounds` at once.

        Args:
            bounds: rising, from 0 to the number of calls; the GIL is taken between them.
            brief: keep the GIL. Reacquiring it can take 5 ms when another thread is running Python.
            **arguments: as for `table_of`.
        """
        table = table_of(FIT_LANES, int(bounds[-1]), _ARRAYS, arguments)
        start = address("table", table, _ARRAYS["i64*"])
        for first, end in itertools.pairwise(bounds.tolist()):
            self._fit_many[brief](self._fit_lanes, end - first, start + first * table.strides[0])

    def random_bits(self, n_runs: int, ids: NDArray[np.uint32], seed: int, stream: int) -> NDArray[np.uint32]:
        """Random bits of the resamples `ids` (R,), the same as JAX's; (R, n_runs)."""
        bits = np.empty((len(ids), n_runs), np.uint32)
        scratch = np.empty(n_runs, np.uint32)
        self._draw(DRAW_BITS, n_runs, ids, seed, stream, scratch=scratch, bits=bits)
        return bits

    def random_counts(
        self, n_runs: int, ids: NDArray[np.uint32], seed: int, stream: int
    ) -> NDArray[np.uint8]:
        """How often each run comes up in `n_runs` draws with these bits, (R, n_runs)."""
        counts = np.empty((len(ids), n_runs), np.uint8)
        scratch = np.empty((2, n_runs), np.uint32)
        self._draw(DRAW_COUNTS, n_runs, ids, seed, stream, scratch=scratch, counts=counts)
        return counts

    def order_lines(
        self,
        slope: NDArray[np.float64],
        intercept: NDArray[np.float64],
        places: NDArray[np.float64],
        ranks: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """The values of rising `ranks` (p,) among finite lines (n,) at rising `places` (k,); (p, k)."""
        n_lines, n_places = len(slope), len(places)
        room = np.empty((2, _ROOM * n_lines))
        room[0, :n_lines], room[1, :n_lines] = slope, intercept
        found = np.empty((len(ranks), n_places))
        self.call(
            ORDER_LINES,
            n_lines=n_lines,
            n_places=n_places,
            n_ranks=len(ranks),
            room=room.shape[1],
            slope=room[0],
            intercept=room[1],
            places=places,
            ranks=ranks,
            values=np.empty((2, n_lines)),
            apart=np.empty(n_places),
            chords=np.empty((DEPTH, 7)),
            sets=np.empty((DEPTH, 5), np.int64),
            stack=np.empty((2 * DEPTH, 3), np.int64),
            found=found,
        )
        return found

    def _draw(
        self, entry: EntryPoint, n_runs: int, ids: NDArray[np.uint32], seed: int, stream: int, **arrays: Any
    ) -> None:
        ids = np.ascontiguousarray(ids, np.uint32)
        self.call(entry, n_ids=len(ids), n_runs=n_runs, seed=seed, stream=stream, ids=ids, **arrays)


def _passed(name: str, kind: str, argument: Any) -> Any:
    """The argument as C takes it: a number, or the address of an array."""
    if kind in _NUMBERS:
        return argument
    return address(name, argument, _ARRAYS[kind])
