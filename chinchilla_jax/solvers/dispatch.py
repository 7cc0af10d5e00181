"""One way into every solver: who takes the steps depends on the law, the objective and what was asked for.

| law             | objective       | solved by                                                   |
|-----------------|-----------------|-------------------------------------------------------------|
| five parameters | Huber, Squared  | solvers/five_parameter.py: the CPU kernel; elsewhere as any |
| any             | Huber, Squared  | solvers/jax_newton: derivatives by JAX                      |
| any             | AsymmetricError | solvers/jax_newton                                          |
| any             | your own        | solvers/jax_newton: derivatives of both by JAX              |
| any             | raw             | solvers/raw_loss.py: solvers/jax_newton, from a fit of ln L |
| any             | HuberScale      | solvers/huber_scale.py, around either of the first two      |
| five parameters | Huber           | optax and jaxopt, by name                                   |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import accelerated
from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.laws.chinchilla import Chinchilla
from chinchilla_jax.laws.objectives import AsymmetricError, Huber, HuberScale, OwnObjective
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, ONE_TRY, Problem, Solution, SolverOptions, Tries
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.drawn import Weights
from chinchilla_jax.solvers.engine_choice import chosen_kernel
from chinchilla_jax.solvers.pool_starts import PoolStarts, Starts, of_lanes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Law
    from chinchilla_jax.laws.objectives import Objective
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

SOLVER_NAMES = ("newton", "optax-lbfgs", "jaxopt-lbfgs", "jaxopt-bfgs")

_SQUARED_DELTA = 10.0  # no law is off by a factor e^10: within such a zone Huber is squared error


def check_solver(name: str, law: Law, objective: Objective) -> None:
    """Refuse a solver that cannot minimise this objective of this law, before any work.

    Raises:
        UsageError: unknown name, or a combination that has no meaning.
    """
    if name not in SOLVER_NAMES:
        raise unknown_name("solver", name, SOLVER_NAMES)
    if name == "newton":
        return
    if isinstance(objective, HuberScale):
        raise UsageError(
            f"solver {name!r} cannot minimise huber_scale, whose minimum is a vertex; use 'newton'"
        )
    if not isinstance(objective, Huber):
        raise UsageError(f"solver {name!r} minimises huber, not {objective.name}; use 'newton'")
    if not isinstance(law, Chinchilla):
        raise UsageError(f"solver {name!r} fits the five-parameter law, not {law.name}; use 'newton'")


def has_kernel(law: Law, objective: Objective) -> bool:
    """Whether the CPU kernel can take the steps; any law under any objective has the engine in plain JAX."""
    return isinstance(law, Chinchilla) and not isinstance(objective, AsymmetricError | OwnObjective)


def on_device(law: Law, objective: Objective, solver: str, engine: str) -> bool:
    """Whether an accelerator takes the steps: there is one, and neither the kernel nor the host does."""
    if solver != "newton" or not accelerated():
        return False
    return not has_kernel(law, objective) or chosen_kernel(engine) is None


def takes_tries(problem: Problem, options: SolverOptions) -> bool:
    """Whether the CPU kernel takes the steps, which ends tries at a row of weights where they meet."""
    if isinstance(problem.objective, HuberScale) or problem.raw:
        return False
    return has_kernel(problem.law, problem.objective) and chosen_kernel(options.engine) is not None


def device_draws(problem: Problem, solver: str, engine: str) -> bool:
    """Whether the device that takes the steps also draws the weights and chooses the starts."""
    if isinstance(problem.objective, HuberScale) or problem.raw:
        return False
    if not on_device(problem.law, problem.objective, solver, engine):
        return False
    from chinchilla_jax.solvers.jax_newton.compiled import draws
    from chinchilla_jax.solvers.xla_options import default_platform

    return draws(default_platform())


def _check_engine(engine: str, solver: str, problem: Problem) -> None:
    """Refuse an engine that would have no part in the fit."""
    law, objective = problem.law, problem.objective
    if engine == "lanes" and (solver != "newton" or not has_kernel(law, objective)):
        what = f"solver {solver!r}" if solver != "newton" else f"{law.name} by {objective.name}"
        raise UsageError(f"engine 'lanes' does not run {what}; use 'auto'")


def solve(
    problem: Problem,
    weights: Weights,
    starts: NDArray[np.float64] | Sequence[NDArray[np.float64]],
    *,
    solver: str = "newton",
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit every lane of one data set from one start or from several, and keep the best.

    The libraries' solvers cannot race several starts and take the best guess alone.

    Args:
        problem: what is fitted; n runs, p parameters.
        weights: (R, n) or (1, n), not negative.
        starts: (R, p), or candidates (K, R, p), best guess first.
        solver: out of `SOLVER_NAMES`.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.

    Raises:
        UsageError: a combination that has no meaning, or shapes that do not fit together.
    """
    candidates = [starts] if isinstance(starts, np.ndarray) and starts.ndim == 2 else list(starts)
    batch = Batch.of(problem, weights, len(candidates[0]))
    return solve_many(batch, candidates, solver=solver, options=options, on_progress=on_progress)


