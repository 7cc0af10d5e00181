"""A law as a program for a batch: what depends on the runs only is computed once, derivatives are structural.

Notation (one run; theta of p coordinates)
    features     what the law computes of a run without theta, such as u, v, ln cosh of a bend; F scalars
    shared       the same for what depends on the constants only; G scalars
    inner        f(theta; features, shared), the law up to a last logarithm
    outer        ln L = ln f where the law ends in a logarithm, f otherwise
    F_j, F_jk    derivatives of f by theta_j, and by theta_j and theta_k

`Law.log_loss` is traced to a jaxpr, and its equations are sorted by what they depend on. Derivatives are
taken in forward mode, one coordinate at a time, so that JAX sees what does not depend on a coordinate: an
entry that is zero by structure is left out of every sum. A last logarithm is left to the pass, since all
derivatives of ln f follow from those of f and one reciprocal.

On CPUs, three functions are replaced by what XLA compiles to vector code: float64 logarithms, ln(e^x + e^y)
and division, see `_SUBSTITUTES`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend import core

from chinchilla_jax.solvers.jax_newton.logarithm import log as vector_log

if TYPE_CHECKING:
    from chinchilla_jax.laws.law import Law

_INLINED = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr"}
_Values = TypeVar("_Values", Array, list[Array])
_CONSTANT, _RUN, _LANE = range(3)  # what an equation depends on, at most


@jax.custom_jvp
def reciprocal(x: Array) -> Array:
    """1 / x; its derivatives are products of itself."""
    return 1.0 / x


@reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    inverse = reciprocal(*primals)
    return inverse, -tangents[0] * (inverse * inverse)


@jax.custom_jvp
def log(x: Array) -> Array:
    """Ln x, and NaN where x is not positive, normal and finite."""
    found = vector_log(x)
    limits = jnp.finfo(x.dtype)
    return jnp.where((x >= limits.tiny) & (x <= limits.max), found, jnp.nan)


@log.defjvp
def _log_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log(*primals), tangents[0] * reciprocal(*primals)


def _log_add_exp(x: Array, y: Array) -> Array:
    """Ln(e^x + e^y); the shift has no part in the derivatives."""
    most = lax.stop_gradient(jnp.maximum(x, y))
    return most + log(jnp.exp(x - most) + jnp.exp(y - most))


def _log_one_plus(x: Array) -> Array:
    return log(1.0 + x)


def _power(x: Array, y: Array) -> Array:
    """x^y of a positive x, as every quantity of a run is."""
    return jnp.exp(y * jnp.log(x))


def _divide(x: Array, y: Array) -> Array:
    return x * reciprocal(y)


_SUBSTITUTES: dict[str, Callable[..., Array]] = {
    "log": log,
    "log1p": _log_one_plus,
    "div": _divide,
    "logaddexp": _log_add_exp,
}


class _Equation(NamedTuple):
    """One equation of a flattened jaxpr; values are named by numbers, or are the values themselves."""

    name: str
    equation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]


class _Known(NamedTuple):
    """A value that the jaxpr holds itself."""

    value: Any


class LawProgram:
    """A law with this many constants, for arrays of one dtype.

    Attributes:
        size: p.
        dtype: of all arrays.
        ends_in_log: whether ln L is the logarithm of `inner`.
        first: for every j the derivative F_j as a function like `inner`; None where it is zero.
        second: for every (j, k), k <= j, the same of F_jk; entries that are zero are missing.
    """

    def __init__(self, law: type[Law], constants: int, dtype: Any) -> None:
        """Trace and sort the law; inside `float64_scope` for float64."""
        self.size = len(law.parameters)
        scalar = jax.ShapeDtypeStruct((), dtype)
        vector = jax.ShapeDtypeStruct((constants,), dtype)
        self.n_variables = len(law.variables)
        closed = _traced(law, [scalar] * self.size, [scalar] * self.n_variables, vector)
        self.dtype = dtype
        self._equations: list[_Equation] = []
        count = self.size + self.n_variables + 1
        environment = dict(zip(closed.jaxpr.invars, range(count), strict=True))
        self._count = count
        self._not_real: dict[int, Any] = {}  # dtypes of conditions and whole numbers
        (self._result,) = self._flatten(closed, environment)
        self._sort()
        last = self._lane_equations[-1]
        self.ends_in_log = last.name == "log" and last.outputs[0] == self._result
        if self.ends_in_log:
            self._lane_equations.pop()
            self._result = last.inputs[0]
        self._differentiate()

    def _flatten(self, closed: Any, environment: dict[Any, Any]) -> list[Any]:
        """Append the equations of a closed jaxpr whose variables are named in `environment`."""
        jaxpr = closed.jaxpr
        for variable, value in zip(jaxpr.constvars, closed.consts, strict=True):
            environment[variable] = _Known(value)

        def read(atom: Any) -> Any:
            return _Known(atom.val) if isinstance(atom, core.Literal) else environment[atom]

        for equation in jaxpr.eqns:
            inputs, name = [read(atom) for atom in equation.invars], _name(equation)
            if equation.primitive.name in _INLINED and name not in _SUBSTITUTES:
                inside = equation.params[_INLINED[equation.primitive.name]]
                found = self._flatten(inside, dict(zip(inside.jaxpr.invars, inputs, strict=True)))
                environment.update(zip(equation.outvars, found, strict=True))
                continue
            if name == "pow":
                # The logarithm of a variable does not depend on theta, and its power is then one exponential.
                inside = jax.make_jaxpr(_power)(*(atom.aval for atom in equation.invars))
                found = self._flatten(inside, dict(zip(inside.jaxpr.invars, inputs, strict=True)))
                environment.update(zip(equation.outvars, found, strict=True))
                continue
            outputs = tuple(range(self._count, self._count + len(equation.outvars)))
            self._count += len(outputs)
            environment.update(zip(equation.outvars, outputs, strict=True))
            dtypes = (variable.aval.dtype for variable in equation.outvars)
            named = zip(outputs, dtypes, strict=True)
            self._not_real |= {i: kind for i, kind in named if not jnp.issubdtype(kind, np.floating)}
            self._equations.append(_Equation(name, equation, tuple(inputs), outputs))
        return [read(atom) for atom in jaxpr.outvars]

    def _sort(self) -> None:
        """Sort the equations by what they depend on, and find what passes from one kind to another."""
        p = self.size
        self._place = range(p, p + self.n_variables)
        self._constants = p + self.n_variables
        kind = dict.fromkeys(range(p), _LANE) | dict.fromkeys(self._place, _RUN)
        kind[self._constants] = _CONSTANT
        for equation in self._equations:
            most = max((kind[i] for i in equation.inputs if not isinstance(i, _Known)), default=_CONSTANT)
            kind |= dict.fromkeys(equation.outputs, most)
        self._lane_equations = [e for e in self._equations if kind[e.outputs[0]] == _LANE]
        self._other_equations = [e for e in self._equations if kind[e.outputs[0]] != _LANE]
        used = {i for e in self._lane_equations for i in e.inputs if not isinstance(i, _Known)}
        self._features = sorted(i for i in used if kind[i] == _RUN)
        self._shared = sorted(i for i in used if kind[i] == _CONSTANT)

    def prepare(
        self, place: Sequence[Array], constants: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Features and shared values of one run, all real numbers."""
        values = dict(zip(self._place, place, strict=True)) | {self._constants: constants}
        _evaluate(self._other_equations, values, substitute=False)
        values |= {i: values[i].astype(self.dtype) for i in self._not_real if i in values}
        return tuple(values[i] for i in self._features), tuple(values[i] for i in self._shared)

    def inner(self, theta: Sequence[Array], features: Sequence[Array], shared: Sequence[Array]) -> Array:
        """The law at one run, up to its last logarithm; scalars."""
        values = dict(enumerate(theta))
        values |= dict(zip(self._features, features, strict=True))
        values |= dict(zip(self._shared, shared, strict=True))
        values |= {i: values[i].astype(kind) for i, kind in self._not_real.items() if i in values}
        _evaluate(self._lane_equations, values, substitute=True)
        return values[self._result]

    def _differentiate(self) -> None:
        # Each function is traced once, and its derivatives are taken of what that left.
        inner = self._recorded(self.inner)
        assert inner is not None
        self._recorded_inner = inner
        self.first: list[Callable[..., Array] | None] = []
        self.second: dict[tuple[int, int], Callable[..., Array]] = {}
        for j in range(self.size):
            by_j = self._recorded(derivative(inner, j))
            self.first.append(by_j)
            if by_j is None:
                continue
            for k in range(j + 1):
                by_both = self._recorded(derivative(by_j, k))
                if by_both is not None:
                    self.second[j, k] = by_both

    def _recorded(self, function: Callable[..., Array]) -> Callable[..., Array] | None:
        """The function by the equations that its result needs; None where that is zero whatever is given."""
        scalar = jax.ShapeDtypeStruct((), self.dtype)
        arguments = ([scalar] * self.size, [scalar] * len(self._features), [scalar] * len(self._shared))
        closed = jax.make_jaxpr(function)(*arguments)
        (result,) = closed.jaxpr.outvars
        if isinstance(result, core.Literal) and not np.any(result.val):
            return None
        run = core.jaxpr_as_fun(core.ClosedJaxpr(needed(closed.jaxpr), closed.consts))

        def recorded(theta: Sequence[Array], features: Sequence[Array], shared: Sequence[Array]) -> Array:
            found: list[Array] = run(*theta, *features, *shared)
            return found[0]

        return recorded

    def change(
        self,
        theta: Sequence[Array],
        step: Sequence[Array],
        features: Sequence[Array],
        shared: Sequence[Array],
    ) -> tuple[Array, Array]:
        """`inner` and its derivative along `step`."""
        inner = self._recorded_inner
        found = jax.jvp(lambda *at: inner(at, features, shared), tuple(theta), tuple(step))
        return found[0], found[1]


