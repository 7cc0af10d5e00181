"""The minimisers of jaxopt. The one file that imports it: it is no longer maintained.

Notation: see solvers/libraries/quasi_newton.py.

Source: jaxopt.LBFGS and jaxopt.BFGS (Blondel et al. 2021, arXiv:2105.15183), each with the zoom line search
(Nocedal & Wright 2006, algorithms 3.5 and 3.6).
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import UsageError

if TYPE_CHECKING:
    from jax import Array

    from chinchilla_jax.solvers.libraries.quasi_newton import ScalarFunction


def import_jaxopt() -> ModuleType:
    """The library, or an error that says how to get it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it announces its end of life on import
            import jaxopt
    except ImportError:
        raise UsageError(
            "solvers jaxopt-lbfgs and jaxopt-bfgs need the package jaxopt, which is not installed; "
            "run: pip install jaxopt (or use solver 'newton')"
        ) from None
    module: ModuleType = jaxopt
    return module


def jaxopt_lbfgs(
    function: ScalarFunction, start: Array, steps: Array, tolerance: float
) -> tuple[Array, Array]:
    """L-BFGS, memory 10, for at most `steps` iterations or until the gradient's norm is `tolerance`."""
    return _run(import_jaxopt().LBFGS, function, start, steps, tolerance, history_size=10)


def jaxopt_bfgs(
    function: ScalarFunction, start: Array, steps: Array, tolerance: float
) -> tuple[Array, Array]:
    """BFGS for at most `steps` iterations or until the gradient's norm is `tolerance`."""
    return _run(import_jaxopt().BFGS, function, start, steps, tolerance)


def _run(
    kind: Any, function: ScalarFunction, start: Array, steps: Array, tolerance: float, **more: Any
) -> tuple[Array, Array]:
    # unroll=False: left to itself, jaxopt turns the loop into a scan over every step it may take.
    solver = kind(
        fun=function,
        maxiter=steps,
        tol=tolerance,
        linesearch="zoom",
        maxls=30,
        implicit_diff=False,
        jit=True,
        unroll=False,
        **more,
    )
    x, state = solver.run(start)
    return x, state.iter_num
