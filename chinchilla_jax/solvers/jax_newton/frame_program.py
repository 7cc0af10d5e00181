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
import numpy as np
from jax import Array
from jax.extend import core

from chinchilla_jax.solvers.jax_newton.small_matrix import Symmetric, Vector, symmetric

if TYPE_CHECKING:
    from chinchilla_jax.laws.frames import Frame


class At(NamedTuple):
    """The frame at one point of each lane."""

    applies: Array
    jacobian: dict[tuple[int, int], Array]  # off the diagonal of ones
    curvature: dict[tuple[int, int, int], Array]


class FrameProgram:
    """A frame of p coordinates, or none."""

    def __init__(self, frame: Frame | None, size: int, dtype: Any) -> None:
        """Find which derivatives of the frame are not zero."""
        self.frame, self.size = frame, size
        self._first: dict[tuple[int, int], Callable[..., Array]] = {}
        self._second: dict[tuple[int, int, int], Callable[..., Array]] = {}
        if frame is None:
            return
        scalars = [jax.ShapeDtypeStruct((), dtype)] * size

        def zero(function: Callable[..., Array], value: float = 0.0) -> bool:
            (result,) = jax.make_jaxpr(function)(scalars).jaxpr.outvars
            return isinstance(result, core.Literal) and bool(np.all(result.val == value))

        for a in range(size):
            for b in range(size):
                by_b = _derivative(lambda phi, a=a: frame.leave(phi)[a], b)
                if zero(by_b, float(a == b)):
                    continue
                if a == b:
                    raise ValueError(
                        f"{frame}: coordinate {a} of phi is not coordinate {a} of theta plus others"
                    )
                self._first[a, b] = by_b
                for c in range(size):
                    by_both = _derivative(by_b, c)
                    if not zero(by_both):
                        self._second[a, b, c] = by_both

    def at(self, theta: Sequence[Array], held: Array) -> At:
        """The frame at theta; not where a coordinate is held at its bound."""
        if self.frame is None:
            return At(held & False, {}, {})
        applies = self.frame.applies(theta) & ~held
        phi = self.frame.enter(self.frame.safe(theta, applies))

        def where(function: Callable[..., Array]) -> Array:
            return jnp.where(applies, function(phi), 0.0)

        return At(
            applies,
            {key: where(function) for key, function in self._first.items()},
            {key: where(function) for key, function in self._second.items()},
        )

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
            if c <= b:
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


def _derivative(function: Callable[..., Array], place: int) -> Callable[..., Array]:
    def derivative(phi: Sequence[Array]) -> Array:
        def along(x: Array) -> Array:
            return function([*phi[:place], x, *phi[place + 1 :]])

        return jax.jvp(along, (phi[place],), (jnp.ones_like(phi[place]),))[1]

    return derivative