def _traced(law: type[Law], theta: list[Any], place: list[Any], constants: Any) -> Any:
    """The jaxpr of a law; one that takes theta as an array is given one."""
    try:
        return jax.make_jaxpr(law.log_loss)(theta, place, constants)
    except (TypeError, AttributeError):

        def of_array(theta: list[Array], place: list[Array], constants: Array) -> Array:
            return law.log_loss(jnp.stack(theta), place, constants)

        return jax.make_jaxpr(of_array)(theta, place, constants)


def _name(equation: Any) -> str:
    """The name of a primitive, or of the function that has a derivative of its own."""
    if equation.primitive.name == "custom_jvp_call":
        information = equation.params["call_jaxpr"].jaxpr.debug_info
        return str(getattr(information, "func_name", equation.primitive.name))
    return str(equation.primitive.name)


def derivative(function: Callable[..., _Values], place: int) -> Callable[..., _Values]:
    """Derivative of function(theta, ...), or of each of its values, by one coordinate of theta."""

    def by_coordinate(theta: Sequence[Array], *others: Sequence[Array]) -> _Values:
        def along(x: Array) -> _Values:
            return function([*theta[:place], x, *theta[place + 1 :]], *others)

        return jax.jvp(along, (theta[place],), (jnp.ones_like(theta[place]),))[1]

    return by_coordinate


