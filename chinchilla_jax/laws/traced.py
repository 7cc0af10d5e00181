"""Tries a user's function once, so that what is wrong with it is said where it is given, and in one line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.text import list_text
from chinchilla_jax.laws.fingerprint import is_installed_file

if TYPE_CHECKING:
    from chinchilla_jax.laws.natural_law import NaturalLaw

_REMEDY = "give predict(p, x) with p and x read by name, written with jax.numpy, that returns the loss"
_REMEDIES = {
    "TracerBoolConversionError": "`if`, `and` and `while` cannot ask about a value; use jnp.where",
    "TracerArrayConversionError": "NumPy and math take numbers only; use the function of jax.numpy",
    "ConcretizationTypeError": "float() and math take numbers only; use jax.numpy",
    "TracerIntegerConversionError": "a value cannot be an index or a count; use jnp.take or jnp.where",
    "NonConcreteBooleanIndexError": "a value cannot choose elements; use jnp.where",
}


def require_traceable(law: NaturalLaw) -> None:
    """Refuse a law whose function JAX cannot differentiate twice, or that returns no float64 number.

    Raises:
        UsageError: one line that says what is wrong and in which line of the function.
    """
    import jax
    import jax.numpy as jnp

    with float64_scope():
        scalar = jax.ShapeDtypeStruct((), np.float64)
        p, x = dict.fromkeys(law.kinds, scalar), dict.fromkeys(law.variables, scalar)
        try:
            trace = jax.make_jaxpr(lambda p, x: jnp.asarray(law.predict(p, x)), return_shape=True)
            program, found = trace(p, x)
        except Exception as error:
            raise _refusal(law, error) from None
        if found.shape != () or not np.issubdtype(found.dtype, np.floating):
            raise UsageError(
                f"law {law.name}: the function returned {found.dtype} of shape {found.shape}, not one "
                f"number; {_REMEDY}"
            )
        count = len(law.parameters)
        unread = _unread(program.jaxpr, program.jaxpr.invars[:count], law.parameters)
        if unread:
            raise UsageError(
                f"law {law.name}: the loss does not depend on {list_text(unread)}; leave "
                f"{'it' if len(unread) == 1 else 'them'} out of the parameters"
            )
        if len(_unread(program.jaxpr, program.jaxpr.invars[count:], law.variables)) == len(law.variables):
            raise UsageError(
                f"law {law.name}: the loss depends on nothing in x; read what it varies with of "
                f"{list_text(law.variables)}"
            )
        narrow = next(_narrowed(program.jaxpr), None)
        if narrow is not None:
            raise UsageError(
                f"law {law.name}: {_place_of(narrow)}the function computes in {narrow.params['new_dtype']}, "
                "and fits are certified in float64; leave out the conversion"
            )
        theta = jax.ShapeDtypeStruct((law.size,), np.float64)
        place, constants = [scalar] * len(law.variables), jax.ShapeDtypeStruct((4,), np.float64)
        try:
            jax.eval_shape(jax.jacfwd(jax.jacfwd(law.log_loss)), theta, place, constants)
        except Exception as error:
            raise _refusal(law, error) from None


def _refusal(law: NaturalLaw, error: Exception) -> UsageError:
    where = _where(traceback.extract_tb(error.__traceback__))
    if isinstance(error, UsageError):
        return error
    if isinstance(error, KeyError):
        has = f"p has {list_text(law.parameters)}, x has {list_text(law.variables)}"
        return UsageError(f"law {law.name}: {where}the function reads {error}, which is not given; {has}")
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    names = [each.__name__ for each in type(error).__mro__]
    remedy = next((_REMEDIES[name] for name in names if name in _REMEDIES), _REMEDY)
    return UsageError(f"law {law.name}: {where}the function raised {short(what, 120)}; {remedy}")


def _where(frames: traceback.StackSummary) -> str:
    """The last line of the user's own on the way to an error, such as "mine.py, line 3: "."""
    own = [each for each in frames if not is_installed_file(each.filename)]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""


def _unread(program: Any, inputs: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Of some inputs, which are in the order of their names, those that the result does not need."""
    needed = {id(each) for each in program.outvars}
    for equation in reversed(program.eqns):
        if not needed.isdisjoint(map(id, equation.outvars)):
            needed.update(map(id, equation.invars))
    used = {name for name, each in zip(sorted(names), inputs, strict=True) if id(each) in needed}
    return [name for name in names if name not in used]


def _narrowed(program: Any) -> Iterator[Any]:
    """Conversions of float64 numbers to fewer digits, in a program of JAX and those inside it."""
    for equation in program.eqns:
        if equation.primitive.name == "convert_element_type":
            old, new = equation.invars[0].aval.dtype, equation.params["new_dtype"]
            if old == np.float64 and np.issubdtype(new, np.inexact) and new != np.float64:
                yield equation
        for inner in equation.params.values():
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _narrowed(inner)


def _place_of(equation: Any) -> str:
    frames = getattr(getattr(equation.source_info, "traceback", None), "frames", ())
    own = [each for each in frames if not is_installed_file(each.file_name)]
    return f"{Path(own[0].file_name).name}, line {own[0].line_num}: " if own else ""
