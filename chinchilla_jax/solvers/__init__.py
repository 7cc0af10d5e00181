"""Batched solvers behind one contract, see `solvers.base.Solver`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.solvers.base import Solution, Solver, SolverOptions
from chinchilla_jax.solvers.status import STATUS_NAMES, Status

if TYPE_CHECKING:
    from chinchilla_jax.laws.objectives import Objective

SOLVER_NAMES = ("newton", "optax-lbfgs", "jaxopt-lbfgs", "jaxopt-bfgs")

__all__ = ["SOLVER_NAMES", "STATUS_NAMES", "Solution", "Solver", "SolverOptions", "Status", "get_solver"]


def get_solver(name: str, objective: Objective) -> Solver:
    """The solver called `name` for `objective`; the library solvers are imported on first use.

    `HuberScale` has a solver of its own (its minimum is a vertex, where no quasi-Newton step means
    anything), reached through "newton" only.

    Raises:
        UsageError: unknown name, or a solver that cannot minimise the objective.
    """
    from chinchilla_jax._util.errors import UsageError
    from chinchilla_jax.laws.objectives import HuberScale

    if name not in SOLVER_NAMES:
        raise unknown_name("solver", name, SOLVER_NAMES)
    if isinstance(objective, HuberScale):
        if name != "newton":
            raise UsageError(
                f"solver {name!r} cannot minimise huber_scale, whose minimum is a vertex; use 'newton'"
            )
        from chinchilla_jax.solvers.huber_scale import solve_huber_scale

        return solve_huber_scale
    if name == "newton":
        from chinchilla_jax.solvers.batch import solve_newton

        return solve_newton
    from chinchilla_jax.solvers.libraries.quasi_newton import library_solver

    return library_solver(name)
