"""Many calls of a compiled function by one call from Python: their arguments as a table.

Each call from Python to a compiled function costs as much as a fit, and either keeps the GIL for its length
or has to wait for it afterwards. A table with a row for each call is filled by a few operations of NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.lane_kernel.entry_points import EntryPoint

_DOUBLE = "f64"
_LLVM = {"i64": "i64", _DOUBLE: "double"}  # the rest are addresses
MANY_CALLS_PARAMETERS = ("address", "i64", "address")  # of the function: what it calls, how often, the table


class Parts(NamedTuple):
    """An array of which each call is given the part that begins at a row of its own.

    Attributes:
        array: contiguous.
        first: (count,) rows.
    """

    array: NDArray[Any]
    first: NDArray[np.intp]


def many_calls_name(entry: EntryPoint) -> str:
    """Name of the function that calls `entry` many times."""
    return f"{entry.name}_many"


def many_calls_text(entry: EntryPoint) -> str:
    """LLVM assembly of a function (its address, count, table) that calls `entry` with each row of the table.

    The address keeps the optimiser from mixing the two: the code of `entry` stays as it is.
    """
    kinds = [_LLVM.get(kind, "ptr") for kind in entry.parameters.values()]
    if "u32" in entry.parameters.values():
        raise TypeError(f"{entry.name} has a parameter that does not fill a place of the table")
    loads = "".join(
        f"  %p{k} = getelementptr i64, ptr %row, i64 {k}\n  %a{k} = load {kind}, ptr %p{k}, align 8\n"
        for k, kind in enumerate(kinds)
    )
    passed = ", ".join(f"{kind} %a{k}" for k, kind in enumerate(kinds))
    return f"""
define void @{many_calls_name(entry)}(ptr %function, i64 %count, ptr %table) {{
begin:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %call, label %end
call:
  %k = phi i64 [ 0, %begin ], [ %next, %call ]
  %place = mul i64 %k, {len(kinds)}
  %row = getelementptr i64, ptr %table, i64 %place
{loads}  %ignored = call ptr %function({passed})
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %call, label %end
end:
  ret void
}}
"""


def table_of(
    entry: EntryPoint, count: int, dtypes: dict[str, np.dtype[Any]], arguments: dict[str, Any]
) -> NDArray[np.int64]:
    """A row of arguments for each of `count` calls, (count, parameters).

    Args:
        entry: what is called.
        count: how often.
        dtypes: of arrays, by the kind of parameter.
        arguments: for every parameter a number, or numbers (count,); an array that all calls share, or
            `Parts` of one.

    Raises:
        TypeError: a parameter is missing or unknown, or an array is not contiguous or of another type.
    """
    if arguments.keys() != entry.parameters.keys():
        wrong = ", ".join(arguments.keys() ^ entry.parameters.keys())
        raise TypeError(f"{entry.name}: missing or unknown: {wrong}")
    table = np.empty((count, len(entry.parameters)), np.int64)
    for column, (name, kind) in enumerate(entry.parameters.items()):
        given = arguments[name]
        if kind == _DOUBLE:
            table.view(np.float64)[:, column] = given
        elif kind in _LLVM:
            table[:, column] = given
        elif isinstance(given, Parts):
            array = given.array
            table[:, column] = address(name, array, dtypes[kind]) + given.first * array.strides[0]
        else:
            table[:, column] = address(name, given, dtypes[kind])
    return table


def address(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> int:
    """Where the numbers of an array are.

    Raises:
        TypeError: it is not contiguous, or of another type.
    """
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"{name} is not a contiguous array of {dtype}")
    found: int = array.__array_interface__["data"][0]
    return found