def solve_many(
    batch: Batch,
    candidates: Starts,
    *,
    solver: str = "newton",
    options: SolverOptions = DEFAULT_OPTIONS,
    tries: Tries = ONE_TRY,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """`solve` for lanes on any number of data sets. A lane's result does not depend on the others.

    Args:
        batch: the lanes.
        candidates: starts of every lane, best guess first, each (R, p); or, where the device draws the
            weights, the pools that it takes them from.
        solver: out of `SOLVER_NAMES`.
        options: how hard to try.
        tries: lanes of each row of weights; more than one where `takes_tries`.
        on_progress: called with the number of lanes just finished.

    Raises:
        UsageError: a combination that has no meaning, or shapes that do not fit together.
    """
    law, objective = batch.law, batch.objective
    check_solver(solver, law, objective)
    _check_engine(options.engine, solver, batch.problems[0])
    if not batch.valid.all():
        found = Solution.invalid(len(batch), law.size)
        left = np.flatnonzero(batch.valid)
        if len(left):
            some = of_lanes(candidates, left)
            found.put(left, solve_many(batch[left], some, solver=solver, options=options, tries=tries))
        if on_progress is not None:
            on_progress(len(batch))
        return found
    if isinstance(candidates, PoolStarts):
        return _solve_generally(batch, candidates, options, on_progress)
    if isinstance(objective, HuberScale):  # by "newton" alone
        from chinchilla_jax.solvers.huber_scale import solve_huber_scale

        return solve_huber_scale(
            batch,
            candidates,
            solve_widths=solve_widths,
            options=options,
            on_progress=on_progress,
            few_calls=_kernel(batch, options) is None,
        )
    if solver == "newton" and not batch.problems[0].raw:
        kernel = _kernel(batch, options)
        if kernel is None:
            return _solve_generally(batch, candidates, options, on_progress)
        from chinchilla_jax.solvers.five_parameter import solve_lanes

        widths = np.minimum(batch.zones()[0], _SQUARED_DELTA)
        return solve_lanes(
            kernel, batch, candidates, widths, options=options, tries=tries, on_progress=on_progress
        )
    # Others know one data set per call.
    found = Solution.empty(len(batch), law.size)
    for problem, lanes in batch.data_sets():
        some = [start[lanes] for start in candidates]
        of_one = _solve_one(problem, batch[lanes].own, some, solver, options, on_progress)
        found.put(lanes, of_one)
    return found


def _solve_one(
    problem: Problem,
    weights: NDArray[Any],
    candidates: Sequence[NDArray[np.float64]],
    solver: str,
    options: SolverOptions,
    on_progress: Callable[[int], None] | None,
) -> Solution:
    """Fit lanes of one data set where no engine takes many."""
    if solver != "newton":
        from chinchilla_jax.solvers.libraries.quasi_newton import library_solver

        return library_solver(solver)(
            problem, weights, candidates[0], options=options, on_progress=on_progress
        )
    from chinchilla_jax.solvers.raw_loss import solve_raw

    return solve_raw(
        problem, weights, candidates, solve=solve, polish=solve_generally, options=options,
        on_progress=on_progress,
    )  # fmt: skip


def _kernel(batch: Batch, options: SolverOptions) -> Kernel | None:
    """The CPU kernel if it is to take the steps."""
    return chosen_kernel(options.engine) if has_kernel(batch.law, batch.objective) else None


def solve_widths(
    batch: Batch,
    starts: NDArray[np.float64],
    widths: NDArray[np.float64],
    *,
    options: SolverOptions,
    judged: bool = True,
) -> Solution:
    """Fit every lane under a Huber zone of its own half-width (R,); see `huber_scale.WidthSolver`."""
    kernel = _kernel(batch, options)
    if kernel is not None:
        from chinchilla_jax.solvers.five_parameter import solve_lanes

        return solve_lanes(kernel, batch, [starts], widths, options=options, judged=judged)
    from chinchilla_jax.solvers.jax_newton.engine import fit_lanes

    return fit_lanes(batch, [starts], down=widths, up=widths, options=options, judged=judged)


def solve_generally(
    problem: Problem,
    weights: NDArray[Any],
    starts: NDArray[np.float64],
    *,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit lanes of one data set from (R, p) or (K, R, p) with the engine for any law, whatever the law is."""
    candidates = [starts] if starts.ndim == 2 else list(starts)
    batch = Batch.of(problem, weights, len(candidates[0]))
    return _solve_generally(batch, candidates, options, on_progress)


def _solve_generally(
    batch: Batch,
    candidates: Starts,
    options: SolverOptions,
    on_progress: Callable[[int], None] | None,
) -> Solution:
    from chinchilla_jax.solvers.jax_newton.engine import fit_lanes

    objective = batch.objective
    assert not isinstance(objective, HuberScale)
    down, up = batch.zones()
    unit = np.array([problem.loss_unit for problem in batch.problems])[batch.condition]
    found = fit_lanes(
        batch,
        candidates,
        down=down / unit,
        up=up / unit,
        options=options,
        on_progress=on_progress,
    )
    found.objective_value[:] *= unit * unit / objective.unit
    return found