def needed(jaxpr: Any) -> Any:
    """The jaxpr without equations that its results do not need."""
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if wanted.isdisjoint(equation.outvars):
            continue
        kept.append(equation)
        wanted.update(atom for atom in equation.invars if not isinstance(atom, core.Literal))
    return jaxpr.replace(eqns=kept[::-1])


def shared_once(jaxpr: Any) -> Any:
    """The jaxpr with every equation that another one repeats left out."""
    first: dict[Any, list[Any]] = {}
    names: dict[Any, Any] = {}
    kept = []

    def renamed(atom: Any) -> Any:
        return atom if isinstance(atom, core.Literal) else names.get(atom, atom)

    for equation in jaxpr.eqns:
        inputs = [renamed(atom) for atom in equation.invars]
        key = (
            equation.primitive.name,
            str(equation.params),
            *((str(x.val), str(x.aval)) if isinstance(x, core.Literal) else x for x in inputs),
        )
        if key in first:
            names.update(zip(equation.outvars, first[key], strict=True))
            continue
        first[key] = equation.outvars
        kept.append(equation.replace(invars=inputs))
    return jaxpr.replace(eqns=kept, outvars=[renamed(atom) for atom in jaxpr.outvars])


def _evaluate(equations: list[_Equation], values: dict[int, Array], *, substitute: bool) -> None:
    """Compute the outputs of `equations` from what `values` holds, and put them there."""
    for name, equation, inputs, outputs in equations:
        arguments = [i.value if isinstance(i, _Known) else values[i] for i in inputs]
        if substitute and name in _SUBSTITUTES:
            values[outputs[0]] = _SUBSTITUTES[name](*arguments)
            continue
        if equation.primitive.name.startswith("custom_"):
            variables = [atom for atom in equation.invars if not isinstance(atom, core.Literal)]
            inside = equation.params["call_jaxpr"].jaxpr
            alone = inside.replace(
                constvars=[], invars=variables, outvars=equation.outvars, eqns=[equation],
                debug_info=inside.debug_info.with_unknown_names(),
            )  # fmt: skip
            given = [
                x
                for x, atom in zip(arguments, equation.invars, strict=True)
                if not isinstance(atom, core.Literal)
            ]
            found = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*given)
        else:
            found = equation.primitive.bind(*arguments, **equation.params)
        several = found if equation.primitive.multiple_results else [found]
        values.update(zip(outputs, several, strict=True))


@functools.cache
def law_program(law: type[Law], constants: int, dtype: Any) -> LawProgram:
    """The program of a law, traced once per process."""
    return LawProgram(law, constants, dtype)
