"""How Numba compiles the functions of the kernel, and two functions that all of them use."""

from __future__ import annotations

import functools

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Division by zero gives infinity, as in NumPy: a check that raises would keep every loop scalar. Only
# compiled code calls these functions, so they need no wrappers for Python, which saves compilation.
inner = functools.partial(njit, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@inner()
def smaller(x, y):
    """The smaller of two numbers, y if either is NaN: one instruction, unlike `min`."""
    return x if x < y else y


@inner()
def larger(x, y):
    """The larger of two numbers, y if either is NaN."""
    return x if x > y else y


@intrinsic
def likely(typing_context, condition):
    """The condition, which holds as a rule: LLVM makes it a branch, so that nothing waits for the answer."""

    def generate(context, builder, signature, arguments):
        bit = ir.IntType(1)
        kind = ir.FunctionType(bit, [bit, bit])
        expect = builder.module.declare_intrinsic("llvm.expect", [bit], kind)
        return builder.call(expect, [arguments[0], bit(1)])

    return types.boolean(types.boolean), generate
