"""Short ways into the solvers, for tests that begin from arrays."""

from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.solvers import Problem, SolverOptions, dispatch, solve


def solve_design(design, weights, starts, *, objective, law=CHINCHILLA, options=None, **further):
    """The solver that the law and the objective are given."""
    problem = Problem(law=law, design=design, objective=objective)
    return solve(problem, weights, starts, options=options or SolverOptions(), **further)


def solve_generally(law, design, weights, starts, *, objective, **options):
    """The solver for any law, whatever the law is."""
    problem = Problem(law=law, design=design, objective=objective)
    options = SolverOptions(**{"wide_start": True, "max_steps": 300} | options)
    return dispatch.solve_generally(problem, weights, starts, options=options)
