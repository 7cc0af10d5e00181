"""A law's frame as a program for a batch: the chain rule to second order, with what is zero left out.

Notation (B lanes)
    T          theta as a function of phi, `Frame.leave`
    J_ab       derivative of theta_a by phi_b
    T_abc      second derivative of theta_a by phi_b and phi_c

Where a frame does not apply, phi is theta. Entries of vectors and matrices are (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

from chinchilla_jax.solvers.jax_newton.law_program import derivative, needed, shared_once
from chinchilla_jax.solvers.jax_newton.small_matrix import Symmetric, Vector, symmetric

if TYPE_CHECKING:
    from chinchilla_jax.laws.frames import Frame


class At(NamedTuple):
    """The frame at one point of each lane."""

    applies: Array
    jacobian: dict[tuple[int, int], Array]  # J less the identity
    curvature: dict[tuple[int, int, int], Array]  # T_abc, c <= b


class FrameProgram:
    """A frame of p coordinates, or none."""

    def __init__(self, frame: Frame | None, size: int, dtype: Any) -> None:
        """Find which derivatives of the frame are not zero."""
        self.frame, self.size = frame, size
        self._keys: list[tuple[int, ...]] = []
        if frame is None:
            return

        def derivatives(phi: list[Array]) -> list[Array]:
            """J_ab, then T_abc, c <= b: all of T by one coordinate at a time."""
            found: list[Array] = []
            for b in range(size):
                by_b = derivative(frame.leave, b)
                found += by_b(phi)
                for c in range(b + 1):
                    found += derivative(by_b, c)(phi)
            return found

        keys = [
            (a, *rest)
            for b in range(size)
            for rest in ((b,), *((b, c) for c in range(b + 1)))
            for a in range(size)
        ]
        closed = jax.make_jaxpr(derivatives)([jax.ShapeDtypeStruct((), dtype)] * size)
        program = shared_once(closed.jaxpr)
        kept = [
            (key, atom)
            for key, atom in zip(keys, program.outvars, strict=True)
            if not (isinstance(atom, core.Literal) and atom.val == (key[0] == key[1] and len(key) == 2))
        ]
        self._keys = [key for key, _ in kept]
        outvars = [atom for _, atom in kept]
        debug_info = program.debug_info.with_unknown_names()
        program = needed(program.replace(outvars=outvars, debug_info=debug_info))
        self._derivatives = core.jaxpr_as_fun(core.ClosedJaxpr(program, closed.consts))

    def at(self, theta: Sequence[Array], held: Array) -> At:
        """The frame at theta; not where a coordinate is held at its bound."""
        if self.frame is None:
            return At(held & False, {}, {})
        applies = self.frame.applies(theta) & ~held
        phi = self.frame.enter(self.frame.safe(theta, applies))
        jacobian: dict[tuple[int, int], Array] = {}
        curvature: dict[tuple[int, int, int], Array] = {}
        found = jax.vmap(self._derivatives)(*phi)
        for key, each in zip(self._keys, found, strict=True):
            if len(key) == 2:
                a, b = key
                jacobian[a, b] = jnp.where(applies, each - 1.0 if a == b else each, 0.0)
            else:
                a, b, c = key
                curvature[a, b, c] = jnp.where(applies, each, 0.0)
        return At(applies, jacobian, curvature)

    def pull_back(self, at: At, gradient: Vector, hessian: Symmetric) -> tuple[Vector, Symmetric]:
        """Gradient and Hessian with respect to phi."""
        size = range(self.size)

        def times(column: Callable[[int], Array], b: int) -> Array:
            """Row b of J' times a column."""
            found = column(b)
            for (a, other), entry in at.jacobian.items():
                if other == b:
                    found = found + entry * column(a)
            return found

        pulled = tuple(times(lambda a: gradient[a], b) for b in size)
        half = {(b, c): times(lambda a, c=c: hessian[a, c], b) for b in size for c in size}  # type: ignore[misc]
        lower = {(b, c): times(lambda a, b=b: half[b, a], c) for b in size for c in range(b + 1)}  # type: ignore[misc]
        for (a, b, c), entry in at.curvature.items():
            lower[b, c] = lower[b, c] + entry * gradient[a]
        return pulled, symmetric(lower)

    def push_forward(self, at: At, step: Sequence[Array]) -> list[Array]:
        """J times a step in phi: the same direction in theta, to first order."""
        found = list(step)
        for (a, b), entry in at.jacobian.items():
            found[a] = found[a] + entry * step[b]
        return found

    def take_step(self, theta: Array, applies: Array, step: Array, length: Array) -> Array:
        """Theta (p, B) after `length` times `step` in phi."""
        straight = theta + length * step
        if self.frame is None:
            return straight
        phi = self.frame.enter(self.frame.safe(tuple(theta), applies))
        moved = [x + length * d for x, d in zip(phi, step, strict=True)]
        bent = self.frame.leave([jnp.where(applies, x, 1.0) for x in moved])
        return jnp.where(applies, jnp.stack(bent), straight)

    def limit(self, theta: Array, applies: Array, step: Array, length: Array) -> Array:
        """`length`, and no more than the frame allows."""
        if self.frame is None:
            return length
        return jnp.where(applies, jnp.minimum(length, self.frame.longest(tuple(theta), tuple(step))), length)

    def step_limits(self, theta: Array, applies: Array) -> dict[int, Array]:
        """Longest step by coordinate, infinite where the frame does not apply."""
        if self.frame is None:
            return {}
        limits = self.frame.step_limits(tuple(theta))
        return {j: jnp.where(applies, limit, jnp.inf) for j, limit in limits.items()}
