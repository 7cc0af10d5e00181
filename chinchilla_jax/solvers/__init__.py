"""Batched solvers behind one contract, see `solvers.base`; `solve` chooses among them."""

from chinchilla_jax.solvers.base import Problem, Solution, Solver, SolverOptions
from chinchilla_jax.solvers.dispatch import SOLVER_NAMES, check_solver, solve
from chinchilla_jax.solvers.status import STATUS_NAMES, Status

__all__ = [
    "SOLVER_NAMES",
    "STATUS_NAMES",
    "Problem",
    "Solution",
    "Solver",
    "SolverOptions",
    "Status",
    "check_solver",
    "solve",
]
