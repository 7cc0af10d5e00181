"""The minimiser of optax, for one lane.

Notation: see solvers/libraries/quasi_newton.py.

Source: optax.lbfgs, with its zoom line search (Nocedal & Wright 2006, algorithms 3.5 and 3.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import Array, lax

if TYPE_CHECKING:
    from chinchilla_jax.solvers.libraries.quasi_newton import ScalarFunction


def optax_lbfgs(
    function: ScalarFunction, start: Array, steps: Array, tolerance: float
) -> tuple[Array, Array]:
    """L-BFGS, memory 10, for at most `steps` iterations or until the gradient's norm is `tolerance`."""
    import optax

    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=30, initial_guess_strategy="one")
    optimiser = optax.lbfgs(memory_size=10, linesearch=search)
    value_and_gradient = optax.value_and_grad_from_state(function)

    def proceed(carry: tuple[Array, Any, Array]) -> Array:
        _, state, taken = carry
        gradient = optax.tree_utils.tree_get(state, "grad")
        return (taken == 0) | ((taken < steps) & (jnp.linalg.norm(gradient) > tolerance))

    def body(carry: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        x, state, taken = carry
        value, gradient = value_and_gradient(x, state=state)
        update, state = optimiser.update(gradient, state, x, value=value, grad=gradient, value_fn=function)
        return optax.apply_updates(x, update), state, taken + 1

    x, _, taken = lax.while_loop(proceed, body, (start, optimiser.init(start), jnp.int32(0)))
    return x, taken
